"""L2-regularised multinomial logistic regression, to about 1e-6 of its minimum for every penalty.

The objective is scikit-learn's: sum of cross-entropies + lambda / 2 |W|^2 with a free intercept;
lambda is 1 / C. It is strictly convex in W, so the method changes the time and not the answer.
Of two classes scikit-learn penalises one weight vector w, here each class has its own. At the
minimum they are -w / 2 and w / 2, so lambda / 2 |W|^2 is lambda / 4 |w|^2: there C is 2 / lambda.

Supplement B.2 and CLIP minimise it by L-BFGS. With weak penalties the classes separate, the
curvature vanishes and L-BFGS, at its usual tolerance, stops far above the minimum. Newton's method
does not mind (flava/evaluate/newton.py). Its steps only shape the path, so large problems use
bfloat16 products for them where the processor has units for those. What decides the result, the
last gradients and objectives, is in float64.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from flava.evaluate.logistic_problem import (
    LogisticRegression,
    Problem,
    cross_entropy,
)
from flava.evaluate.newton import Newton, slope
from flava.evaluate.warm_start import SUFFICIENT, start_from

TOLERANCE = 3e-7  # predicted relative decrease of the last step; what is left is a part of that
COARSE = 1e-3  # relative decrease down to which float32 is exact enough
NEAR = 0.05  # relative decrease of the last step below which the next is solved more exactly
ENOUGH_FAR, ENOUGH_NEAR = 1.0, 0.2  # see Newton.step
HALVINGS = 30
LEAST = 1e-12  # relative decrease that float64 does not resolve


def fit(
    problem: Problem, penalty: float, max_iterations: int, starts: Sequence[LogisticRegression] = ()
) -> LogisticRegression:
    """The optimum for lambda = `penalty` > 0, from the best mix of `starts` or from zero.

    It ends with the step whose predicted decrease is at most 2 TOLERANCE of the objective; what is
    then left is a part of that where the step was solved for nearly exactly (few weights), and else
    up to some tens of times more, if the penalty is weak and classes overlap. `max_iterations`
    bounds the Newton steps.
    """
    weights_PE, logits_NP = start_from(problem, penalty, starts)
    used, converged = 0, False
    exact, enough, newton = False, ENOUGH_FAR, Newton(problem, penalty)
    while used < max_iterations:
        at = slope(problem, penalty, weights_PE, logits_NP)
        step_PE = newton.step(at, enough)
        used += 1
        decrease = -float((at.gradient_PE * step_PE).sum())
        # float32 is exact enough for a last, small step; few examples cost nothing either way.
        moved_NP = problem.logits(step_PE, newton.dtype).to(logits_NP.dtype)
        before = Point(weights_PE, logits_NP)
        value = objective(problem, penalty, before)
        length = line_search(problem, penalty, before, Point(step_PE, moved_NP), value, decrease)
        weights_PE = weights_PE + length * step_PE
        logits_NP = logits_NP.add_(moved_NP, alpha=length)
        enough = ENOUGH_FAR if decrease > NEAR * value else ENOUGH_NEAR
        converged = exact and decrease <= 2 * TOLERANCE * value
        if converged or (exact and length == 0):
            break
        if not exact and (length == 0 or decrease <= COARSE * value):
            exact = True
            newton.near()
            logits_NP = problem.logits(weights_PE, torch.float64)
    return problem.model(weights_PE, used, converged)


@dataclass(frozen=True)
class Point:
    """Weights (P, E) and their logits (N, P); or a step and what it adds to the logits."""

    weights_PE: Tensor
    logits_NP: Tensor


def objective(problem: Problem, penalty: float, at: Point) -> float:
    """Sum of cross-entropies and the penalty, which spares the intercepts."""
    ridge = 0.5 * penalty * float(at.weights_PE[:, :-1].square().sum())
    return cross_entropy(at.logits_NP, problem.labels_N) + ridge


def line_search(
    problem: Problem, penalty: float, at: Point, step: Point, value: float, decrease: float
) -> float:
    """Length of the step, halved from 1 until the objective falls as predicted; 0 if it never does.

    `value` is the objective before the step, `decrease` its slope along the step, negated. A
    predicted decrease within rounding of the value is not tested.
    """
    if decrease <= LEAST * value:
        return 1.0
    length = 1.0
    for _ in range(HALVINGS):
        logits_NP = torch.add(at.logits_NP, step.logits_NP, alpha=length)
        there = Point(at.weights_PE + length * step.weights_PE, logits_NP)
        if objective(problem, penalty, there) <= value - SUFFICIENT * length * decrease:
            return length
        length /= 2
    return 0.0
