"""Reads the one table that all results of a study are collected in."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet

from flava.errors import DataError, unknown_name
from flava.report.published import DOMAINS


@dataclass(frozen=True)
class Score:
    """One line of results.parquet. `value`, `std_error` and `chance` are percent."""

    study: str
    column: str
    seed: int
    row: str
    task: str
    domain: str
    metric: str
    value: float
    std_error: float | None
    chance: float | None
    n_examples: int
    stand_in: str | None
    record: str
    record_sha256: str


def load_scores(path: Path | str, study: str) -> tuple[Score, ...]:
    """Reads and checks results.parquet.

    Raises:
        DataError: the file is missing or damaged, lacks a column, holds another study's scores, a
            score twice, one that is not finite, or one without a record.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path} is missing. Run the collect step first.")
    try:
        table = pyarrow.parquet.read_table(path)
        found, lines = table.column_names, table.to_pylist()
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{path} is not readable parquet ({error}). Collect again.") from None
    names = [field.name for field in fields(Score)]
    absent = sorted(set(names) - set(found))
    if absent:
        raise DataError(f"{path} lacks the column(s) {', '.join(absent)}. Collect again.")
    scores = tuple(_score({name: line[name] for name in names}, path) for line in lines)
    _check(scores, study, path)
    return scores


def _score(line: dict[str, Any], path: Path) -> Score:
    where = f"{path}: column '{line['column']}', seed {line['seed']}, row '{line['row']}'"
    if not line["record"] or not line["record_sha256"]:
        raise DataError(f"{where} has no record of where it came from. Evaluate that run again.")
    value = _number(line["value"])
    if value is None:
        raise DataError(f"{where}: the value {line['value']} is not finite. Look at that run.")
    if line["domain"] not in DOMAINS:
        unknown = unknown_name("domain", str(line["domain"]), list(DOMAINS), where)
        raise DataError(f"{unknown} Evaluate that run again.")
    optional = {name: _number(line[name]) for name in ("std_error", "chance")}
    return Score(**{**line, **optional, "value": value, "stand_in": line["stand_in"] or None})


def _number(value: object) -> float | None:
    # pandas writes a missing number as NaN.
    if not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def _check(scores: Sequence[Score], study: str, path: Path) -> None:
    seen: set[tuple[str, int, str]] = set()
    labels: dict[str, tuple[str | None, float | None, str, str]] = {}
    for score in scores:
        where = f"{path}: row '{score.row}'"
        if score.study != study:
            raise DataError(f"{where} is of study '{score.study}', not '{study}'. Collect again.")
        key = (score.column, score.seed, score.row)
        if key in seen:
            raise DataError(
                f"{where} comes twice for column '{key[0]}', seed {key[1]}. Collect again."
            )
        seen.add(key)
        label = (score.stand_in, score.chance, score.metric, score.domain)
        if labels.setdefault(score.row, label) != label:
            raise DataError(
                f"{where} has two different stand-ins, chance levels, metrics or domains "
                f"({labels[score.row]} and {label}): its cells are not comparable. "
                "Evaluate all columns with the same task data."
            )
