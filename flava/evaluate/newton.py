"""Newton steps of multinomial logistic regression.

A step is found by conjugate gradients, in float32 while that shows a curvature in all directions,
then in float64; for float32, matrices are multiplied in bfloat16 where there are units for it. With
few weights it is solved for directly once that takes many products.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from flava.evaluate.hessian import hessian
from flava.evaluate.logistic_problem import Problem, chunks, other_probabilities
from flava.evaluate.preconditioner import Curvature, Preconditioner

MAX_PRODUCTS = 1000  # of the Hessian, in one step
SMALL = 1 << 22  # multiplications of a product that float64 makes about as quickly as float32
DIRECT_WEIGHTS = 2560  # more make a Hessian of more than 52 MB
# A step that takes more products than this share of the weights is found more quickly directly.
DIRECT_SHARE, DIRECT_LEAST = 20, 30
ENOUGH_EXACT = 1e-3  # see Newton.step; of few weights, near the minimum
LEAST_CURVATURE = 1e-12  # relative to the largest


@dataclass(frozen=True)
class Slope:
    """Derivatives of the objective at one point.

    Attributes:
        gradient_PE: float64.
        others_NP: probabilities, 0 in the column of the label, float32. The label's is 1 minus
            their sum: so the Hessian keeps its digits where the probabilities are nearly 0 and 1.
        curvature: of each class's logits, over the features.
    """

    gradient_PE: Tensor
    others_NP: Tensor
    curvature: Curvature


def slope(problem: Problem, penalty: float, weights_PE: Tensor, logits_NP: Tensor) -> Slope:
    """Gradient and what the Hessian's products need, in the precision of the logits."""
    gradient_PE = torch.zeros_like(weights_PE)
    others_NP = torch.empty_like(logits_NP, dtype=torch.float32)
    curvature = Curvature.zero(gradient_PE.shape[0], gradient_PE.shape[1], gradient_PE.device)
    for rows in chunks(len(logits_NP)):
        others_BP, _ = other_probabilities(logits_NP[rows], problem.labels_N[rows])
        others_NP[rows] = others_BP
        label_B1, wrong_B1 = problem.labels_N[rows, None], others_BP.sum(dim=1, keepdim=True)
        varied_BP = others_BP * (1 - others_BP)
        curvature.add(
            varied_BP.scatter_(1, label_B1, wrong_B1 * (1 - wrong_B1)), problem.inputs_ND[rows]
        )
        error_BP = others_BP.scatter_(1, label_B1, -wrong_B1)
        inputs_BD = problem.inputs_ND[rows].to(error_BP.dtype)
        gradient_PE[:, :-1] += error_BP.T @ inputs_BD
        gradient_PE[:, -1] += error_BP.sum(dim=0)
    gradient_PE[:, :-1] += penalty * weights_PE[:, :-1]
    return Slope(gradient_PE, others_NP, curvature)


def hessian_product(
    problem: Problem, penalty: float, at: Slope, v_PE: Tensor, rounded: bool = False
) -> Tensor:
    """The Hessian times `v_PE`, in the precision of that: (P, E).

    `rounded`: its two products of matrices are of bfloat16.
    """
    product_PE = torch.zeros_like(v_PE)
    within = torch.bfloat16 if rounded else v_PE.dtype
    inputs_ND = problem.rounded_inputs if rounded else problem.inputs_ND
    v_DP = v_PE[:, :-1].T.to(within)
    for rows in chunks(len(at.others_NP)):
        inputs_BD = inputs_ND[rows].to(within)
        others_BP = at.others_NP[rows].to(v_PE.dtype)
        label_B1 = problem.labels_N[rows, None]
        moved_BP = v_PE[:, -1] + inputs_BD @ v_DP
        # Relative to the label's, whose probability is nearly 1 where it is learnt.
        moved_BP -= moved_BP.gather(1, label_B1)
        moved_BP -= torch.linalg.vecdot(others_BP, moved_BP)[:, None]
        moved_BP *= others_BP
        moved_BP.scatter_(1, label_B1, -moved_BP.sum(dim=1, keepdim=True))
        product_PE[:, :-1] += moved_BP.T.to(within) @ inputs_BD
        product_PE[:, -1] += moved_BP.sum(dim=0)
    product_PE[:, :-1] += penalty * v_PE[:, :-1]
    return product_PE


class Newton:
    """Steps of one fit; remembers which way of solving for them was enough.

    Args:
        problem: training data.
        penalty: lambda.
    """

    def __init__(self, problem: Problem, penalty: float) -> None:
        self.problem, self.penalty = problem, penalty
        examples, width = problem.inputs_ND.shape
        self.weights = len(problem.present_P) * (width + 1)
        self.dtype = torch.float64 if examples * self.weights <= SMALL else torch.float32
        self.rounded = self.dtype == torch.float32 and multiplies_bfloat16(problem.inputs_ND.device)
        self.few = self.weights <= DIRECT_WEIGHTS  # and the whole Hessian is of use
        self.direct = self.exact = False

    def near(self) -> None:
        """The minimum is near: steps of few weights are solved for nearly exactly from now on."""
        self.exact = self.weights <= DIRECT_WEIGHTS

    def step(self, at: Slope, enough: float) -> Tensor:
        """The step (P, E), float64.

        Conjugate gradients end when the last product gained less than `enough` of the mean gain of
        all (Nash and Sofer 1990), the gain being what the objective's quadratic model falls by;
        of few weights near the minimum less than ENOUGH_EXACT.
        """
        if self.direct:
            step_PE = direct_step(self.problem, self.penalty, at)
            if step_PE is not None:
                return step_PE
            self.few = self.direct = False
        dtype = self.dtype
        step_PE = self._conjugate_gradients(at, ENOUGH_EXACT if self.exact else enough)
        given_up = self.direct or self.dtype != dtype
        return self.step(at, enough) if self.exact and given_up else step_PE

    def _conjugate_gradients(self, at: Slope, enough: float) -> Tensor:
        problem, penalty = self.problem, self.penalty
        size = at.gradient_PE.abs().max().clamp_min(torch.finfo(torch.float64).tiny)
        residual_PE = (-at.gradient_PE / size).to(self.dtype)
        precondition = Preconditioner(at.curvature, problem.variance_D, penalty, self.dtype)
        step_PE = torch.zeros_like(residual_PE)
        towards_PE = precondition(residual_PE)
        norm = float((residual_PE * towards_PE).sum())
        gain = total = norm
        products = 0
        most = max(DIRECT_LEAST, self.weights // DIRECT_SHARE) if self.few else MAX_PRODUCTS
        while norm > 0 and products < most and (not products or products * gain > enough * total):
            product_PE = hessian_product(problem, penalty, at, towards_PE, self.rounded)
            products += 1
            curvature = float((towards_PE * product_PE).sum())
            if curvature <= 0:  # float32 does not resolve what a weak penalty holds
                self.dtype, self.rounded = torch.float64, False
                break
            length = norm / curvature
            gain = length * norm
            total = gain + (total if products > 1 else 0.0)
            step_PE += length * towards_PE
            residual_PE -= length * product_PE
            scaled_PE = precondition(residual_PE)
            before, norm = norm, float((residual_PE * scaled_PE).sum())
            towards_PE = scaled_PE + norm / before * towards_PE
        self.direct = self.direct or (self.few and products == most)
        if products and not step_PE.any():
            step_PE = towards_PE
        return step_PE.double() * size


def direct_step(problem: Problem, penalty: float, at: Slope) -> Tensor | None:
    """The whole Hessian's step (P, E), float64; None where rounding leaves it indefinite."""
    hessian_WW = hessian(problem, at.others_NP)
    diagonal_PE = hessian_WW.diagonal().view_as(at.gradient_PE)
    # All intercepts may move together: a direction that nothing holds, along which no gradient is.
    floor = LEAST_CURVATURE * diagonal_PE.max()
    diagonal_PE[:, :-1] += penalty
    diagonal_PE += floor
    factor_WW, failed = torch.linalg.cholesky_ex(hessian_WW)
    if failed:
        return None
    step_W1 = torch.cholesky_solve(-at.gradient_PE.reshape(-1, 1), factor_WW)
    return step_W1.view_as(at.gradient_PE)


def multiplies_bfloat16(device: torch.device) -> bool:
    """Whether the device has units for products of bfloat16 matrices."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    has = torch.cpu.get_capabilities()
    return any(bool(has.get(name)) for name in ("avx512_bf16", "amx_bf16"))
