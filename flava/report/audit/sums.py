"""Averages that do not follow from their cells, and what would mend them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from flava.report.audit.finding import Finding
from flava.report.audit.printed import Cell, Grid, Printed

SLACK = 1e-9  # of floating-point sums


@dataclass(frozen=True)
class Mismatch:
    """A printed average that its printed cells cannot give."""

    domain: str
    position: int
    printed: Printed
    cells: tuple[Printed, ...]

    @property
    def mean(self) -> float:
        """Of the cells as printed."""
        return sum(cell.value for cell in self.cells) / len(self.cells)

    def implied(self, left_out: Printed) -> tuple[float, float]:
        """What one cell must have been for the average to hold, and by how much that may be off."""
        others = sum(cell.value for cell in self.cells) - left_out.value
        n = len(self.cells)
        off = n * self.printed.step / 2 + sum(c.step for c in self.cells if c is not left_out) / 2
        return n * self.printed.value - others, off


def holds(average: Printed, cells: Sequence[Printed]) -> bool:
    """Whether numbers that round to `cells` can have a mean that rounds to `average`."""
    mean = sum(cell.value for cell in cells) / len(cells)
    off = average.step / 2 + sum(cell.step for cell in cells) / len(cells) / 2
    return abs(mean - average.value) <= off + SLACK


def present(cells: Sequence[Cell]) -> tuple[Printed, ...]:
    """The cells that are no dash."""
    return tuple(cell for cell in cells if cell is not None)


def mismatches(grid: Grid) -> list[Mismatch]:
    """All averages of domains that do not follow, in print order."""
    found = []
    for domain, rows in grid.domains.items():
        for position, average in enumerate(grid.averages[domain]):
            cells = present([grid.cells[row][position] for row in rows])
            if average is not None and cells and not holds(average, cells):
                found.append(Mismatch(domain, position, average, cells))
    return found


def shifts(grid: Grid, wrong: Sequence[Mismatch]) -> Iterator[tuple[str, int, list[Mismatch]]]:
    """Rows whose cells from some column on belong one column further right.

    Yields: row, the first position whose own value is lost, and the averages that hold once each
    cell from there on stands one column further right. At least two must.
    """
    for domain in {item.domain for item in wrong}:
        failing = [item for item in wrong if item.domain == domain]
        for row in grid.domains[domain]:
            printed = grid.cells[row]
            first = min(item.position for item in failing)
            moved = list(printed)
            moved[first + 1 :] = printed[first:-1]
            mended = [item for item in failing if item.position > first]
            trial = grid
            for position in range(first + 1, len(moved)):
                trial = trial.with_cell(row, position, moved[position])
            left = {item.position for item in mismatches(trial) if item.domain == domain}
            if len(mended) >= 2 and left <= {first}:
                yield row, first, mended


def average_findings(grid: Grid, others: Mapping[tuple[str, int], Cell]) -> list[Finding]:
    """Averages that do not follow, each with its explanation where one is found.

    Args:
        grid: of a table.
        others: what another table prints for the same row and model, by row and position.
    """
    wrong = mismatches(grid)
    found, explained = [], set[tuple[str, int]]()
    for row, first, mended in shifts(grid, wrong):
        items = [
            item for item in wrong if item.position == first and item.domain == mended[0].domain
        ]
        found.append(_shift_finding(grid, row, first, items + mended))
        explained |= {(item.domain, item.position) for item in items + mended}
    for item in wrong:
        # A cell that another table prints differently is that check's finding.
        if (item.domain, item.position) not in explained and not _mends(grid, item, others):
            found.append(_cell_finding(grid, item))
    return found


def mend_shifts(grid: Grid) -> Grid:
    """The grid with shifted rows put right; what is lost is a dash."""
    for row, first, _ in list(shifts(grid, mismatches(grid))):
        printed = grid.cells[row]
        cells = (*printed[:first], None, *printed[first:-1])
        grid = replace(grid, cells={**grid.cells, row: cells})
    return grid


def _shift_finding(grid: Grid, row: str, first: int, wrong: Sequence[Mismatch]) -> Finding:
    names, printed = grid.models, grid.cells[row]
    sums = "; ".join(_sum(grid, item) for item in wrong)
    moved = ", ".join(f"{names[to]}: {printed[to - 1]}" for to in range(first + 1, len(names)))
    lost = [item for item in wrong if item.position == first]
    text = ""
    if lost and (cell := printed[first]) is not None:
        value, off = lost[0].implied(cell)
        text = f" {names[first]}'s own value is lost; its average implies {value:.2f} ± {off:.2f}."
    return Finding(
        "average",
        f"{grid.title}, row {row}, from column {names[first]} on",
        f"The averages of {', '.join(names[item.position] for item in wrong)} do not follow from "
        f"the cells: {sums}.",
        f"They hold where each value of row {row} from {names[first]} on stands one column further "
        f"right.{text}",
        f"{moved}. Whether print or its transcription moved them cannot be told from the table.",
    )


def _cell_finding(grid: Grid, item: Mismatch) -> Finding:
    return Finding(
        "average",
        f"{grid.title}, {item.domain} average of {grid.models[item.position]}",
        f"{item.printed} is printed, the cells give {item.mean:.2f}.",
        _sum(grid, item) + ".",
        "The cells; the average is not to be used.",
    )


def _mends(grid: Grid, item: Mismatch, others: Mapping[tuple[str, int], Cell]) -> bool:
    """Whether the average holds with another table's number in one cell."""
    for row in grid.domains[item.domain]:
        cell, other = grid.cells[row][item.position], others.get((row, item.position))
        differs = cell is not None and other is not None and cell.value != other.value
        if differs and holds(
            item.printed, present([c for c in item.cells if c is not cell] + [other])
        ):
            return True
    return False


def _sum(grid: Grid, item: Mismatch) -> str:
    return (
        f"{grid.models[item.position]}: {len(item.cells)} cells give {item.mean:.2f}, "
        f"{item.printed} is printed"
    )
