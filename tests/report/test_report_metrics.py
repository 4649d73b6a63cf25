"""Small files of averages: each tells over how many rows it is."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from flava.io import read_json
from flava.report.compare import load_comparison
from flava.report.metrics import write_metrics
from flava.report.printed_tables import load_published
from flava.report.summary import full_average, partial_average
from tests.report.fake_study import PAPER, fake_scores, write_study

COLUMNS = {"mim": 1, "flava_c": 4, "flava_dino": 12}
TABLE = load_published(PAPER, "table_c1")
KEYS = ("nlp", "vision", "multimodal", "macro")


@pytest.mark.parametrize("gone", [{}, {"SST-2": "flava_c"}])
def test_counts_are_of_the_rows_that_averages_are_over(
    tmp_path: Path, gone: dict[str, str]
) -> None:
    """One column's lost row changes the averages of all: `rows` of the others does not tell."""
    lines = fake_scores(TABLE.row_names(), COLUMNS, drop=set(gone.items()), root=tmp_path)
    job = write_study(tmp_path, columns=COLUMNS, lines=lines)
    write_metrics(job, tmp_path / "metrics")
    comparison = load_comparison(job)
    found = read_json(tmp_path / "metrics/flava_dino.json")
    assert found["rows"] == len(TABLE.rows)
    for key in KEYS:
        average = partial_average(comparison, key) or full_average(comparison, key)
        ours = average.cells["flava_dino"].ours
        assert ours is not None and found[key] == pytest.approx(ours.mean, abs=1e-4)
        assert found[f"{key}_rows"] == sum(len(names) for names in average.rows.values())
    assert found["nlp_rows"] == len(TABLE.row_names("nlp")) - len(gone)
    mim = read_json(tmp_path / "metrics/mim.json")
    assert set(mim) == {"vision", "vision_rows", "rows"}
    with (tmp_path / "metrics/averages.csv").open(encoding="utf-8") as file:
        assert next(csv.reader(file)) == ["column", *KEYS]
