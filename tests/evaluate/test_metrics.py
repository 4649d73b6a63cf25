"""Metrics against scikit-learn and scipy on random cases, ties and degenerate ones included."""

from __future__ import annotations

import numpy as np
import pytest
import sklearn.metrics as reference
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from flava.errors import DataError, TrainingError
from flava.evaluate import metrics
from flava.evaluate.bootstrap import bootstrap_std
from flava.evaluate.scores import percent
from flava.evaluate.taskdata import SoftLabels

CLASSES = st.integers(2, 6)


@st.composite
def labelled(draw, classes=CLASSES):
    n, c, seed = draw(st.integers(2, 60)), draw(classes), draw(st.integers(0, 10**6))
    random = np.random.default_rng(seed)
    return random.integers(0, c, n), random.integers(0, c, n)


@st.composite
def valued(draw):
    n, seed, steps = draw(st.integers(3, 60)), draw(st.integers(0, 10**6)), draw(st.integers(2, 40))
    random = np.random.default_rng(seed)
    return random.integers(0, steps, n) / steps, random.integers(0, steps, n) / steps


@given(labelled())
def test_accuracies(case):
    predicted, labels = case
    assert metrics.accuracy(predicted, labels) == pytest.approx(
        reference.accuracy_score(labels, predicted)
    )
    recalls = reference.recall_score(
        labels, predicted, average=None, labels=np.unique(labels), zero_division=0
    )
    assert metrics.mean_per_class(predicted, labels) == pytest.approx(np.mean(recalls))


@given(labelled(st.just(2)))
def test_two_classes(case):
    predicted, labels = case
    assert metrics.matthews(predicted, labels) == pytest.approx(
        reference.matthews_corrcoef(labels, predicted)
    )
    f1 = reference.f1_score(labels, predicted, zero_division=0)
    assert metrics.f1(predicted, labels) == pytest.approx(f1)
    both = (reference.accuracy_score(labels, predicted) + f1) / 2
    assert metrics.accuracy_f1(predicted, labels) == pytest.approx(both)


@settings(deadline=None)
@given(valued())
def test_correlations(case):
    predicted, values = case
    if np.ptp(predicted) == 0 or np.ptp(values) == 0:
        assert metrics.pearson(predicted, values) == 0
        assert metrics.spearman(predicted, values) == 0
        return
    expected = stats.pearsonr(predicted, values).statistic
    assert metrics.pearson(predicted, values) == pytest.approx(expected, abs=1e-12)
    expected = stats.spearmanr(predicted, values).statistic
    assert metrics.spearman(predicted, values) == pytest.approx(expected, abs=1e-12)


@settings(deadline=None)
@given(valued(), st.integers(0, 10**6))
def test_auroc(case, seed):
    scores = case[0]
    labels = np.random.default_rng(seed).integers(0, 2, len(scores))
    if len(set(labels)) == 1:
        with pytest.raises(DataError, match=r"both classes; all \d+ labels .* `test_limit`\."):
            metrics.auroc(scores, labels)
    else:
        assert metrics.auroc(scores, labels) == pytest.approx(
            reference.roc_auc_score(labels, scores)
        )


def test_vqa_score_and_chance():
    answers = SoftLabels(
        np.array([[0, 1], [1, -1], [2, 0], [-1, -1]]),
        np.array([[1.0, 0.3], [0.9, 0], [0.6, 0.6], [0, 0]], np.float32),
        3,
    )
    assert metrics.vqa_score(np.array([1, 1, 0, 2]), answers) == pytest.approx(
        (0.3 + 0.9 + 0.6) / 4
    )
    assert metrics.chance_level("vqa_score", answers) == pytest.approx((1.0 + 0.6) / 4)
    assert answers.dense().tolist() == [
        [1.0, pytest.approx(0.3), 0.0], [0.0, pytest.approx(0.9), 0.0],
        [pytest.approx(0.6), 0.0, pytest.approx(0.6)], [0.0, 0.0, 0.0],
    ]  # fmt: skip


def test_chance_is_the_best_constant_prediction():
    labels = np.array([0, 0, 0, 1, 2, 2])
    assert metrics.chance_level("accuracy", labels) == pytest.approx(0.5)
    assert metrics.chance_level("mean_per_class", labels) == pytest.approx(1 / 3)
    assert metrics.chance_level("matthews", np.array([0, 1])) == 0
    assert metrics.chance_level("auroc", np.array([0, 1])) == 0.5
    ones = np.array([1, 1, 0])
    assert metrics.chance_level("accuracy_f1", ones) == pytest.approx((2 / 3 + 0.8) / 2)


def test_a_score_that_is_not_finite_says_where_to_look():
    with pytest.raises(TrainingError, match=r"not finite: .*log\.csv of its run .*train it again"):
        percent(float("nan"))


def test_bootstrap_matches_the_binomial_error_and_is_seeded():
    right = np.arange(400) < 300
    first, second = (
        bootstrap_std(lambda chosen: float(right[chosen].mean()), 400, 2000) for _ in range(2)
    )
    assert first == second == pytest.approx(np.sqrt(0.75 * 0.25 / 400), rel=0.05)


def test_bootstrap_by_groups_sees_that_a_group_is_one_observation():
    right = np.repeat(np.arange(40) < 20, 10)
    groups = np.repeat(np.arange(40), 10)
    alone = bootstrap_std(lambda chosen: float(right[chosen].mean()), 400, 1000)
    grouped = bootstrap_std(lambda chosen: float(right[chosen].mean()), 400, 1000, groups)
    assert grouped == pytest.approx(np.sqrt(0.25 / 40), rel=0.1)
    assert grouped > 2.5 * alone
