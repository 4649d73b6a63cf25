"""All tables that hold something of ours, by the names that the pages mark their cells with."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from flava.errors import DataError, unknown_name
from flava.report.compare import Comparison
from workflow.provenance import record_cells, score_cells
from workflow.provenance.cells import Cell, Ours

TABLES: dict[str, Callable[[Ours], Iterator[Cell]]] = {
    "Table 1": record_cells.table_1,
    "Table 2": record_cells.table_2,
    "Table 3": score_cells.table_3,
    "Table 4": score_cells.table_4,
    "Table 5": score_cells.table_5,
    "Figure 4": score_cells.figure_4,
    "Table A.1": partial(record_cells.printed_settings, "table_a1"),
    "Section B.1": partial(record_cells.printed_settings, "section_b1"),
    "Recipes": partial(record_cells.printed_settings, "recipes"),
    "Table A.2": record_cells.table_a2,
    "Table C.1": score_cells.table_c1,
    "Table D.1": score_cells.table_d1,
    "Averages": score_cells.averages,
    "Directions": score_cells.directions,
    "Claims": score_cells.claims,
    "Stand-ins": score_cells.stand_ins,
    "Corpora": record_cells.corpora,
    "Leaks": record_cells.leaks,
    "Cost": record_cells.cost,
    "Origin": record_cells.origin,
    "Columns": record_cells.columns,
    "Settings": record_cells.settings,
}


def cells(ours: Ours, table: str) -> list[Cell]:
    """All cells of ours in a table, each place once.

    Raises:
        DataError: no such table, or what it is read from is missing or damaged.
    """
    found = {cell.name: cell for cell in TABLES[table_name(table)](ours)}
    return list(found.values())


def find(ours: Ours, table: str, column: str, row: str) -> Cell:
    """One cell; names of columns and rows in any case, columns by number too.

    Raises:
        DataError: unknown names, or a cell with nothing of ours, and why.
    """
    found, shown = cells(ours, table), _comparison(ours, table)
    numbers = {str(info.number): info.name for info in shown.columns}
    columns = [*(cell.column for cell in found), *(info.name for info in shown.columns)]
    wanted = _match(numbers.get(column, column), columns, "column", table)
    rows = [*(cell.row for cell in found), *(info.name for info in shown.rows)]
    wanted_row = _match(row, rows, "row", table)
    for cell in found:
        if (cell.column, cell.row) == (wanted, wanted_row):
            return cell
    none = shown.cells.get((wanted_row, wanted))
    reason = f" ({none.why_no_ours})" if none and none.why_no_ours else ""
    raise DataError(f"{table}, {wanted}, {wanted_row}: nothing of ours stands there{reason}.")


def table_name(name: str) -> str:
    """'table_c1', 'C.1' and 'Table C.1' are the same.

    Raises:
        DataError: no such table.
    """
    plain = {_plain(known): known for known in TABLES}
    if _plain(name) not in plain:
        raise DataError(unknown_name("table", name, list(TABLES), "workflow.trace"))
    return plain[_plain(name)]


def _comparison(ours: Ours, table: str) -> Comparison:
    """Whose columns a table's numbers are of: Table 4 counts its own."""
    return ours.table_4 if table_name(table) in ("Table 4", "Figure 4") else ours.comparison


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower()).removeprefix("table")


def _match(name: str, known: Sequence[str], kind: str, where: str) -> str:
    unique = list(dict.fromkeys(known))
    for each in unique:
        if each.lower() == name.lower():
            return each
    raise DataError(unknown_name(kind, name, unique, where))
