"""Averages of each column as small files for tools that compare runs (`dvc metrics diff`).

`python -m flava.report.metrics --config <report.json> --output <folder>` writes `<column>.json` for
each column, `averages.csv` (one line a column) and `record.json`. The numbers are those
of the report's headline, in percent: domain and macro averages over the rows that every column ran,
each with the number of these rows, `<average>_rows`: averages over other rows are not comparable.
`rows` counts what the column has scores on.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Mapping
from pathlib import Path

from flava.errors import run_cli
from flava.io import atomic_path, sha256_file, write_json
from flava.jobs import ReportJob, load_job
from flava.records import make_record
from flava.report.compare import Comparison, load_comparison
from flava.report.published import DOMAINS, MACRO
from flava.report.summary import full_average, partial_average

RECORD = "record.json"
TABLE = "averages.csv"
DECIMALS = 4
KEYS = (*DOMAINS, MACRO)


def main() -> None:
    """Writes the averages of a study."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", required=True, help="resolved report configuration (JSON)")
    parser.add_argument("--output", required=True, help="folder")
    arguments = parser.parse_args()
    write_metrics(load_job(ReportJob, arguments.config), Path(arguments.output))


def averages(comparison: Comparison) -> dict[str, dict[str, float]]:
    """Column -> average -> percent, with the count of its rows, and that of the rows with a score;
    an average that is missing is left out."""
    rows = {key: partial_average(comparison, key) or full_average(comparison, key) for key in KEYS}
    found: dict[str, dict[str, float]] = {}
    for column in comparison.columns:
        cells = {key: row.cells[column.name].ours for key, row in rows.items()}
        values = {key: round(cell.mean, DECIMALS) for key, cell in cells.items() if cell}
        scored = sum(score is not None for score in comparison.scores(column.name).values())
        over = {f"{key}_rows": rows[key].k for key in values}
        found[column.name] = {**values, **over, "rows": scored}
    return found


def write_metrics(job: ReportJob, output: Path) -> None:
    """Writes `<column>.json` for each column of the study, the table, and the record last.

    Raises:
        DataError: results, a run's record or the paper's table is missing or damaged.
    """
    started = time.time()
    every = averages(load_comparison(job))
    ours = {column: values for column, values in every.items() if column in job.columns}
    for column, values in ours.items():
        write_json(output / f"{column}.json", values)
    _write_table(output / TABLE, ours)
    parents = [f"{folder}/record.json" for folder in job.runs.values()]
    facts = {"results_sha256": sha256_file(job.results)}
    record = make_record("metrics", job, started, parents=parents, extra=facts)
    write_json(output / RECORD, record)


def _write_table(path: Path, columns: Mapping[str, Mapping[str, float]]) -> None:
    with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ["column", *KEYS], extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows({"column": name, **values} for name, values in columns.items())


if __name__ == "__main__":
    run_cli(main)
