"""How far the seeds of a study lie apart, against the test-set error that one seed shows."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean, median, variance

from flava.jobs import ReportJob
from flava.report.compare import Comparison, Estimate, compare
from flava.report.headline import headline_rows
from flava.report.html import number, paragraph, text
from flava.report.published import MACRO
from flava.report.scores import Score
from flava.report.summary import average_estimate
from flava.report.tables import DOMAIN_TITLES, imported_columns

SEEDS = 3  # with fewer, a standard deviation is worth nothing
FAR = 2.0  # times the test-set error: rows that are named

Pair = tuple[float, float]  # standard deviation over seeds, test-set error of one seed


def spread_note(job: ReportJob, comparison: Comparison, scores: Sequence[Score]) -> str:
    """A paragraph; empty for a study of fewer than three seeds, or none of whose columns has all.

    Args:
        job: the study.
        comparison: of its scores.
        scores: all of them.
    """
    if len(comparison.seeds) < SEEDS:
        return ""
    averages, rows = spreads(job, comparison, scores)
    if not rows:
        return ""
    which = "columns that are trained here" if imported_columns(comparison) else "columns"
    shown = ", ".join(
        f"{name} {number(sd)} against {number(error)}" for name, (sd, error) in averages.items()
    )
    factors = {name: sd / error for name, (sd, error) in rows.items()}
    far = sorted((name for name in factors if factors[name] >= FAR), key=lambda n: -factors[n])
    named = ", ".join(f"{text(name)} {number(factors[name], 1)} times" for name in far)
    return paragraph(
        f"The spread that one seed does not show: standard deviation over the "
        f"{len(comparison.seeds)} seeds against the standard error of one seed's test set, "
        f"percentage points, root mean squares over the {which}: {shown or 'no average ran'}. "
        f"Rows: {number(median(factors.values()), 1)} times the test set's error in the "
        f"median{f'; {named}' if named else ''}.",
        "small",
    )


def spreads(
    job: ReportJob, comparison: Comparison, scores: Sequence[Score]
) -> tuple[dict[str, Pair], dict[str, Pair]]:
    """Average, and row -> root mean squares over the columns that ran with all seeds.

    Published weights are left out: their seeds are copies of one model.
    """
    parts = [
        compare(
            job.model_copy(update={"seeds": [seed]}),
            comparison.published,
            [score for score in scores if score.seed == seed],
        )
        for seed in comparison.seeds
    ]
    names = [column.name for column in comparison.ran() if not column.imported]
    titles = DOMAIN_TITLES | {MACRO: "macro"}
    averages = {
        titles[row.key]: [[average_estimate(p, name, row.rows) for p in parts] for name in names]
        for row in headline_rows(comparison)
    }
    rows = {
        row.name: [[part.cells[row.name, name].ours for part in parts] for name in names]
        for row in comparison.rows
    }
    return _pooled(averages), _pooled(rows)


def _pooled(places: Mapping[str, Iterable[Sequence[Estimate | None]]]) -> dict[str, Pair]:
    """What at least one column ran with all seeds, with a test-set error each."""
    found = {}
    for name, columns in places.items():
        variances, errors = list[float](), list[float]()
        for each in columns:
            known = [(e.mean, e.test_error) for e in each if e and e.test_error is not None]
            if len(known) == len(each):
                variances.append(variance([mean for mean, _ in known]))
                errors += [error**2 for _, error in known]
        if any(errors):
            found[name] = (math.sqrt(fmean(variances)), math.sqrt(fmean(errors)))
    return found
