"""Averages of scores. What is missing makes an average missing; it never counts as 0."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

TABLE_C1_MACRO_DOMAINS = ("nlp", "vision")


def mean(values: Iterable[float | None]) -> float | None:
    """Mean; None if there is no value or one of them is missing."""
    present: list[float] = []
    for value in values:
        if value is None:
            return None
        present.append(value)
    return sum(present) / len(present) if present else None


def average(scores: Mapping[str, float | None], rows: Sequence[str]) -> float | None:
    """Mean of `scores` over `rows`, percent; a row that is absent makes it missing."""
    return mean(scores.get(row) for row in rows)


def rows_that_ran(
    rows: Sequence[str], columns: Iterable[Mapping[str, float | None]]
) -> tuple[str, ...]:
    """The `rows` that every column with a score in them has: the set columns are comparable on.

    A column without any of the rows (MIM has no text encoder) does not narrow the set.
    """
    scored = [{row for row in rows if column.get(row) is not None} for column in columns]
    common = set(rows).intersection(*[names for names in scored if names])
    return tuple(row for row in rows if row in common) if any(scored) else ()
