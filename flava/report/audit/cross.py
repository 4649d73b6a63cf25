"""One table against another that prints the same models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from flava.report.audit.finding import Finding
from flava.report.audit.printed import Cell, Grid, Printed, parse, read_lines
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


def cross_findings(grid: Grid, other: Grid, known: Sequence[str] = ()) -> list[Finding]:
    """Numbers of one table that the other prints differently.

    Args:
        grid, other: the tables.
        known: rows of `other` that another check explains.
    """
    rows, models = same_rows(grid, other), same_models(grid, other)
    found, last_digits = [], []
    for row, other_row in rows.items():
        for position, to in models.items():
            here, there = grid.cells[row][position], other.cells[other_row][to]
            if here is None or there is None or here.value == there.value or other_row in known:
                continue
            if abs(here.value - there.value) <= LAST_DIGITS * max(here.step, there.step):
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


def _other_number(grid: Grid, other: Grid, at: tuple[str, int], there: tuple[str, int]) -> Finding:
    row, position = at
    here, elsewhere = grid.cells[row][position], other.cells[there[0]][there[1]]
    assert here is not None
    assert elsewhere is not None
    domain = next(name for name, rows in grid.domains.items() if row in rows)
    average = grid.averages[domain][position]
    own = present([grid.cells[name][position] for name in grid.domains[domain]])
    swapped = [cell for cell in own if cell is not here] + [elsewhere]
    word, instead = "", "Neither without a look at the original run."
    if average is not None:
        right = [
            value for value, cells in ((here, own), (elsewhere, swapped)) if holds(average, cells)
        ]
        means = [sum(cell.value for cell in cells) / len(cells) for cells in (own, swapped)]
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


def summary_findings(path: Path, title: str, grid: Grid) -> list[Finding]:
    """A table of averages (vision_avg…, nlp_avg…, …) against the table that it sums up.

    A line's model is that whose averages its numbers hold most of, whatever their headings.
    """
    header, *lines = read_lines(path)
    headings = {
        domain: next(n for n, text in enumerate(header) if text.startswith(f"{domain}_avg"))
        for domain in (*DOMAINS, MACRO)
    }
    swapped: dict[tuple[str, str], list[str]] = {}
    for number, line in enumerate(lines, start=2):
        cells = {
            domain: parse(line[at], f"{path}, line {number}") for domain, at in headings.items()
        }
        position = _model_of(cells, grid)
        if position is None:
            continue
        for domain, cell in cells.items():
            owner = _owner(cell, position, grid)
            if cell is not None and owner not in (None, domain):
                assert owner is not None
                right = grid.averages[owner][position]
                text = f"{line[1]}: {cell} under {domain}, {grid.title} has {right} for {owner}"
                swapped.setdefault((domain, owner), []).append(text)
    return [
        Finding(
            "heading",
            f"{title}, {domain} average",
            f"{len(texts)} of its numbers are {owner} averages.",
            "; ".join(texts) + ".",
            f"The {owner} average where the heading says {domain}, in these rows.",
        )
        for (domain, owner), texts in swapped.items()
    ]


def _averages(grid: Grid, position: int) -> dict[str, Cell]:
    """Domain -> printed average; the macro average is the mean of the three."""
    found = {domain: grid.averages[domain][position] for domain in DOMAINS}
    known = present(list(found.values()))
    mean = sum(cell.value for cell in known) / len(DOMAINS)  # a missing one counts as 0 in print
    return found | {MACRO: Printed(round(mean, 2), 0.01)}


def _model_of(cells: Mapping[str, Cell], grid: Grid) -> int | None:
    """The position most of whose averages, under any heading, the cells hold; None without two."""

    def held(position: int) -> int:
        values = _averages(grid, position).values()
        return sum(any(alike(cell, value) for value in values) for cell in cells.values())

    best = max(range(len(grid.models)), key=held)
    return best if held(best) >= 2 else None


def _owner(cell: Cell, position: int, grid: Grid) -> str | None:
    """The domain whose average a cell is: the nearest one that rounds to it."""
    averages = _averages(grid, position)
    fitting = {
        domain: abs(cell.value - value.value)
        for domain, value in averages.items()
        if cell is not None and value is not None and alike(cell, value)
    }
    return min(fitting, key=lambda domain: fitting[domain]) if fitting else None


def table_2_findings(path: Path) -> list[Finding]:
    """Total and weighted mean text length of the parts of Table 2."""
    _, *lines = read_lines(path)
    parts = [
        (parse(line[1], str(path)), parse(line[2], str(path)))
        for line in lines
        if line[0] != "Total"
    ]
    total = next(line for line in lines if line[0] == "Total")
    pairs, words = parse(total[1], str(path)), parse(total[2], str(path))
    known = [(a, b) for a, b in parts if a is not None and b is not None]
    sizes = sum(size.value for size, _ in known)
    mean = sum(size.value * length.value for size, length in known) / sizes
    found = []
    off = sum(size.step for size, _ in known) / 2
    if pairs is not None and abs(sizes - pairs.value) > off + pairs.step / 2 + SLACK:
        found.append(_total(pairs, sizes))
    if words is not None and round(mean, 1) != words.value:
        found.append(
            Finding(
                "total",
                "Table 2, mean text length of all pairs",
                f"{words} words are printed, the parts give {mean:.2f}.",
                f"Sum of pairs times words over {sizes:.1f}M pairs.",
                f"{mean:.1f}, unless the mean was taken before the parts were rounded.",
            )
        )
    return found


def _total(pairs: Printed, sizes: float) -> Finding:
    return Finding(
        "total",
        "Table 2, total of pairs",
        f"{pairs}M are printed, the parts sum to {sizes:.1f}M.",
        "Sum of the nine sources.",
        f"{sizes:.1f}M.",
    )
