"""Metrics of Table C.1 as fractions (correlations in [-1, 1], others in [0, 1]); more is better."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from flava.errors import DataError
from flava.evaluate.taskdata import FloatArray, IntArray, SoftLabels, Targets

Predictions = IntArray | FloatArray


def accuracy(predicted_N: IntArray, labels_N: IntArray) -> float:
    """Share of examples whose class is right."""
    return float(np.mean(predicted_N == labels_N))


def mean_per_class(predicted_N: IntArray, labels_N: IntArray) -> float:
    """Mean over the classes that occur of the share of the class's examples that are right."""
    total_C = np.bincount(labels_N)
    right_C = np.bincount(labels_N[predicted_N == labels_N], minlength=len(total_C))
    present_C = total_C > 0
    return float(np.mean(right_C[present_C] / total_C[present_C]))


def matthews(predicted_N: IntArray, labels_N: IntArray) -> float:
    """Matthews correlation of two classes; 0 where either side is constant, as scikit-learn."""
    tp = float(np.sum((predicted_N == 1) & (labels_N == 1)))
    tn = float(np.sum((predicted_N == 0) & (labels_N == 0)))
    fp = float(np.sum((predicted_N == 1) & (labels_N == 0)))
    fn = float(np.sum((predicted_N == 0) & (labels_N == 1)))
    scale = float(np.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)))
    return (tp * tn - fp * fn) / scale if scale else 0.0


def f1(predicted_N: IntArray, labels_N: IntArray) -> float:
    """F1 of class 1; 0 where it is neither predicted nor present."""
    both = float(np.sum((predicted_N == 1) & (labels_N == 1)))
    either = float(np.sum(predicted_N == 1) + np.sum(labels_N == 1))
    return 2 * both / either if either else 0.0


def accuracy_f1(predicted_N: IntArray, labels_N: IntArray) -> float:
    """Mean of accuracy and F1: MRPC and QQP (caption of Table 4)."""
    return (accuracy(predicted_N, labels_N) + f1(predicted_N, labels_N)) / 2


def pearson(predicted_N: FloatArray, values_N: FloatArray) -> float:
    """Pearson correlation; 0 where either side is constant: such predictions tell nothing."""
    x_N = np.asarray(predicted_N, np.float64) - np.mean(predicted_N)
    y_N = np.asarray(values_N, np.float64) - np.mean(values_N)
    scale = float(np.linalg.norm(x_N) * np.linalg.norm(y_N))
    tiny = 1e-13 * len(x_N) * (np.abs(np.mean(predicted_N)) + 1) * (np.abs(np.mean(values_N)) + 1)
    return float(np.clip(x_N @ y_N / scale, -1, 1)) if scale > tiny else 0.0


def _ranks(values_N: FloatArray) -> FloatArray:
    """Ranks from 1, ties by their mean rank."""
    from scipy.stats import rankdata  # a second of imports that few tasks need

    ranks: FloatArray = rankdata(values_N)
    return ranks


def spearman(predicted_N: FloatArray, values_N: FloatArray) -> float:
    """Spearman correlation: Pearson's of the ranks, ties by their mean rank."""
    return pearson(_ranks(predicted_N), _ranks(values_N))


def auroc(scores_N: FloatArray, labels_N: IntArray) -> float:
    """Chance that a random positive scores above a random negative, ties count half.

    Raises:
        DataError: only one class is present.
    """
    positives = int(np.sum(labels_N == 1))
    negatives = len(labels_N) - positives
    if not positives or not negatives:
        raise DataError(
            f"AUROC needs examples of both classes; all {len(labels_N)} labels are of one. Look at "
            "the files under the task's `path`, or raise its `train_limit` or `test_limit`."
        )
    rank_sum = float(np.sum(_ranks(scores_N)[labels_N == 1]))
    return (rank_sum - positives * (positives + 1) / 2) / (positives * negatives)


def vqa_credit(predicted_N: IntArray, answers: SoftLabels) -> npt.NDArray[np.float32]:
    """Soft score that each predicted answer earns."""
    hit_NK = answers.ids_NK == predicted_N[:, None]
    credit_N: npt.NDArray[np.float32] = np.where(hit_NK, answers.scores_NK, 0).sum(axis=1)
    return credit_N


def vqa_score(predicted_N: IntArray, answers: SoftLabels) -> float:
    """Mean soft score of the predicted answers (VQA evaluation)."""
    return float(np.mean(vqa_credit(predicted_N, answers)))


METRICS: dict[str, Callable[..., float]] = {
    "accuracy": accuracy,
    "mean_per_class": mean_per_class,
    "matthews": matthews,
    "accuracy_f1": accuracy_f1,
    "pearson": pearson,
    "auroc": auroc,
    "vqa_score": vqa_score,
}
DETAILS: dict[str, dict[str, Callable[..., float]]] = {
    "accuracy_f1": {"accuracy": accuracy, "f1": f1},
    "pearson": {"spearman": spearman},
    "mean_per_class": {"accuracy": accuracy},
    "matthews": {"accuracy": accuracy},
}


def decide(metric: str, outputs_NC: npt.NDArray[np.floating]) -> Predictions:
    """What a metric takes, from a model's outputs (N, classes): class, value or margin."""
    if metric == "pearson":
        return outputs_NC[:, 0].astype(np.float64)
    if metric == "auroc":
        margins_N: FloatArray = outputs_NC[:, 1].astype(np.float64) - outputs_NC[:, 0]
        return margins_N
    classes_N: IntArray = outputs_NC.argmax(axis=1).astype(np.int64)
    return classes_N


def chance_level(metric: str, targets: Targets) -> float:
    """What the best constant prediction reaches on these targets, as a fraction."""
    if metric in ("matthews", "pearson"):
        return 0.0
    if metric == "auroc":
        return 0.5
    if isinstance(targets, SoftLabels):
        credit_A = np.bincount(
            targets.ids_NK[targets.ids_NK >= 0],
            weights=targets.scores_NK[targets.ids_NK >= 0],
            minlength=1,
        )
        return float(credit_A.max() / len(targets))
    function = METRICS[metric]
    constants = np.unique(targets) if metric != "accuracy_f1" else np.array([0, 1])
    return max(function(np.full(len(targets), c), targets) for c in constants)
