"""Typed access to the paper's tables of scores: Table C.1, and what tables like it share."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from flava.errors import DataError

DOMAINS = ("nlp", "vision", "multimodal")
MACRO = "macro"
AVERAGE_ROWS = {
    "NLP Avg.": "nlp",
    "Vision Avg.": "vision",
    "Multimodal Avg.": "multimodal",
    "Macro Avg.": MACRO,
}


@dataclass(frozen=True)
class PublishedColumn:
    """A printed column: its number, this project's name for it, its heading where data has one."""

    number: int
    name: str
    title: str | None = None


@dataclass(frozen=True)
class PublishedRow:
    """A printed row; `values` is keyed by column name, None where print has a dash."""

    name: str
    domain: str
    protocol: str
    values: Mapping[str, float | None]


@dataclass(frozen=True)
class PublishedTable:
    """Metric rows in print order, and the printed averages (nlp, ..., macro).

    Attributes:
        title: of the table in the paper.
        macro_domains: those whose averages the printed macro average is the mean of.
        public: columns that were trained on public data, which the paper's bold type is about.
        misplaced: (row, column) whose printed cell is not the column's own -> its own value; None
            where that is lost.
        why_misplaced: of these cells, as the end of a sentence about one.
    """

    columns: tuple[PublishedColumn, ...]
    rows: tuple[PublishedRow, ...]
    printed_averages: Mapping[str, Mapping[str, float | None]]
    title: str = "Table C.1"
    macro_domains: tuple[str, ...] = ("nlp", "vision")
    public: frozenset[str] = frozenset()
    misplaced: Mapping[tuple[str, str], float | None] = field(default_factory=dict)
    why_misplaced: str = ""

    def row_names(self, domain: str | None = None) -> tuple[str, ...]:
        """Row names in print order, of one domain or of all."""
        return tuple(row.name for row in self.rows if domain in (None, row.domain))

    def column(self, name: str) -> Mapping[str, float | None]:
        """Row name -> value of a column; empty for a column that is not in the paper."""
        return {row.name: row.values[name] for row in self.rows if name in row.values}

    def mended(self, name: str) -> Mapping[str, float | None]:
        """As `column`, with misplaced cells put right: what numbers may be computed from."""
        cells = self.column(name)
        return {row: self.misplaced.get((row, name), value) for row, value in cells.items()}


def load_table_c1(folder: Path | str) -> PublishedTable:
    """Reads `table_c1.csv` of `folder`, values in percent.

    Raises:
        DataError: the file is missing, a line is ragged, a value is no finite number, a row comes
            twice or has an unknown domain.
    """
    path = Path(folder) / "table_c1.csv"
    try:
        with path.open(newline="", encoding="utf-8") as file:
            header, *lines = list(csv.reader(file))
    except FileNotFoundError:
        raise DataError(f"{path} is missing. It holds the paper's numbers; restore it.") from None
    except ValueError:
        raise DataError(f"{path} is empty or not UTF-8. Restore it.") from None
    columns = tuple(_column(text, path) for text in header[3:])
    rows, averages = [], {}
    for number, line in enumerate(lines, start=2):
        if len(line) != len(header):
            raise DataError(f"{path}, line {number}: {len(line)} fields, expected {len(header)}.")
        where = f"{path}, line {number}"
        cells = zip(columns, line[3:], strict=True)
        values = {column.name: _value(text, where) for column, text in cells}
        if line[0] in AVERAGE_ROWS:
            averages[AVERAGE_ROWS[line[0]]] = values
        else:
            rows.append(PublishedRow(line[0], _domain(line[1], where), line[2], values))
    _check_unique([row.name for row in rows], "row", path)
    _check_unique([column.name for column in columns], "column", path)
    return PublishedTable(columns, tuple(rows), averages)


def _column(text: str, path: Path) -> PublishedColumn:
    number, _, name = text.partition(":")
    if not number.isdigit() or not name:
        raise DataError(f"{path}: the heading '{text}' is not of the form number:name.")
    return PublishedColumn(int(number), name)


def _value(text: str, where: str) -> float | None:
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise DataError(f"{where}: '{text}' is not a number. Leave dashes empty.")
    return value


def _domain(text: str, where: str) -> str:
    if text not in DOMAINS:
        raise DataError(f"{where}: unknown domain '{text}'. Allowed: {', '.join(DOMAINS)}.")
    return text


def _check_unique(names: list[str], kind: str, path: Path) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"{path}: the {kind} '{twice[0]}' comes twice. Keep one.")
