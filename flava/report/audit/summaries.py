"""Tables 3 and D.1: averages and their differences against the table that they sum up."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from flava.report.audit.cross import alike
from flava.report.audit.finding import Finding
from flava.report.audit.printed import Cell, Grid, Printed
from flava.report.audit.sums import SLACK, present
from flava.report.average_tables import Line, load_lines
from flava.report.published import DOMAINS, MACRO


def summary_findings(folder: Path, name: str, grid: Grid) -> list[Finding]:
    """What `table_3` or `table_d1` has under another heading, or out of nowhere.

    Args:
        folder: of the paper's tables; its models.csv says which line is of which model.
        name: of the table.
        grid: the table whose averages it repeats, with this project's names of columns.

    Raises:
        DataError: the table is missing or malformed, or a line is of no column in models.csv.
        ConfigError: models.csv names a column that `grid` lacks.
    """
    lines = load_lines(folder, name)
    swapped: dict[tuple[str, str], list[str]] = {}
    alone = []
    for line in lines:
        if line.column is None:
            continue
        position = grid.position(line.column, "models.csv")
        for domain, cell in line.values.items():
            owner = _owner(cell, position, grid)
            if cell is not None and owner is None:
                alone.append(_alone(line, domain, cell, grid))
            elif owner is not None and owner != domain:
                right = _averages(grid, position)[owner]
                text = f"{line.title}: {cell} under {domain}, {grid.title} has {right} for {owner}"
                swapped.setdefault((domain, owner), []).append(text)
    headings = [
        Finding(
            "heading",
            f"{lines[0].table}, {domain} average",
            f"{len(texts)} of its numbers are {owner} averages.",
            "; ".join(texts) + ".",
            f"The {domain} averages of {grid.title}: these rows print {owner} averages there.",
        )
        for (domain, owner), texts in swapped.items()
    ]
    return [*headings, *alone, *_differences(lines)]


def _alone(line: Line, domain: str, cell: Printed, grid: Grid) -> Finding:
    assert line.column is not None
    averages = _averages(grid, grid.position(line.column, "models.csv"))
    return Finding(
        "another number",
        f"{line.table}, line {line.number} {line.title}, {domain} average",
        f"{cell} is printed, and no average of this model in {grid.title} rounds to it.",
        ", ".join(f"{name} {value or '–'}" for name, value in averages.items()) + ".",
        f"The {domain} average of {grid.title}: {averages[domain] or 'none'}.",
    )


def _differences(lines: Sequence[Line]) -> Iterator[Finding]:
    """Where the line of differences is not the second line minus the first."""
    first, second, *_ = [line for line in lines if line.column is not None]
    for line in lines:
        for domain, printed in line.values.items() if line.column is None else ():
            before, after = first.values[domain], second.values[domain]
            if printed is None or before is None or after is None:
                continue
            difference = after.value - before.value
            off = (printed.step + before.step + after.step) / 2
            if abs(difference - printed.value) > off + SLACK:
                yield Finding(
                    "difference",
                    f"{line.table}, difference of the {domain} averages",
                    f"{printed} is printed.",
                    f"{before} to {after}: {difference:+.2f}.",
                    f"{difference:+.2f}.",
                )


def _averages(grid: Grid, position: int) -> dict[str, Cell]:
    """Domain -> printed average; the macro average is the mean of the three."""
    found = {domain: grid.averages[domain][position] for domain in DOMAINS}
    known = present(list(found.values()))
    mean = sum(cell.value for cell in known) / len(DOMAINS)  # a missing one counts as 0 in print
    return found | {MACRO: Printed(round(mean, 2), 0.01)}


def _owner(cell: Cell, position: int, grid: Grid) -> str | None:
    """The domain whose average a cell is: the nearest one that rounds to it."""
    averages = _averages(grid, position)
    fitting = {
        domain: abs(cell.value - value.value)
        for domain, value in averages.items()
        if cell is not None and value is not None and alike(cell, value)
    }
    return min(fitting, key=lambda domain: fitting[domain]) if fitting else None
