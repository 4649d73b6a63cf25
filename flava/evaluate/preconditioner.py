"""An approximate inverse of the Hessian of multinomial logistic regression.

Conjugate gradients need few products with the Hessian where this is near its inverse. Classes count
as independent of each other. With few features the block of each class is exact; with many, its
diagonal is taken instead, and curvature and inputs as independent.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

BLOCK_INPUTS = 129  # of more, the constant one included, blocks cost more than they save
ROUNDING = 1e-5  # added share of a diagonal: float32 leaves a block just short of definite
FLOOR = 1e-9  # least curvature of a class, relative to the largest


@dataclass
class Curvature:
    """Sums over examples of p (1 - p) of P classes, alone and times products of inputs; float64.

    Attributes:
        total_P: without the inputs.
        block_PEE: with the products of the E inputs, of which the last is 1; with many inputs none.
    """

    total_P: Tensor
    block_PEE: Tensor | None

    @classmethod
    def zero(cls, classes: int, inputs: int, device: torch.device) -> Curvature:
        """Of no example, for E = `inputs` inputs, the constant one included."""
        total_P = torch.zeros(classes, dtype=torch.float64, device=device)
        few = inputs <= BLOCK_INPUTS
        return cls(total_P, total_P.new_zeros(classes, inputs, inputs) if few else None)

    def add(self, varied_BP: Tensor, inputs_BD: Tensor) -> None:
        """Adds examples with p (1 - p) `varied_BP`."""
        self.total_P += varied_BP.sum(dim=0)
        if self.block_PEE is None:
            return
        inputs_BE = pad(inputs_BD, (0, 1), value=1.0)
        for block_EE, weights_B in zip(self.block_PEE, varied_BP.float().T, strict=True):
            block_EE += (inputs_BE * weights_B[:, None]).T @ inputs_BE


class Preconditioner:
    """Divides gradients by the curvature that it knows of.

    Args:
        curvature: at the weights in question.
        variance_D: of the inputs.
        penalty: on all weights but the intercepts, the last of E = D + 1.
        dtype: of the gradients.
    """

    def __init__(
        self, curvature: Curvature, variance_D: Tensor, penalty: float, dtype: torch.dtype
    ) -> None:
        total_P = curvature.total_P
        # The floor stands for curvature that is 0 in float32: a class that no example is near to.
        floor = total_P.max().clamp_min(torch.finfo(torch.float32).tiny * 2**40) * FLOOR
        self.inverse_PEE: Tensor | None = None
        if curvature.block_PEE is None:
            spread_E = pad(variance_D, (0, 1), value=1.0)
            diagonal_PE = total_P.clamp_min(floor)[:, None] * spread_E
            diagonal_PE[:, :-1] += penalty
            self.diagonal_PE = diagonal_PE.to(dtype)
            return
        block_PEE = curvature.block_PEE.clone()
        diagonal_PE = block_PEE.diagonal(dim1=1, dim2=2)
        diagonal_PE[:, :-1] += penalty
        diagonal_PE += floor + ROUNDING * diagonal_PE
        self.inverse_PEE = torch.cholesky_inverse(torch.linalg.cholesky(block_PEE)).to(dtype)

    def __call__(self, gradient_PE: Tensor) -> Tensor:
        """The gradient (P, E) times the inverse."""
        if self.inverse_PEE is None:
            return gradient_PE / self.diagonal_PE
        return (self.inverse_PEE @ gradient_PE[:, :, None]).squeeze(2)
