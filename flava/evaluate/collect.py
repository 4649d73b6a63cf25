"""Collects all scores of a study into results.parquet, one line a score.

python -m flava.evaluate.collect --config results/<study>/configs/collect.json
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import ValidationError

from flava.data.commands import config_argument
from flava.errors import DataError, run_cli
from flava.evaluate.score_file import check_scores
from flava.evaluate.scores import Score
from flava.io import atomic_path, read_json, sha256_json
from flava.jobs import CollectJob, load_job
from flava.records import parse_record

COLUMNS = {
    "study": "string",
    "column": "string",
    "seed": "int64",
    "row": "string",
    "task": "string",
    "domain": "string",
    "metric": "string",
    "value": "float64",
    "std_error": "float64",
    "chance": "float64",
    "n_examples": "int64",
    "n_train": "int64",
    "stand_in": "string",
    "record": "string",
    "record_sha256": "string",
}
KEY = ["study", "column", "seed", "row"]


def main() -> None:
    """Command line."""
    collect(load_job(CollectJob, config_argument(__doc__)))


def collect(job: CollectJob) -> None:
    """Writes the table, sorted by column, seed and row. `record` is the file with the record.

    Raises:
        DataError: a file is missing, malformed or changed since it was written, has no valid record
            or no score, belongs to another study, or a row of a run occurs twice; names the file.
    """
    lines = [line for path in job.scores for line in read_scores(path, job.study)]
    if not lines:
        raise DataError(f"study '{job.study}' has no scores to collect. Evaluate a run first.")
    table = pd.DataFrame(lines, columns=list(COLUMNS)).astype(COLUMNS)
    twice = table[table.duplicated(KEY, keep=False)]
    if len(twice):
        first = twice.iloc[0]
        files = sorted(set(twice[(twice[KEY] == first[KEY]).all(axis=1)]["record"]))
        raise DataError(
            f"row '{first['row']}' of {first['column']}-s{first['seed']} occurs more than once, "
            f"in {', '.join(files)}. Give each row one task and each task one job."
        )
    table = table.sort_values(KEY, kind="stable", ignore_index=True)
    with atomic_path(job.output) as temporary:
        table.to_parquet(temporary, engine="pyarrow", index=False)


def read_scores(path: str, study: str) -> list[dict[str, Any]]:
    """Lines of one evaluate job's file.

    Raises:
        DataError: as `collect`.
    """
    value = read_json(path)
    if not isinstance(value, dict) or not isinstance(value.get("scores"), list):
        raise DataError(f"{path} is not the output of an evaluate job: it has no list of scores.")
    if not value["scores"]:
        raise DataError(f"{path} has an empty list of scores. Evaluate that job again.")
    if value.get("record") is None:
        raise DataError(
            f"{path} has scores without a record of where they came from. Evaluate that job again."
        )
    check_scores(value, parse_record(value["record"], path), path)
    if value.get("study") != study:
        raise DataError(
            f"{path} belongs to study '{value.get('study')}', not '{study}'. Delete it: this study "
            "evaluates its own runs."
        )
    origin = {
        "record": str(Path(path).as_posix()),
        "record_sha256": sha256_json(value["record"]),
    }
    identity = {key: value.get(key) for key in ("study", "column", "seed")}
    if not isinstance(identity["column"], str) or not isinstance(identity["seed"], int):
        raise DataError(f"{path} does not name its column and seed. Evaluate that job again.")
    return [{**identity, **_line(score, path), **origin} for score in value["scores"]]


def _line(value: object, path: str) -> dict[str, Any]:
    try:
        score = Score.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise DataError(f"{path}: a score is malformed: {key}: {first['msg']}.") from None
    return score.model_dump(exclude={"details"})


if __name__ == "__main__":
    run_cli(main)
