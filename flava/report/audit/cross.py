"""One table against another that prints the same models."""

from __future__ import annotations

from flava.report.audit.finding import Finding
from flava.report.audit.printed import Cell, Grid, Printed
from flava.report.audit.sums import SLACK, holds, present
from flava.report.published import DOMAINS, MACRO

LAST_DIGITS = 1.01  # steps: two roundings of one number differ by no more


def same_rows(first: Grid, second: Grid) -> dict[str, str]:
    """Row of `first` -> the row of `second`, by name, upper case and abbreviations aside."""
    left = {plain(row): row for row in second.cells}
    found = {row: left.pop(plain(row)) for row in first.cells if plain(row) in left}
    for row in first.cells:
        for name, other in left.items():
            short, long = sorted((plain(row), name), key=len)
            if row not in found and long.startswith(short):
                found[row] = other
    return found


def plain(name: str) -> str:
    """Lower-case letters and digits of a name."""
    return "".join(letter for letter in name.lower() if letter.isalnum())


def same_models(first: Grid, second: Grid) -> dict[int, int]:
    """Position in `first` -> that of the same model in `second`: most of its cells are equal."""
    rows = same_rows(first, second)
    found = {}
    for position in range(len(first.models)):
        equal = [
            sum(
                alike(first.cells[row][position], second.cells[other][to]) is True
                for row, other in rows.items()
            )
            for to in range(len(second.models))
        ]
        if max(equal) > sum(first.cells[row][position] is not None for row in rows) / 2:
            found[position] = equal.index(max(equal))
    return found


def alike(first: Cell, second: Cell) -> bool | None:
    """Whether both round one number; None where either is missing."""
    if first is None or second is None:
        return None
    return abs(first.value - second.value) <= (first.step + second.step) / 2 + SLACK


def counterparts(grid: Grid, other: Grid) -> dict[tuple[str, int], Cell]:
    """What `other` prints for each row and position of `grid`."""
    rows, models = same_rows(grid, other), same_models(grid, other)
    return {
        (row, position): other.cells[rows[row]][to]
        for row in rows
        for position, to in models.items()
    }


def misprints(grid: Grid, other: Grid) -> dict[tuple[str, int], Printed]:
    """Row and position of each cell of `grid` whose average holds with the number of `other` alone.

    Two roundings of one number are none.
    """
    found = {}
    for at, there in counterparts(grid, other).items():
        here = grid.cells[at[0]][at[1]]
        if here is None or there is None or _same_but_last_digit(here, there):
            continue
        average, (printed, swapped) = _with(grid, at, there)
        if average is not None and holds(average, swapped) and not holds(average, printed):
            found[at] = there
    return found


def cross_findings(grid: Grid, other: Grid) -> list[Finding]:
    """Numbers of one table that the other prints differently; shifted rows are put right before."""
    rows, models = same_rows(grid, other), same_models(grid, other)
    found, last_digits = [], []
    for row, other_row in rows.items():
        for position, to in models.items():
            here, there = grid.cells[row][position], other.cells[other_row][to]
            if here is None or there is None or here.value == there.value:
                continue
            if _same_but_last_digit(here, there):
                last_digits.append(f"{row}, {grid.models[position]}: {here} and {there}")
            else:
                found.append(_other_number(grid, other, (row, position), (other_row, to)))
    for domain in (*DOMAINS, MACRO):
        for position, to in models.items():
            here, there = grid.averages[domain][position], other.averages[domain][to]
            close = LAST_DIGITS * 0.01
            if here and there and SLACK < abs(here.value - there.value) <= close:
                text = f"{domain} average, {grid.models[position]}: {here} and {there}"
                last_digits.append(text)
    if last_digits:
        found.append(
            Finding(
                "last digit",
                f"{grid.title} and {other.title}",
                f"{len(last_digits)} numbers of the same models differ in the last digit.",
                "; ".join(last_digits) + ".",
                f"Either: the difference is one of rounding. This project uses {other.title}.",
            )
        )
    return found


def _same_but_last_digit(here: Printed, there: Printed) -> bool:
    return abs(here.value - there.value) <= LAST_DIGITS * max(here.step, there.step)


def _with(grid: Grid, at: tuple[str, int], cell: Cell) -> tuple[Cell, list[tuple[Printed, ...]]]:
    """The average above `at`, and its cells as printed and with `cell` there."""
    row, position = at
    domain = next(name for name, rows in grid.domains.items() if row in rows)
    return grid.averages[domain][position], [
        present([each.cells[name][position] for name in each.domains[domain]])
        for each in (grid, grid.with_cell(row, position, cell))
    ]


def _other_number(grid: Grid, other: Grid, at: tuple[str, int], there: tuple[str, int]) -> Finding:
    row, position = at
    here, elsewhere = grid.cells[row][position], other.cells[there[0]][there[1]]
    assert here is not None
    assert elsewhere is not None
    domain = next(name for name, rows in grid.domains.items() if row in rows)
    average, both = _with(grid, at, elsewhere)
    word, instead = "", "Neither without a look at the original run."
    if average is not None:
        right = [
            value
            for value, cells in zip((here, elsewhere), both, strict=True)
            if holds(average, cells)
        ]
        means = [sum(cell.value for cell in cells) / len(cells) for cells in both]
        word = (
            f"The {domain} average {average} is {means[0]:.2f} with {here} and {means[1]:.2f} "
            f"with {elsewhere}."
        )
        if len(right) == 1:
            instead = f"{right[0]}, which the average needs."
    return Finding(
        "another number",
        f"{grid.title} and {other.title}, row {row}, {grid.models[position]}",
        f"{grid.title} prints {here}, {other.title} {elsewhere}, for the same model.",
        word,
        instead,
    )
