"""Training data and solution of a multinomial logistic regression."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from flava.errors import TrainingError
from flava.evaluate.features import FeatureArray, device
from flava.evaluate.taskdata import FloatArray, IntArray, check_labels

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
        weights_DC = torch.from_numpy(self.weights_CD.T)
        for rows in chunks(len(features_ND)):
            exact_BD = torch.from_numpy(features_ND[rows].astype(np.float64))
            logits_NC[rows] = (exact_BD @ weights_DC).numpy() + self.intercept_C
        return logits_NC

    def predict(self, features_ND: FeatureArray) -> IntArray:
        """Most probable class of each example (N,)."""
        classes_N: IntArray = self.logits(features_ND).argmax(axis=1)
        return classes_N


def chunks(n: int, most: int | None = None) -> Iterator[slice]:
    """Consecutive slices of n rows, each of at most `most` or else CHUNK_ROWS."""
    size = most or CHUNK_ROWS
    for start in range(0, n, size):
        yield slice(start, min(start + size, n))


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
    mean_D: Tensor
    basis_DD: Tensor
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
            torch.from_numpy(mean_D).to(device()),
            basis_DD,
            variance_D.clamp_min(0).float(),
        )

    @cached_property
    def rounded_inputs(self) -> Tensor:
        """The inputs in bfloat16."""
        return self.inputs_ND.bfloat16()

    @cached_property
    def input_products(self) -> Tensor:
        """Products of the E = D + 1 inputs, the last of them 1: (N, E (E + 1) / 2), float64.

        In the order of `torch.tril_indices(E, E)`.
        """
        inputs_NE = pad(self.inputs_ND.double(), (0, 1), value=1.0)
        n, inputs = inputs_NE.shape
        products_NT = inputs_NE.new_empty(n, inputs * (inputs + 1) // 2)
        for number in range(inputs):
            first, after = number * (number + 1) // 2, (number + 1) * (number + 2) // 2
            upto_NF = inputs_NE[:, : number + 1]
            torch.mul(upto_NF, inputs_NE[:, number, None], out=products_NT[:, first:after])
        return products_NT

    def logits(self, weights_PE: Tensor, dtype: torch.dtype) -> Tensor:
        """Logits (N, P) of weights with the intercepts as last column (E = D + 1)."""
        out_NP = torch.empty(len(self.labels_N), len(weights_PE), dtype=dtype, device=device())
        weights_PE = weights_PE.to(dtype)
        for rows in chunks(len(out_NP)):
            inputs_BD = self.inputs_ND[rows].to(dtype)
            torch.addmm(weights_PE[:, -1], inputs_BD, weights_PE[:, :-1].T, out=out_NP[rows])
        return out_NP

    def weights_of(self, start: LogisticRegression) -> Tensor:
        """Weights (P, E) of `start` in these coordinates, float64."""
        weights_PD = torch.from_numpy(start.weights_CD[self.present_P]).to(device())
        intercept_P = torch.from_numpy(start.intercept_C[self.present_P]).to(device())
        intercept_P = (intercept_P + weights_PD @ self.mean_D).nan_to_num(0, 0, 0)
        return torch.column_stack([weights_PD @ self.basis_DD, intercept_P])

    def model(self, weights_PE: Tensor, iterations: int, converged: bool) -> LogisticRegression:
        """The weights (P, E) in the coordinates of the features."""
        weights_PD = weights_PE[:, :-1] @ self.basis_DD.T
        weights_CD = np.zeros((self.n_classes, weights_PD.shape[1]))
        intercept_C = np.full(self.n_classes, -np.inf)
        weights_CD[self.present_P] = weights_PD.cpu().numpy()
        intercept_C[self.present_P] = (weights_PE[:, -1] - weights_PD @ self.mean_D).cpu().numpy()
        return LogisticRegression(weights_CD, intercept_C, iterations, converged)


def cross_entropy(logits_NP: Tensor, labels_N: Tensor) -> float:
    """Sum of cross-entropies, with relative precision however small it is."""
    total = 0.0
    for rows in chunks(len(labels_N)):
        _, label_B = other_probabilities(logits_NP[rows], labels_N[rows])
        total += float(label_B.double().sum())
    return total


def other_probabilities(logits_BP: Tensor, labels_B: Tensor) -> tuple[Tensor, Tensor]:
    """Probabilities (B, P) of all classes but the label's, which is 0, and cross-entropies (B,)."""
    log_p_BP = torch.log_softmax(logits_BP, dim=1)
    label_B1 = labels_B[:, None]
    loss_B = -log_p_BP.gather(1, label_B1).squeeze(1)
    others_BP = log_p_BP.exp_().scatter_(1, label_B1, 0)
    wrong_B = others_BP.sum(dim=1)
    return others_BP, torch.where(wrong_B < 0.5, -torch.log1p(-wrong_B.clamp(max=0.5)), loss_B)
