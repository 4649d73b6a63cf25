"""Table 5 against Table C.1, on the lines that are columns there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from flava.errors import DataError
from flava.report.audit.cross import LAST_DIGITS, alike
from flava.report.audit.finding import Finding
from flava.report.audit.printed import Grid, Printed
from flava.report.html import quantity
from flava.report.methods import LEAD, TITLE, pair_mean
from flava.report.printed_tables import load_models, load_row_names, read_table

FILE = "table_5.csv"


def table_5_findings(folder: Path, grid: Grid) -> list[Finding]:
    """Numbers of the same models that the two tables print differently.

    Args:
        folder: of the paper's tables; models.csv and rows.csv there join the two.
        grid: Table C.1, shifted rows put right.

    Raises:
        DataError: a table is missing or malformed, or a row is none of `grid`.
        ConfigError: models.csv names a column that `grid` lacks.
    """
    models, names = load_models(folder, "table_5"), load_row_names(folder, "table_5")
    found, last_digits = [], list[str]()
    for line in read_table(folder, "table_5"):
        column = models[int(line["row"])].column
        if column is None:
            continue
        position, other = grid.position(column, "models.csv"), []
        for heading, here, there in _joined(line, names, grid, position):
            if alike(here, there):
                continue
            text = f"{heading} {_shown(line[heading], here)} and {there}"
            if abs(here.value - there.value) <= LAST_DIGITS * max(here.step, there.step):
                last_digits.append(f"{text} ({line['method']})")
            else:
                other.append(text)
        if other:
            found.append(_finding(grid, line["method"], position, other))
    if last_digits:
        found.append(
            Finding(
                "last digit",
                f"{TITLE} and {grid.title}",
                f"{len(last_digits)} numbers of the same models differ in the last digit.",
                "; ".join(last_digits) + ".",
                f"Either: the difference is one of rounding. {grid.title} has more digits.",
            )
        )
    return found


def _joined(
    line: Mapping[str, str], names: Mapping[str, str], grid: Grid, position: int
) -> Iterator[tuple[str, Printed, Printed]]:
    """Heading, number of Table 5, number of `grid`, where both have one."""
    for heading in (name for name in line if name not in LEAD):
        row = names.get(heading, heading)
        if row not in grid.cells:
            raise DataError(f"{FILE}: row '{row}' is none of {grid.title}. Name it in rows.csv.")
        here = pair_mean(line[heading], f"{FILE}, line {line['row']}")
        there = grid.cells[row][position]
        if here is not None and there is not None:
            yield heading, here, there


def _shown(text: str, mean: Printed) -> str:
    return f"{text} (mean {mean.value:.2f})" if "/" in text else text


def _finding(grid: Grid, method: str, position: int, other: list[str]) -> Finding:
    return Finding(
        "another number",
        f"{TITLE} and {grid.title}, {method}, column {grid.models[position]}",
        f"{quantity(len(other), 'number')} of one model, apart by more than rounding.",
        "; ".join(other) + ".",
        "Each table's own numbers, to compare models within it: print does not say which runs or "
        "which splits they are of.",
    )
