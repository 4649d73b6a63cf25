"""Where the fit of a logistic regression starts: at the best mix of fits for other penalties.

As the penalty weakens, the weights grow nearly in proportion to its logarithm: those of a new
penalty lie near the plane of its neighbours'.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from flava.evaluate.logistic_problem import (
    LogisticRegression,
    Problem,
    chunks,
    cross_entropy,
    other_probabilities,
)

STEPS, HALVINGS = 10, 12
ENOUGH = 1e-3  # predicted relative decrease of the last step
SUFFICIENT = 0.1  # share of the predicted decrease that a step must bring


def start_from(
    problem: Problem, penalty: float, fits: Sequence[LogisticRegression]
) -> tuple[Tensor, Tensor]:
    """Weights (P, E), float64, and logits (N, P), float32: the best mix of `fits`, or zero."""
    if not fits:
        (n, width), classes = problem.inputs_ND.shape, len(problem.present_P)
        zero = problem.inputs_ND.new_zeros
        return zero(classes, width + 1, dtype=torch.float64), zero(n, classes)
    weights_KPE = torch.stack([problem.weights_of(fit) for fit in fits])
    logits_KNP = torch.stack([problem.logits(each_PE, torch.float32) for each_PE in weights_KPE])
    shares_K = best_mix(problem, penalty, weights_KPE, logits_KNP)
    return mixed(shares_K, weights_KPE), mixed(shares_K, logits_KNP)


def best_mix(problem: Problem, penalty: float, weights_KPE: Tensor, logits_KNP: Tensor) -> Tensor:
    """Shares (K,) with which the sum of K weights has about the least objective, float64.

    Newton's method with halved steps, from the first of the weights alone.

    Args:
        problem: training data.
        penalty: lambda.
        weights_KPE: the intercepts as last column, float64.
        logits_KNP: theirs.
    """
    held_KW = weights_KPE[:, :, :-1].flatten(1)
    ridge_KK = penalty * held_KW @ held_KW.T

    def objective(at_K: Tensor) -> float:
        logits_NP = mixed(at_K, logits_KNP)
        return cross_entropy(logits_NP, problem.labels_N) + 0.5 * float(at_K @ ridge_KK @ at_K)

    shares_K = torch.eye(len(held_KW), dtype=torch.float64, device=held_KW.device)[0]
    value = objective(shares_K)
    for _ in range(STEPS):
        slope_K, curvature_KK = derivatives(problem, shares_K, logits_KNP)
        slope_K += ridge_KK @ shares_K
        step_K = -torch.linalg.pinv(curvature_KK + ridge_KK, hermitian=True) @ slope_K
        decrease = -float(slope_K @ step_K)
        for halved in range(HALVINGS):
            length = 0.5**halved
            found = objective(shares_K + length * step_K)
            if found <= value - SUFFICIENT * length * decrease:
                break
        else:
            return shares_K
        shares_K, value = shares_K + length * step_K, found
        if decrease <= ENOUGH * value:
            break
    return shares_K


def mixed(shares_K: Tensor, parts_KXY: Tensor) -> Tensor:
    """The sum of K parts (X, Y), each times its share, in the precision of the parts."""
    sum_XY: Tensor = torch.tensordot(shares_K.to(parts_KXY.dtype), parts_KXY, dims=1)
    return sum_XY


def derivatives(problem: Problem, shares_K: Tensor, logits_KNP: Tensor) -> tuple[Tensor, Tensor]:
    """Gradient (K,) and Hessian (K, K) of the cross-entropy over the shares, float64."""
    slope_K = torch.zeros_like(shares_K)
    curvature_KK = torch.zeros_like(torch.outer(shares_K, shares_K))
    for rows in chunks(len(problem.labels_N)):
        labels_B, logits_KBP = problem.labels_N[rows], logits_KNP[:, rows]
        others_BP, _ = other_probabilities(mixed(shares_K, logits_KBP), labels_B)
        own_KB1 = labels_B[None, :, None].expand(len(logits_KBP), -1, 1)
        ahead_KBP = logits_KBP - logits_KBP.gather(2, own_KB1)
        mean_KB = torch.linalg.vecdot(others_BP, ahead_KBP).double()
        slope_K += mean_KB.sum(dim=1)
        for one, weighted_BP in enumerate(others_BP * ahead_KBP):
            both_K = torch.linalg.vecdot(weighted_BP, ahead_KBP).double().sum(dim=1)
            curvature_KK[one] += both_K - mean_KB @ mean_KB[one]
    return slope_K, (curvature_KK + curvature_KK.T) / 2
