"""What the text says of two columns of Table C.1, against their averages and rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from flava.config import StatedDifference, StatedHigher
from flava.errors import ConfigError, unknown_name
from flava.report.audit.printed import Grid, parse
from flava.report.audit.sums import SLACK
from flava.report.published import DOMAINS, MACRO

STATEMENTS = "statements.yaml"


@dataclass(frozen=True)
class Change:
    """A number of two columns: of the second, then of the first."""

    name: str
    before: float
    after: float

    def __str__(self) -> str:
        return f"{self.name} {self.before:.2f} to {self.after:.2f}"


def average_of(average: str, column: str, grid: Grid) -> tuple[float, float] | None:
    """A printed average and how far rounding may have moved it; macro: the mean of three domains.

    None where a domain is not printed.

    Raises:
        ConfigError: there is no such column.
    """
    position = grid.position(column, STATEMENTS)
    domains = DOMAINS if average == MACRO else (average,)
    cells = [grid.averages[domain][position] for domain in domains]
    known = [cell for cell in cells if cell is not None]
    if len(known) < len(cells):
        return None
    n = len(known)
    return sum(cell.value for cell in known) / n, sum(cell.step for cell in known) / n / 2


def difference(stated: StatedDifference, grid: Grid) -> tuple[str, str] | None:
    """Arithmetic and what to use instead, where the stated numbers do not follow.

    Raises:
        ConfigError: a column does not exist.
        DataError: a stated number is none.
    """
    first = average_of(stated.average, stated.first, grid)
    second = average_of(stated.average, stated.second, grid)
    if first is None or second is None:
        return "An average is not printed.", "Nothing."
    after, before, off = first[0], second[0], first[1] + second[1]
    text = f"{before:.2f} to {after:.2f}: {after - before:+.2f}"
    if stated.average == MACRO:
        text = f"By the mean of three domains {text}"
        at = [grid.position(name, STATEMENTS) for name in (stated.first, stated.second)]
        macros = [grid.averages[MACRO][position] for position in at]
        if macros[0] is not None and macros[1] is not None:
            own = macros[0].value - macros[1].value
            text += f"; by the macro averages that {grid.title} prints {own:+.2f}"
    if stated.values is not None:
        right = all(
            _fits(number, value, slack)
            for number, value, slack in zip(
                stated.values, (before, after), (second[1], first[1]), strict=True
            )
        )
    else:
        right = _fits(stated.points or "", after - before, off)
    return None if right else (f"{text}.", f"{after - before:+.2f}.")


def _fits(stated: str, value: float, off: float) -> bool:
    """Whether a number may be stated so, given how far rounding may have moved it."""
    number = parse(stated, STATEMENTS)
    return number is not None and abs(value - number.value) <= number.step / 2 + off + SLACK


def higher(stated: StatedHigher, grid: Grid) -> tuple[str, str] | None:
    """Arithmetic and what to use instead, where a first column is not above its second.

    Raises:
        ConfigError: a column or row does not exist, or nothing of it is printed.
    """
    names = list(grid.cells) if stated.rows == "all" else list(stated.rows)
    texts, risen, looked_at = [], list[int](), 0
    changes = list[Change]()
    for first, second in stated.pairs:
        rows = list(_rows(names, (first, second), grid))
        averages = list(_averages(stated.averages, (first, second), grid))
        falls = [change for change in rows if change.after <= change.before]
        fallen = [change for change in averages if change.after <= change.before]
        risen.append(len(rows) - len(falls))
        looked_at = max(looked_at, len(rows))
        changes += rows + averages
        if falls or fallen:
            alone = len(stated.pairs) == 1
            texts.append(_text(f"{first} over {second}", rows, falls, fallen, alone))
    if not changes:
        raise ConfigError(f"{STATEMENTS}: nothing is printed of {stated.pairs}. Name others.")
    if not texts:
        return None
    return f"{'; '.join(texts)}.", _instead(changes, risen, looked_at)


def _text(
    pair: str,
    rows: Sequence[Change],
    falls: Sequence[Change],
    averages: Sequence[Change],
    every: bool,
) -> str:
    """What does not rise: all rows, or that which falls most."""
    parts = []
    if falls:
        most = min(falls, key=lambda change: change.after - change.before)
        shown = ", ".join(map(str, falls)) if every else f"most of all {most}"
        parts.append(f"{len(falls)} of {len(rows)} rows do not rise: {shown}")
    parts += [
        f"{change.name} average {change.before:.2f} to {change.after:.2f}: "
        f"{change.after - change.before:+.2f}"
        for change in averages
    ]
    return f"{pair}: {', '.join(parts)}"


def _instead(changes: Sequence[Change], risen: Sequence[int], rows: int) -> str:
    if len(changes) == 1:
        return f"{changes[0].after - changes[0].before:+.2f}."
    if not rows:
        up = sum(change.after > change.before for change in changes)
        return f"{up} of {len(changes)} averages rise."
    low, high = min(risen), max(risen)
    return f"{low if low == high else f'{low} to {high}'} of {rows} rows rise."


def _averages(names: Sequence[str], pair: tuple[str, str], grid: Grid) -> Iterator[Change]:
    for name in names:
        first, second = (average_of(name, column, grid) for column in pair)
        if first is not None and second is not None:
            yield Change(name, second[0], first[0])


def _rows(names: Sequence[str], pair: tuple[str, str], grid: Grid) -> Iterator[Change]:
    first, second = (grid.position(column, STATEMENTS) for column in pair)
    for name in names:
        if name not in grid.cells:
            raise ConfigError(unknown_name("row", name, list(grid.cells), STATEMENTS))
        after, before = grid.cells[name][first], grid.cells[name][second]
        if after is not None and before is not None:
            yield Change(name, before.value, after.value)
