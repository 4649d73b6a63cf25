"""L2-regularised multinomial logistic regression, to 1e-6 of its minimum for every penalty.

The objective is scikit-learn's: sum of cross-entropies + lambda / 2 |W|^2 with a free intercept;
lambda is 1 / C. It is strictly convex in W, so the method changes the time and not the answer.

Supplement B.2 and CLIP minimise it by L-BFGS. With weak penalties the classes separate, the
curvature vanishes and L-BFGS stops, by its gradient, far above the minimum. Newton's method does
not mind: its steps are found by conjugate gradients, preconditioned by the Hessian's diagonal in
the principal coordinates of the features. The Hessian's products only shape the path, so they use
the processor's fastest product of float32 matrices (bfloat16 inside, where it has units for it).
What decides the result, the last gradients and objectives, is in float64.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from flava.errors import TrainingError
from flava.evaluate.features import FeatureArray, device
from flava.evaluate.taskdata import FloatArray, IntArray, check_labels

TOLERANCE = 3e-7  # predicted relative decrease of the last step; what is left is a part of that
COARSE = 1e-3  # relative decrease down to which float32 is exact enough
NEAR = 0.05  # relative decrease of the last step below which the next is solved more exactly
RESIDUAL_FAR, RESIDUAL_NEAR = 0.5, 0.1  # what conjugate gradients leave of the residual's norm
MAX_PRODUCTS = 1000  # of the Hessian, in one step
HALVINGS = 30
FACTOR_STEPS = 8
LEAST = 1e-12  # relative decrease that float64 does not resolve
SUFFICIENT = 0.1  # share of the predicted decrease that a step must bring
CHUNK_ROWS = 65536


@dataclass(frozen=True)
class LogisticRegression:
    """Weights (C, D), intercepts (C,) and whether the optimum was reached.

    A class without training examples has the intercept -inf: it is never predicted.

    Attributes:
        iterations: Newton steps.
    """

    weights_CD: FloatArray
    intercept_C: FloatArray
    iterations: int
    converged: bool

    def logits(self, features_ND: FeatureArray) -> FloatArray:
        """Decision values (N, C), float64."""
        logits_NC = np.empty((len(features_ND), len(self.intercept_C)))
        for rows in chunks(len(features_ND)):
            logits_NC[rows] = features_ND[rows] @ self.weights_CD.T + self.intercept_C
        return logits_NC

    def predict(self, features_ND: FeatureArray) -> IntArray:
        """Most probable class of each example (N,)."""
        classes_N: IntArray = self.logits(features_ND).argmax(axis=1)
        return classes_N


def chunks(n: int) -> Iterator[slice]:
    """Consecutive slices of at most CHUNK_ROWS of n rows."""
    for start in range(0, n, CHUNK_ROWS):
        yield slice(start, min(start + CHUNK_ROWS, n))


@dataclass(frozen=True)
class Problem:
    """Training data in centred principal coordinates, float32; P of the C classes occur.

    Neither centring (the intercept is free) nor rotation (the penalty is the same in every
    direction) changes the problem.

    Attributes:
        labels_N: positions in `present_P`.
        variance_D: of the D principal directions.
    """

    inputs_ND: Tensor
    labels_N: Tensor
    n_classes: int
    present_P: IntArray
    mean_D: FloatArray
    basis_DD: FloatArray
    variance_D: Tensor

    @classmethod
    def of(cls, features_ND: FeatureArray, labels_N: IntArray, n_classes: int) -> Problem:
        """Centres and rotates the features, in chunks: they may be mapped from a file.

        Raises:
            DataError: there is no example or a label is out of range.
            TrainingError: a feature is not finite.
        """
        check_labels(labels_N, n_classes, "the linear probe's training set")
        n, width = features_ND.shape
        mean_D = features_ND.mean(axis=0, dtype=np.float64)
        if not np.isfinite(mean_D).all():
            raise TrainingError(
                f"{int((~np.isfinite(mean_D)).sum())} of {width} features of the linear probe's "
                "training set are not finite. The model's weights are broken: train it anew."
            )
        covariance_DD = torch.zeros(width, width, dtype=torch.float64, device=device())
        for rows in chunks(n):
            centred_BD = torch.from_numpy(features_ND[rows] - mean_D).to(device())
            covariance_DD += centred_BD.T @ centred_BD / n
        variance_D, basis_DD = torch.linalg.eigh(covariance_DD)
        inputs_ND = torch.empty(n, width, device=device())
        for rows in chunks(n):
            centred_BD = torch.from_numpy(features_ND[rows] - mean_D).to(device())
            inputs_ND[rows] = (centred_BD @ basis_DD).float()
        present_P, position_N = np.unique(labels_N, return_inverse=True)
        return cls(
            inputs_ND,
            torch.from_numpy(position_N).to(device()),
            n_classes,
            present_P,
            mean_D,
            basis_DD.cpu().numpy(),
            variance_D.clamp_min(0).float(),
        )

    def logits(self, weights_PE: Tensor, dtype: torch.dtype) -> Tensor:
        """Logits (N, P) of weights with the intercepts as last column (E = D + 1)."""
        out_NP = torch.empty(len(self.labels_N), len(weights_PE), dtype=dtype, device=device())
        weights_PE = weights_PE.to(dtype)
        for rows in chunks(len(out_NP)):
            inputs_BD = self.inputs_ND[rows].to(dtype)
            torch.addmm(weights_PE[:, -1], inputs_BD, weights_PE[:, :-1].T, out=out_NP[rows])
        return out_NP

    def start_from(self, start: LogisticRegression | None) -> Tensor:
        """Weights (P, E) of `start` in these coordinates, zero without one, float64."""
        if start is None:
            weights_PE = np.zeros((len(self.present_P), len(self.mean_D) + 1))
            return torch.from_numpy(weights_PE).to(device())
        weights_PD = start.weights_CD[self.present_P]
        intercept_P = start.intercept_C[self.present_P] + weights_PD @ self.mean_D
        intercept_P[~np.isfinite(intercept_P)] = 0
        found_PE = np.column_stack([weights_PD @ self.basis_DD, intercept_P])
        return torch.from_numpy(found_PE).to(device())

    def model(self, weights_PE: Tensor, iterations: int, converged: bool) -> LogisticRegression:
        """The weights (P, E) in the coordinates of the features."""
        found_PE = weights_PE.cpu().numpy()
        weights_CD = np.zeros((self.n_classes, len(self.mean_D)))
        intercept_C = np.full(self.n_classes, -np.inf)
        weights_CD[self.present_P] = found_PE[:, :-1] @ self.basis_DD.T
        intercept_C[self.present_P] = found_PE[:, -1] - weights_CD[self.present_P] @ self.mean_D
        return LogisticRegression(weights_CD, intercept_C, iterations, converged)


@dataclass(frozen=True)
class Slope:
    """Derivatives of the objective at one point.

    Attributes:
        gradient_PE: float64.
        others_NP: probabilities, 0 in the column of the label, float32. The label's is 1 minus
            their sum: so the Hessian keeps its digits where the probabilities are nearly 0 and 1.
        diagonal_PE: the Hessian's, up to the correlation of curvature and inputs, float32.
    """

    gradient_PE: Tensor
    others_NP: Tensor
    diagonal_PE: Tensor


def cross_entropy(logits_NP: Tensor, labels_N: Tensor) -> float:
    """Sum of cross-entropies, with relative precision however small it is."""
    total = 0.0
    for rows in chunks(len(labels_N)):
        _, label_B = _others(logits_NP[rows], labels_N[rows])
        total += float(label_B.double().sum())
    return total


def _others(logits_BP: Tensor, labels_B: Tensor) -> tuple[Tensor, Tensor]:
    """Probabilities (B, P) of all classes but the label's, which is 0, and cross-entropies (B,)."""
    log_p_BP = torch.log_softmax(logits_BP, dim=1)
    label_B1 = labels_B[:, None]
    loss_B = -log_p_BP.gather(1, label_B1).squeeze(1)
    others_BP = log_p_BP.exp_().scatter_(1, label_B1, 0)
    wrong_B = others_BP.sum(dim=1)
    return others_BP, torch.where(wrong_B < 0.5, -torch.log1p(-wrong_B.clamp(max=0.5)), loss_B)


def slope(problem: Problem, penalty: float, weights_PE: Tensor, logits_NP: Tensor) -> Slope:
    """Gradient and what the Hessian's products need, in the precision of the logits."""
    gradient_PE = torch.zeros_like(weights_PE)
    others_NP = torch.empty_like(logits_NP, dtype=torch.float32)
    curvature_P = gradient_PE.new_zeros(len(gradient_PE))
    for rows in chunks(len(logits_NP)):
        others_BP, _ = _others(logits_NP[rows], problem.labels_N[rows])
        others_NP[rows] = others_BP
        label_B1, wrong_B1 = problem.labels_N[rows, None], others_BP.sum(dim=1, keepdim=True)
        varied_BP = others_BP * (1 - others_BP)
        curvature_P += varied_BP.scatter_(1, label_B1, wrong_B1 * (1 - wrong_B1)).sum(dim=0)
        error_BP = others_BP.scatter_(1, label_B1, -wrong_B1)
        inputs_BD = problem.inputs_ND[rows].to(error_BP.dtype)
        gradient_PE[:, :-1] += error_BP.T @ inputs_BD
        gradient_PE[:, -1] += error_BP.sum(dim=0)
    gradient_PE[:, :-1] += penalty * weights_PE[:, :-1]
    spread_E = torch.cat([problem.variance_D, problem.variance_D.new_ones(1)])
    # The floor stands for curvature that is 0 in float32: a class that no example is near to.
    floor = curvature_P.max().clamp_min(torch.finfo(torch.float32).tiny * 2**40) * 1e-9
    diagonal_PE = curvature_P.clamp_min(floor).float()[:, None] * spread_E
    diagonal_PE[:, :-1] += penalty
    return Slope(gradient_PE, others_NP, diagonal_PE)


def hessian_product(problem: Problem, penalty: float, at: Slope, v_PE: Tensor) -> Tensor:
    """The Hessian times `v_PE`, float32: (P, E)."""
    product_PE = torch.zeros_like(v_PE)
    for rows in chunks(len(at.others_NP)):
        inputs_BD, others_BP = problem.inputs_ND[rows], at.others_NP[rows]
        label_B1 = problem.labels_N[rows, None]
        moved_BP = torch.addmm(v_PE[:, -1], inputs_BD, v_PE[:, :-1].T)
        # Relative to the label's, whose probability is nearly 1 where it is learnt.
        moved_BP -= moved_BP.gather(1, label_B1)
        moved_BP -= torch.linalg.vecdot(others_BP, moved_BP)[:, None]
        moved_BP *= others_BP
        moved_BP.scatter_(1, label_B1, -moved_BP.sum(dim=1, keepdim=True))
        product_PE[:, :-1] += moved_BP.T @ inputs_BD
        product_PE[:, -1] += moved_BP.sum(dim=0)
    product_PE[:, :-1] += penalty * v_PE[:, :-1]
    return product_PE


def newton_step(problem: Problem, penalty: float, at: Slope, residual: float) -> Tensor:
    """Step (P, E), float64, by conjugate gradients down to `residual` of the first norm."""
    size = at.gradient_PE.abs().max().clamp_min(torch.finfo(torch.float64).tiny)
    residual_PE = (-at.gradient_PE / size).float()
    step_PE = torch.zeros_like(residual_PE)
    towards_PE = residual_PE / at.diagonal_PE
    norm = float((residual_PE * towards_PE).sum())
    wanted, products = residual**2 * norm, 0
    with fast_products():
        while norm > wanted and products < MAX_PRODUCTS:
            product_PE = hessian_product(problem, penalty, at, towards_PE)
            products += 1
            curvature = float((towards_PE * product_PE).sum())
            if curvature <= 0:  # by rounding: the Hessian has no such direction
                break
            length = norm / curvature
            step_PE += length * towards_PE
            residual_PE -= length * product_PE
            scaled_PE = residual_PE / at.diagonal_PE
            before, norm = norm, float((residual_PE * scaled_PE).sum())
            towards_PE = scaled_PE + norm / before * towards_PE
    if products and not step_PE.any():
        step_PE = towards_PE
    return step_PE.double() * size


@contextmanager
def fast_products() -> Iterator[None]:
    """Products of float32 matrices may round their inputs (to bfloat16 or TF32)."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def fit(
    problem: Problem, penalty: float, max_iterations: int, start: LogisticRegression | None = None
) -> LogisticRegression:
    """The optimum for lambda = `penalty` > 0, from the weights of `start` or from zero.

    It ends with the step whose predicted decrease is at most TOLERANCE of the objective; what is
    then left is a part of that. `max_iterations` bounds the Newton steps.
    """
    weights_PE = problem.start_from(start)
    used, converged = 0, False
    logits_NP = problem.logits(weights_PE, torch.float32)
    if start is not None:
        factor = best_factor(problem, penalty, Point(weights_PE, logits_NP))
        weights_PE, logits_NP = factor * weights_PE, factor * logits_NP
    exact, residual = False, RESIDUAL_FAR
    while used < max_iterations:
        at = slope(problem, penalty, weights_PE, logits_NP)
        step_PE = newton_step(problem, penalty, at, residual)
        used += 1
        decrease = -float((at.gradient_PE * step_PE).sum())
        moved_NP = problem.logits(step_PE, logits_NP.dtype)
        before = Point(weights_PE, logits_NP)
        value = objective(problem, penalty, before)
        length = line_search(problem, penalty, before, Point(step_PE, moved_NP), value, decrease)
        weights_PE = weights_PE + length * step_PE
        logits_NP = logits_NP.add_(moved_NP, alpha=length)
        residual = RESIDUAL_FAR if decrease > NEAR * value else RESIDUAL_NEAR
        converged = exact and decrease <= 2 * TOLERANCE * value
        if converged or (exact and length == 0):
            break
        if not exact and (length == 0 or decrease <= COARSE * value):
            exact = True
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


def best_factor(problem: Problem, penalty: float, at: Point) -> float:
    """The factor of all weights that the objective is least at, to a per cent, by Newton.

    As the penalty weakens, the weights grow nearly in proportion.
    """
    ridge = penalty * float(at.weights_PE[:, :-1].square().sum())
    factor = 1.0
    for _ in range(FACTOR_STEPS):
        slope_, curvature = factor * ridge, ridge
        for rows in chunks(len(problem.labels_N)):
            logits_BP, labels_B = at.logits_NP[rows], problem.labels_N[rows]
            others_BP, _ = _others(factor * logits_BP, labels_B)
            ahead_BP = logits_BP - logits_BP.gather(1, labels_B[:, None])
            mean_B = torch.linalg.vecdot(others_BP, ahead_BP).double()
            square_B = torch.linalg.vecdot(others_BP, ahead_BP.square_()).double()
            slope_ += float(mean_B.sum())
            curvature += float((square_B - mean_B.square()).sum())
        if curvature <= 0:
            return factor
        before, factor = factor, min(max(factor - slope_ / curvature, factor / 2), 2 * factor)
        if abs(factor - before) <= 0.01 * before:
            break
    return factor
