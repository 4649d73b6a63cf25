"""One number of ours as HTML: value, standard error, seeds."""

from __future__ import annotations

from flava.report.compare import Estimate
from flava.report.html import number, signed, span, text

PART = ", rows that ran"  # of an average that is not over all of the paper's rows


def ours_span(estimate: Estimate, column: str, row: str, marks: str = "") -> str:
    """The mean with its standard error; a hint gives the seeds.

    Args:
        estimate: of a score or an average, percent.
        column, row: which cell of the table it is, for `workflow.trace`; an average is `key`, or
            `key` and `PART`.
        marks: CSS classes of `best_marks`.
    """
    shown = span(marks, number(estimate.mean)) if marks else number(estimate.mean)
    cell, hint = text(f"{column}|{row}"), text(describe(estimate))
    return (
        f'<span class="ours" data-cell="{cell}" title="{hint}">{shown}{error_span(estimate)}</span>'
    )


def error_span(estimate: Estimate) -> str:
    """The standard error, in italics where it is the test set's; empty without one."""
    error = estimate.std_error
    if error is None:
        return ""
    css = "se" if estimate.error_source == "seeds" else "se test"
    decimals = 2 if error < 0.95 else 1
    return span(css, f" \N{PLUS-MINUS SIGN}{number(error, decimals)}")


def describe(estimate: Estimate) -> str:
    """Plain text: where the error comes from, and the score of each seed."""
    seeds = ", ".join(f"seed {seed}: {number(v)}" for seed, v in sorted(estimate.by_seed.items()))
    if estimate.std_error is None:
        return f"no standard error; {seeds}"
    return f"standard error {number(estimate.std_error)} ({estimate.error_source}); {seeds}"


def delta_span(delta: float, stand_in: bool) -> str:
    """Ours minus the paper's: grey where other data or another model was measured."""
    css = "stand-in" if stand_in else "up" if delta > 0 else "down"
    return span(f"delta {css}", signed(delta))
