"""Linear probe: the search for lambda and the split of training data (supplement B.2, CLIP).

The sweep is CLIP's (appendix A.3): seven coarse points of a log grid, then halved steps around
the best validation score.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from flava.config import ProbeConfig
from flava.evaluate.kept_fits import Fitted, KeptFits
from flava.evaluate.logistic import fit
from flava.evaluate.logistic_problem import LogisticRegression, Problem
from flava.evaluate.taskdata import FloatArray, IntArray

COARSE_INTERVALS = 6  # {1e-6, 1e-4, ..., 1e6}


def lambda_grid(config: ProbeConfig) -> FloatArray:
    """steps + 1 penalties from lambda_min to lambda_max, evenly spaced in log."""
    low, high = np.log10(config.lambda_min), np.log10(config.lambda_max)
    return np.asarray(10.0 ** np.linspace(low, high, config.steps + 1), np.float64)


@dataclass(frozen=True)
class Sweep:
    """What the search for lambda found.

    Attributes:
        scores: each tried penalty's validation score, weakest penalty first.
        visited: the tried penalties in the order of their fits.
    """

    penalty: float
    model: LogisticRegression
    scores: dict[float, float]
    visited: list[float]
    unconverged: int


def sweep(
    problem: Problem,
    score: Callable[[LogisticRegression], float],
    config: ProbeConfig,
    kept: KeptFits | None = None,
    until_fall: bool = False,
) -> Sweep:
    """Coarse points first, then steps halved around the best, down to one grid step.

    Goes from strong to weak penalties, each fit starting from its neighbours' weights, which
    changes the time, not the (convex) optimum. The stronger of equal scores wins. Fits that `kept`
    has are not made again, and it is given each new one. With `until_fall` the first coarse point
    that scores below a stronger one is the last.
    """
    kept = kept or KeptFits()
    grid = lambda_grid(config)
    last = len(grid) - 1
    models: dict[int, LogisticRegression] = {}
    scores: dict[int, float] = {}

    def visit(index: int) -> None:
        if not 0 <= index <= last or index in models:
            return
        stronger = sorted(i for i in models if i > index)[:2]
        weaker = sorted(i for i in models if i < index)[-1:]
        starts = [models[i] for i in stronger + weaker]
        if index not in kept.fits:
            model = fit(problem, float(grid[index]), config.max_iterations, starts)
            kept.add(index, Fitted(model, score(model)))
        models[index], scores[index] = kept.fits[index].model, kept.fits[index].score

    stride = max(1, last // COARSE_INTERVALS)
    for index in [*range(last, -1, -stride), 0]:
        visit(index)
        if until_fall and scores[index] < max(scores.values()):
            break
    while True:
        best = max(scores, key=lambda i: (scores[i], i))
        if stride == 1:
            break
        stride = (stride + 1) // 2
        visit(best + stride)
        visit(best - stride)
    return Sweep(
        penalty=float(grid[best]),
        model=models[best],
        scores={float(grid[i]): scores[i] for i in sorted(scores)},
        visited=[float(grid[i]) for i in models],
        unconverged=sum(not model.converged for model in models.values()),
    )


def stratified_split(labels_N: IntArray, fraction: float, seed: int) -> tuple[IntArray, IntArray]:
    """Positions of (train, validation): about `fraction` of each class is held out, seeded.

    Every class keeps at least one training example; a class of one example is not held out.
    At least one example is held out wherever some class has two.
    """
    random = np.random.default_rng(seed)
    held: list[IntArray] = []
    remainders: list[tuple[float, int, IntArray]] = []
    for label in np.unique(labels_N):
        members = random.permutation(np.flatnonzero(labels_N == label))
        wanted = min(fraction * len(members), len(members) - 1)
        count = int(wanted)
        held.append(members[:count])
        if count < len(members) - 1:
            remainders.append((wanted - count, int(label), members[count : count + 1]))
    # Largest remainders first, so that many small classes together still give the whole share.
    missing = round(fraction * len(labels_N)) - sum(len(part) for part in held)
    remainders.sort(key=lambda item: (-item[0], item[1]))
    held += [extra for _, _, extra in remainders[: max(missing, 0)]]
    validation = np.sort(np.concatenate(held)) if held else np.empty(0, np.int64)
    return np.setdiff1d(np.arange(len(labels_N)), validation), validation
