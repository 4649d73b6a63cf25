"""One thing that does not add up."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """What the audit found at one place.

    Attributes:
        kind: of check that failed; a page groups by it.
        where: table, row and column, or the paper's section.
        problem: a sentence with the printed numbers.
        arithmetic: how the numbers that contradict it come about.
        instead: what a reader should use.
    """

    kind: str
    where: str
    problem: str
    arithmetic: str
    instead: str
