"""The paper's claims as pairs of columns: its difference beside ours, by domain, with a verdict.

A verdict is on what the text claims. The paper's own number has no part in it: some contradict it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from flava.config import ClaimConfig
from flava.report.averages import average, mean, rows_that_ran
from flava.report.compare import Comparison, Estimate, paired_error
from flava.report.published import DOMAINS, MACRO
from flava.report.summary import average_estimate, domains_of, printed_average

CONFIDENCE = 0.95
# Differences of printed numbers with two decimals: less than this has no sign.
NO_DIFFERENCE = 0.005
HOLDS, REVERSED, UNDECIDED = "holds", "reversed", "undecided"
NOT_CLAIMED, NOT_RUN = "not claimed", "not run"
WORDS = (HOLDS, REVERSED, UNDECIDED, NOT_CLAIMED, NOT_RUN)


@dataclass(frozen=True)
class Direction:
    """One claim, one pair of columns, one domain (or `macro`); differences in percentage points.

    Attributes:
        sign: of the difference, as the paper's text claims it; None where it claims none.
        paper_all: the paper's difference over all its rows, from its printed averages.
        paper_same: the paper's difference over `rows`: of its printed averages where these are all
            of its rows, else of its cells, misplaced ones put right.
        by_seed: seed -> our difference between the two runs of that seed.
        std_error: of the mean of `by_seed` (paired); with one seed, or two published models, of the
            two test sets' scores.
        error_source: 'seeds', 'test set' or 'none'.
        quantile: of Student's t; ours counts where it exceeds `quantile * std_error`.
        rows: those that both columns ran.
        n_rows_paper: rows of the paper's table in the domain.
        word: one of `WORDS`.
    """

    key: str
    claim: str
    source: str
    column: str
    baseline: str
    domain: str
    sign: int | None
    paper_all: float | None
    paper_same: float | None
    ours: float | None
    by_seed: Mapping[int, float]
    std_error: float | None
    error_source: str
    quantile: float | None
    rows: tuple[str, ...]
    n_rows_paper: int
    word: str

    @property
    def other_sign(self) -> bool:
        """Whether the paper's difference over these rows has another sign than over all."""
        if self.paper_all is None or self.paper_same is None:
            return False
        return self.paper_all * self.paper_same < 0

    @property
    def cells_contradict(self) -> bool:
        """Whether the paper's own numbers, over all of its rows, lack the sign that it claims."""
        if self.sign is None or self.paper_all is None:
            return False
        return self.paper_all * self.sign < NO_DIFFERENCE

    @property
    def agrees(self) -> bool | None:
        """Whether ours has the claimed sign, whatever its error; None without a claim or ours."""
        if self.sign is None or self.ours is None:
            return None
        return self.ours * self.sign > 0


def judge_all(comparison: Comparison, claims: Mapping[str, ClaimConfig]) -> tuple[Direction, ...]:
    """All claims, pair by pair and domain by domain, where the paper or this study has a number.

    Pairs with a column that is neither the paper's nor this study's are another study's.
    """
    shown = {column.name for column in comparison.columns}
    found = (
        judge(comparison, key, claim, pair, domain)
        for key, claim in claims.items()
        for pair in claim.pairs
        if shown.issuperset(pair)
        for domain in (*DOMAINS, MACRO)
    )
    return tuple(item for item in found if item.paper_all is not None or item.ours is not None)


def claimed(directions: Iterable[Direction]) -> tuple[Direction, ...]:
    """Those that the paper's text speaks of."""
    return tuple(direction for direction in directions if direction.sign is not None)


def judge(
    comparison: Comparison, key: str, claim: ClaimConfig, pair: tuple[str, str], domain: str
) -> Direction:
    """The difference of a pair in the paper and here, over the rows that both columns ran.

    Seeds are paired: the standard error is that of the mean of the differences seed by seed.
    """
    names = {part: comparison.published.row_names(part) for part in domains_of(domain)}
    ran = {column.name for column in comparison.ran()}
    scores = [comparison.scores(name) for name in pair if name in ran]
    rows = {part: rows_that_ran(n, scores) if len(scores) == 2 else () for part, n in names.items()}
    ours = [average_estimate(comparison, name, rows) if name in ran else None for name in pair]
    by_seed = _by_seed(*ours)
    difference = mean(by_seed.values())
    error, source = _error(by_seed, *ours)
    sign = next((sign for name, sign in claim.claimed.items() if name == domain), None)
    quantile = t_quantile(len(by_seed)) if source == "seeds" else None
    paper = _printed_difference(comparison, pair, domain)
    same = paper if rows == names else _paper_difference(comparison, pair, rows)
    return Direction(
        key,
        claim.claim,
        claim.source,
        *pair,
        domain,
        sign,
        paper,
        same if by_seed else None,
        difference,
        by_seed,
        error,
        source,
        quantile,
        tuple(name for part in rows.values() for name in part) if by_seed else (),
        sum(len(part) for part in names.values()),
        verdict(difference, error, quantile, sign),
    )


def t_quantile(seeds: int) -> float:
    """Two-sided 95 % quantile of Student's t with `seeds - 1` degrees of freedom; at least 2."""
    from scipy.special import stdtrit  # a third of a second, and most pages have no use for it

    return float(stdtrit(seeds - 1, (1 + CONFIDENCE) / 2))


def verdict(
    ours: float | None, error: float | None, quantile: float | None, sign: int | None
) -> str:
    """The word on a difference.

    Args:
        ours: our mean difference.
        error: its paired standard error over seeds.
        quantile: of Student's t; None where fewer than two seeds ran, or both models are published
            ones, which decides nothing.
        sign: that the paper's text claims, 1 or -1; None where it claims none.
    """
    if ours is None:
        return NOT_RUN
    if sign is None:
        return NOT_CLAIMED
    if error is None or quantile is None or abs(ours) <= quantile * error:
        return UNDECIDED
    return HOLDS if ours * sign > 0 else REVERSED


def _by_seed(ours: Estimate | None, baseline: Estimate | None) -> dict[int, float]:
    if ours is None or baseline is None:
        return {}
    both = sorted(set(ours.by_seed) & set(baseline.by_seed))
    return {seed: ours.by_seed[seed] - baseline.by_seed[seed] for seed in both}


def _error(
    by_seed: Mapping[int, float], ours: Estimate | None, baseline: Estimate | None
) -> tuple[float | None, str]:
    if ours is None or baseline is None or not by_seed:
        return None, "none"
    error = paired_error(list(by_seed.values()), ours, baseline)
    if error is not None:
        return error, "seeds"
    if ours.test_error is None or baseline.test_error is None:
        return None, "none"
    return math.hypot(ours.test_error, baseline.test_error), "test set"


def _printed_difference(comparison: Comparison, pair: tuple[str, str], domain: str) -> float | None:
    first, second = (printed_average(comparison, domain, name) for name in pair)
    return None if first is None or second is None else first - second


def _paper_difference(
    comparison: Comparison, pair: tuple[str, str], rows: Mapping[str, tuple[str, ...]]
) -> float | None:
    first, second = (
        mean(average(comparison.published.mended(name), names) for names in rows.values())
        for name in pair
    )
    return None if first is None or second is None else first - second
