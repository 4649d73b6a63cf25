"""Numbers of ours as HTML, each with the name by which `workflow.trace` finds it."""

from __future__ import annotations

from flava.report.compare import Estimate
from flava.report.html import number, signed, span, text
from flava.report.published import MACRO
from flava.report.summary import MACRO_TABLE_C1

PART = ", rows that ran"  # of an average that is not over all of the paper's rows
AVERAGES = {
    "nlp": "NLP Avg.",
    "vision": "Vision Avg.",
    "multimodal": "Multimodal Avg.",
    MACRO: "Macro Avg.",
    MACRO_TABLE_C1: "Macro Avg. (NLP, vision)",
}
MARK = "data-cell"  # "table|column|row" of the number that the element holds
SVG_MARK = "cell "  # the same in a picture, where the id of a group has it


def average_name(key: str, partial: bool) -> str:
    """Row of an average: a domain's or a macro average, over all rows or those that ran."""
    return AVERAGES[key] + (PART if partial else "")


def difference_name(column: str, baseline: str) -> str:
    """Column of a difference, or a ratio, of two columns."""
    return f"{column} - {baseline}"


def own(table: str, column: str, row: str, content: str) -> str:
    """Ready HTML of something that this study computed, with its place in a table.

    Args:
        table, column, row: its name for `workflow.trace`, without a "|".
        content: without tags.
    """
    return f'<span class="own" {MARK}="{text(f"{table}|{column}|{row}")}">{content}</span>'


def ours_span(estimate: Estimate, table: str, column: str, row: str, marks: str = "") -> str:
    """The mean with its standard error; a hint gives the seeds.

    Args:
        estimate: of a score or an average, percent.
        table, column, row: as `own`.
        marks: CSS classes of `best_marks`.
    """
    shown = span(marks, number(estimate.mean)) if marks else number(estimate.mean)
    cell, hint = text(f"{table}|{column}|{row}"), text(describe(estimate))
    error = error_span(estimate.std_error, estimate.error_source)
    return f'<span class="ours" {MARK}="{cell}" title="{hint}">{shown}{error}</span>'


def error_span(error: float | None, source: str) -> str:
    """The standard error, in italics where it is the test set's; empty without one.

    Args:
        error: of a score, an average or a difference, percentage points.
        source: 'seeds', 'test set' or 'none'.
    """
    if error is None:
        return ""
    css = "se" if source == "seeds" else "se test"
    decimals = 2 if error < 0.95 else 1
    return span(css, f" \N{PLUS-MINUS SIGN}{number(error, decimals)}")


def fewer_span(found: int, seeds: int) -> str:
    """How many of the study's seeds a number is the mean of, where these are fewer; else empty."""
    return span("fewer", f" {found}/{seeds} seeds") if found < seeds else ""


def describe(estimate: Estimate) -> str:
    """Plain text: where the error comes from, and the score of each seed."""
    seeds = ", ".join(f"seed {seed}: {number(v)}" for seed, v in sorted(estimate.by_seed.items()))
    if estimate.std_error is None:
        why = f": {estimate.why_no_error}" if estimate.why_no_error else ""
        return "; ".join(each for each in (f"no standard error{why}", seeds) if each)
    source = estimate.error_source
    if estimate.one_model and estimate.n_seeds > 1:
        source += ": all seeds are of one published model"
    return f"standard error {number(estimate.std_error)} ({source}); {seeds}"


def delta_span(delta: float, stand_in: bool) -> str:
    """Ours minus the paper's: grey where other data or another model was measured."""
    css = "stand-in" if stand_in else "up" if delta > 0 else "down"
    return span(f"delta {css}", signed(delta))
