"""Standard errors by the bootstrap over test examples, seeded."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from flava.errors import DataError
from flava.evaluate.taskdata import IntArray

BOOTSTRAP_SEED = 20220619  # fixed: the error of a score must not depend on the run's seed


def bootstrap_std(
    statistic: Callable[[IntArray], float],
    n_examples: int,
    resamples: int,
    groups_N: IntArray | None = None,
) -> float:
    """Standard deviation of `statistic` over resampled test sets.

    Args:
        statistic: value on the examples at the given positions.
        groups_N: group of each example; whole groups are drawn, because e.g. the questions of
            one image are not independent. None: single examples are drawn.

    Resamples on which the statistic is undefined (AUROC of one class) are left out; 0 is returned
    if fewer than two are left.
    """
    random = np.random.default_rng(BOOTSTRAP_SEED)
    members = None if groups_N is None else _members(groups_N)
    values = []
    for _ in range(resamples):
        if members is None:
            drawn = random.integers(0, n_examples, n_examples)
        else:
            chosen = random.integers(0, len(members), len(members))
            drawn = np.concatenate([members[group] for group in chosen])
        try:
            values.append(statistic(drawn))
        except DataError:
            continue
    return float(np.std(values, ddof=1)) if len(values) > 1 else 0.0


def _members(groups_N: IntArray) -> list[IntArray]:
    order_N = np.argsort(groups_N, kind="stable")
    starts = np.flatnonzero(np.diff(groups_N[order_N])) + 1
    return np.split(order_N, starts)
