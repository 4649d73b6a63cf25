"""The paper's tables by name, and which of this project's columns and rows their lines are.

`models.csv` names the column of Table C.1 that a printed column or line is, whether it was trained
on public data, and whether it takes part in the marks of the best; `rows.csv` names the row of
Table C.1 where another table spells it otherwise.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from flava.errors import ConfigError, DataError, unknown_name
from flava.report.audit.cross import misprints
from flava.report.audit.printed import Cell, Grid, read_grid
from flava.report.audit.sums import mend_shifts
from flava.report.published import (
    DOMAINS,
    PublishedColumn,
    PublishedRow,
    PublishedTable,
)

TABLES = ("table_c1", "table_4")
SHIFTED = "it belongs one column further right"
MISPRINTED = "the average below holds with Table C.1's number of the same model alone"


@dataclass(frozen=True)
class Model:
    """A printed column or line. `column` is empty for what is not in Table C.1."""

    number: int
    column: str | None
    public: bool
    ranked: bool


def read_table(folder: Path | str, name: str) -> list[dict[str, str]]:
    """The lines of `<folder>/<name>.csv`, by heading.

    Raises:
        DataError: the file is missing, not UTF-8, or has a line that does not fit the heading.
    """
    path = Path(folder) / f"{name}.csv"
    try:
        with path.open(newline="", encoding="utf-8") as file:
            lines = list(csv.DictReader(file, restkey="", strict=True))
    except FileNotFoundError:
        raise DataError(f"{path} is missing. It holds the paper's numbers; restore it.") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} is not a readable table ({error}). Restore it.") from None
    for number, line in enumerate(lines, start=2):
        if "" in line or None in line.values():
            raise DataError(f"{path}, line {number}: the fields do not fit the heading.")
    return lines


def load_models(folder: Path | str, table: str) -> dict[int, Model]:
    """Printed number -> model, of one table, in print order."""
    return {
        int(line["number"]): Model(
            int(line["number"]),
            line["column"] or None,
            line["public"] == "yes",
            line["ranked"] == "yes",
        )
        for line in read_table(folder, "models")
        if line["table"] == table
    }


def load_row_names(folder: Path | str, table: str) -> dict[str, str]:
    """Name as printed -> name in Table C.1, of the rows that are spelt otherwise there."""
    lines = read_table(folder, "rows")
    return {line["printed"]: line["row"] for line in lines if line["table"] == table}


def load_published(folder: Path | str, table: str) -> PublishedTable:
    """A table of scores by tasks: 'table_c1' or 'table_4'.

    Raises:
        ConfigError: there is no such table.
        DataError: a file is missing or malformed.
    """
    if table not in TABLES:
        raise ConfigError(unknown_name("table", table, list(TABLES), "the report"))
    models = load_models(folder, table)
    public = frozenset(m.column for m in models.values() if m.column and m.public)
    table_c1 = load_table_c1(folder)
    if table == "table_c1":
        return replace(table_c1, public=public)
    return replace(_load_table_4(Path(folder), table_c1, models), public=public)


def load_table_c1(folder: Path | str) -> PublishedTable:
    """Reads `table_c1.csv` of `folder`, values in percent; it needs no other file.

    Raises:
        DataError: the file is missing, a line is ragged, a value is no finite number, a row or a
            column comes twice, a row has an unknown domain.
    """
    path = Path(folder) / "table_c1.csv"
    grid = _grid_c1(Path(folder))
    columns = tuple(_column_of_c1(heading, path) for heading in grid.models)
    names = [column.name for column in columns]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"{path}: the column '{twice[0]}' comes twice. Keep one.")
    rows = {row: (row, *lead) for row, lead in grid.leads.items()}
    misplaced = _misplaced(grid, names)
    table = _as_published(grid, columns, rows)
    return replace(table, misplaced=misplaced, why_misplaced=SHIFTED)


def _grid_c1(folder: Path) -> Grid:
    return read_grid(folder / "table_c1.csv", "Table C.1", lead=3)


def _column_of_c1(heading: str, path: Path) -> PublishedColumn:
    number, _, name = heading.partition(":")
    if not number.isdigit() or not name:
        raise DataError(f"{path}: the heading '{heading}' is not of the form number:name.")
    return PublishedColumn(int(number), name)


def _misplaced(grid: Grid, names: Sequence[str]) -> dict[tuple[str, str], float | None]:
    """Cells of Table C.1 that the audit finds under another column, with what belongs there."""
    mended = mend_shifts(grid).cells
    return {
        (row, name): right.value if right else None
        for row, printed in grid.cells.items()
        for name, cell, right in zip(names, printed, mended[row], strict=True)
        if cell != right
    }


def _as_published(
    grid: Grid, columns: tuple[PublishedColumn, ...], rows: Mapping[str, tuple[str, ...]]
) -> PublishedTable:
    """Of a grid whose printed rows are `rows`: name in Table C.1, domain, protocol."""

    def values(cells: Sequence[Cell]) -> dict[str, float | None]:
        named = zip(columns, cells, strict=True)
        return {column.name: cell.value if cell else None for column, cell in named}

    found = []
    for printed, cells in grid.cells.items():
        name, domain, protocol = rows[printed]
        found.append(PublishedRow(name, domain, protocol, values(cells)))
    averages = {domain: values(cells) for domain, cells in grid.averages.items()}
    return PublishedTable(columns, tuple(found), averages, grid.title)


def _load_table_4(
    folder: Path, table_c1: PublishedTable, models: Mapping[int, Model]
) -> PublishedTable:
    path = folder / "table_4.csv"
    grid, names = read_grid(path, "Table 4", lead=1), load_row_names(folder, "table_4")
    columns = tuple(_column(heading, models, path) for heading in grid.models)
    known = {row.name: (row.name, row.domain, row.protocol) for row in table_c1.rows}
    rows = {}
    for printed in grid.cells:
        name = names.get(printed, printed)
        if name not in known:
            raise DataError(f"{path}: row '{printed}' is none of Table C.1. Name it in rows.csv.")
        rows[printed] = known[name]
    wrong = {
        (rows[row][0], columns[position].name): cell.value
        for (row, position), cell in misprints(grid, mend_shifts(_grid_c1(folder))).items()
    }
    return replace(
        _as_published(grid, columns, rows),
        macro_domains=DOMAINS,
        misplaced=wrong,
        why_misplaced=MISPRINTED,
    )


def _column(heading: str, models: Mapping[int, Model], path: Path) -> PublishedColumn:
    number, _, title = heading.partition(":")
    model = models.get(int(number)) if number.isdigit() else None
    if model is None or model.column is None:
        raise DataError(f"{path}: the heading '{heading}' is of no column in models.csv.")
    return PublishedColumn(model.number, model.column, title)
