"""The search for lambda: which penalties it tries, and which one it chooses."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.metrics import log_loss

from flava.config import ProbeConfig
from flava.evaluate.linear_probe import lambda_grid, sweep
from flava.evaluate.logistic_problem import LogisticRegression, Problem
from tests.evaluate.test_linear_probe import blobs


def test_sweep_visits_clips_coarse_points_then_halves():
    grid = lambda_grid(ProbeConfig())
    assert len(grid) == 97
    assert grid[[0, 16, 48, 96]] == pytest.approx([1e-6, 1e-4, 1, 1e6])
    features, labels = blobs(400, 16, 5, 0.4)
    problem, held = Problem.of(features[:300], labels[:300], 5), (features[300:], labels[300:])
    found = sweep(problem, lambda m: float(np.mean(m.predict(held[0]) == held[1])), ProbeConfig())
    tried = np.log10(list(found.scores))
    assert set(np.round(tried, 6)) >= {-6, -4, -2, 0, 2, 4, 6}
    assert len(tried) <= 7 + 8
    best = np.log10(found.penalty)
    assert found.scores[found.penalty] == max(found.scores.values())
    inside = [t for t in tried if abs(t - best) < 0.13 and t != best]
    assert inside, "the best penalty's neighbours, an eighth of a decade away, were tried"


def test_a_search_until_the_score_falls_finds_the_same_without_the_weak_penalties():
    features, labels = blobs(400, 16, 5, 1.0)
    held = features[300:], labels[300:]

    def score(model: LogisticRegression) -> float:
        return -float(log_loss(held[1], softmax(model.logits(held[0]), axis=1)))

    problem, config = Problem.of(features[:300], labels[:300], 5), ProbeConfig(steps=25)
    whole, short = (sweep(problem, score, config, until_fall=until) for until in (False, True))
    assert short.visited == [each for each in whole.visited if each in short.scores]
    left_out = set(whole.scores) - set(short.scores)
    assert len(left_out) >= 2 and max(left_out) < min(short.scores) < short.penalty
    assert short.penalty == whole.penalty
    assert short.model.weights_CD.tobytes() == whole.model.weights_CD.tobytes()


def test_equal_scores_choose_the_stronger_penalty():
    features, labels = blobs(60, 4, 2, 1.0)
    found = sweep(Problem.of(features, labels, 2), lambda _: 0.5, ProbeConfig(steps=12))
    assert found.penalty == pytest.approx(1e6)
