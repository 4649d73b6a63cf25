"""The whole Hessian of multinomial logistic regression, for problems of few weights.

For two classes a, b it is the sum over the examples of p_a (1 - p_a) or -p_a p_b, times the inputs'
products with each other. Those are symmetric and the same for all classes and weights: where half
of them fit into memory they are made once, and one product of matrices gives all blocks.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

from flava.evaluate.logistic_problem import Problem, chunks

ROWS = 2048
PRODUCT_BYTES = 1 << 27  # of the kept products of inputs


def hessian(problem: Problem, others_NP: Tensor) -> Tensor:
    """Without the penalty (PE, PE), float64; on and below the diagonal, the rest is not defined.

    Args:
        problem: training data, the constant input last of E.
        others_NP: probabilities, 0 in the column of the label, whose own is 1 minus their sum.
    """
    examples, width = problem.inputs_ND.shape
    few = examples * (width + 1) * (width + 2) // 2 * 8 <= PRODUCT_BYTES
    return _of_products(problem, others_NP) if few else _of_blocks(problem, others_NP)


def _of_products(problem: Problem, others_NP: Tensor) -> Tensor:
    classes, inputs = others_NP.shape[1], problem.inputs_ND.shape[1] + 1
    first_M, second_M = torch.tril_indices(classes, classes, device=others_NP.device)
    products_NT = problem.input_products
    sums_MT = products_NT.new_zeros(len(first_M), products_NT.shape[1])
    most = max(1, PRODUCT_BYTES // (32 * len(first_M)))  # the pairs, and what they are made of
    for rows in chunks(len(others_NP), min(ROWS, most)):
        all_BP, varied_BP = _probabilities(problem, others_NP, rows)
        pairs_BM = -all_BP[:, first_M] * all_BP[:, second_M]
        pairs_BM[:, first_M == second_M] = varied_BP
        sums_MT.addmm_(pairs_BM.T, products_NT[rows])
    row_T, column_T = torch.tril_indices(inputs, inputs, device=sums_MT.device)
    blocks_MEE = sums_MT.new_empty(len(first_M), inputs, inputs)
    blocks_MEE[:, row_T, column_T] = sums_MT
    blocks_MEE[:, column_T, row_T] = sums_MT
    hessian_PEPE = sums_MT.new_zeros(classes, inputs, classes, inputs)
    hessian_PEPE[first_M, :, second_M] = blocks_MEE
    return hessian_PEPE.view(classes * inputs, -1)


def _of_blocks(problem: Problem, others_NP: Tensor) -> Tensor:
    classes, inputs = others_NP.shape[1], problem.inputs_ND.shape[1] + 1
    size = classes * inputs
    hessian_WW = torch.zeros(size, size, dtype=torch.float64, device=others_NP.device)
    for rows in chunks(len(others_NP), ROWS):
        all_BP, varied_BP = _probabilities(problem, others_NP, rows)
        inputs_BE = pad(problem.inputs_ND[rows].double(), (0, 1), value=1.0)
        weighted_BW = (all_BP[:, :, None] * inputs_BE[:, None, :]).flatten(1)
        for number in range(classes):
            first, after = number * inputs, (number + 1) * inputs
            own_BE, below_BV = weighted_BW[:, first:after], weighted_BW[:, after:]
            hessian_WW[after:, first:after].addmm_(below_BV.T, own_BE, alpha=-1)
            varied_BE = varied_BP[:, number, None] * inputs_BE
            hessian_WW[first:after, first:after].addmm_(varied_BE.T, inputs_BE)
    return hessian_WW


def _probabilities(problem: Problem, others_NP: Tensor, rows: slice) -> tuple[Tensor, Tensor]:
    """p and p (1 - p) of each class (B, P), float64, with the digits of those nearly 1."""
    others_BP, label_B1 = others_NP[rows].double(), problem.labels_N[rows, None]
    own_B1 = 1 - others_BP.sum(dim=1, keepdim=True)
    varied_BP = others_BP * (1 - others_BP)
    varied_BP.scatter_(1, label_B1, own_B1 * (1 - own_B1))
    return others_BP.scatter(1, label_B1, own_B1), varied_BP
