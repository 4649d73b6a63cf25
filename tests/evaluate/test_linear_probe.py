"""The linear probe against scikit-learn, its sweep, its speed and the whole protocol."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import log_softmax
from sklearn.linear_model import LogisticRegression as Reference

from flava.config import ProbeConfig
from flava.errors import DataError, TrainingError
from flava.evaluate import linear_probe, vision
from flava.evaluate.formats import mnist_idx
from flava.evaluate.images import ArrayImages
from flava.evaluate.linear_probe import Problem, fit, lambda_grid, stratified_split, sweep
from flava.evaluate.taskdata import LabelledTask, Split
from tests.evaluate.fakes import FakeBackbone, context, data_config

EVERY = np.arange


def blobs(n, width, classes, apart, seed=0):
    random = np.random.default_rng(seed)
    labels = random.integers(0, classes, n)
    centres = random.normal(size=(classes, width)) * apart
    # Neither centred nor evenly scaled, as real features.
    features = (centres[labels] + random.normal(size=(n, width))) * np.linspace(0.1, 3, width) + 2
    return features.astype(np.float32), labels


def objective(features, labels, model_w, model_b, penalty):
    log_p = log_softmax(features @ model_w.T + model_b, axis=1)
    return -log_p[np.arange(len(labels)), labels].sum() + penalty / 2 * np.sum(model_w**2)


@pytest.fixture(scope="module")
def digits(real_data):
    task = mnist_idx.load(real_data / "mnist", data_config("mnist_idx", "")).limited(600, None)
    train, test = task.train, task.tests["test"]
    pixels = [s.images.array[s.image_N].reshape(len(s), -1) / 255 for s in (train, test)]
    return pixels[0].astype(np.float32), train.labels(), pixels[1].astype(np.float32), test.labels()


@pytest.mark.parametrize(
    ("penalty", "gap"), [(1e-2, 5e-4), (1.0, 2e-5), (1e2, 1e-6)], ids=["weak", "middle", "strong"]
)
def test_optimum_on_real_digits_is_scikit_learns(digits, penalty, gap):
    features, labels, test_features, test_labels = digits
    exact = features.astype(np.float64)
    ours = fit(Problem.of(features, labels, 10), penalty, 1000)
    assert ours.converged
    best = Reference(C=1 / penalty, tol=1e-7, max_iter=20000).fit(exact, labels)
    default = Reference(C=1 / penalty, max_iter=1000).fit(exact, labels)
    low, found, stopped = (
        objective(exact, labels, weights, intercept, penalty) / len(labels)
        for weights, intercept in [
            (best.coef_, best.intercept_),
            (ours.weights_CD, ours.intercept_C),
            (default.coef_, default.intercept_),
        ]
    )
    assert found - low < gap
    assert found <= stopped, "closer to the optimum than scikit-learn's default stopping rule"
    wanted, predicted = best.predict(test_features), ours.predict(test_features)
    agreement = np.mean(predicted == wanted)
    assert agreement >= min(0.99, np.mean(default.predict(test_features) == wanted))
    standard_error = np.sqrt(0.2 * 0.8 / len(test_labels))
    assert abs(np.mean(predicted == test_labels) - np.mean(wanted == test_labels)) < standard_error


def test_gradient_matches_finite_differences():
    features, labels = blobs(40, 5, 3, 1.0)
    problem = Problem.of(features, labels, 3)
    import torch

    weights = torch.randn(3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    bias = torch.zeros(3, dtype=torch.float64)
    _, slope, slope_bias = problem.value_and_gradient(weights, bias)
    for index in [(0, 0), (2, 4)]:
        step = torch.zeros_like(weights)
        step[index] = 1e-6
        up, down = (problem.value_and_gradient(weights + s, bias)[0] for s in (step, -step))
        assert float((up - down) / 2e-6) == pytest.approx(float(slope[index]), rel=1e-5)
    up, down = (problem.value_and_gradient(weights, bias + d)[0] for d in (1e-6, -1e-6))
    assert float(up - down) == pytest.approx(2e-6 * float(slope_bias.sum()), abs=1e-12)


def test_warm_start_and_chunks_change_nothing(monkeypatch):
    features, labels = blobs(300, 20, 4, 0.5)
    problem = Problem.of(features, labels, 4)
    cold = fit(problem, 1.0, 1000)
    warm = fit(problem, 1.0, 1000, fit(problem, 100.0, 1000))
    monkeypatch.setattr(linear_probe, "CHUNK_ROWS", 64)
    chunked = fit(problem, 1.0, 1000)
    for other in (warm, chunked):
        values = [
            objective(features, labels, m.weights_CD, m.intercept_C, 1) for m in (cold, other)
        ]
        assert values[0] == pytest.approx(values[1], rel=1e-4)


def test_constant_and_collinear_features_are_no_problem():
    features, labels = blobs(100, 6, 3, 2.0)
    features[:, 1], features[:, 2] = 7.0, features[:, 0]
    model = fit(Problem.of(features, labels, 3), 1e-6, 1000)
    assert np.isfinite(model.weights_CD).all()
    assert np.mean(model.predict(features) == labels) > 0.9


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


def test_equal_scores_choose_the_stronger_penalty():
    features, labels = blobs(60, 4, 2, 1.0)
    found = sweep(Problem.of(features, labels, 2), lambda _: 0.5, ProbeConfig(steps=12))
    assert found.penalty == pytest.approx(1e6)


@given(
    st.lists(st.integers(1, 30), min_size=1, max_size=8), st.floats(0.05, 0.5), st.integers(0, 99)
)
def test_stratified_split(counts, fraction, seed):
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))
    train, held = stratified_split(labels, fraction, seed)
    assert sorted([*train, *held]) == list(range(len(labels)))
    assert set(labels[train]) == set(labels)
    for label, count in enumerate(counts):
        assert abs(np.sum(labels[held] == label) - fraction * count) <= 1
    again = stratified_split(labels, fraction, seed)
    assert again[1].tolist() == held.tolist()
    if all(count > 1 for count in counts) and fraction * len(labels) >= 1:
        assert len(held)


def test_speed_of_a_sweep_on_one_thread():
    features, labels = blobs(2000, 64, 30, 0.3)
    problem = Problem.of(features[:1600], labels[:1600], 30)
    begun = time.process_time()
    sweep(problem, lambda m: float(np.mean(m.predict(features) == labels)), ProbeConfig())
    assert time.process_time() - begun < 6  # 1.5 s where nothing else runs


def vision_task(n=120, seed=0, validation=False):
    random = np.random.default_rng(seed)
    labels = random.integers(0, 2, n)
    pixels = random.integers(0, 120, (n, 16, 16, 3), np.uint8)
    pixels[labels == 1, :, :, 0] += 100
    images = ArrayImages(pixels)
    third = n // 3
    parts = [Split(labels[s], images, EVERY(n)[s]) for s in
             (slice(0, third), slice(third, 2 * third), slice(2 * third, n))]  # fmt: skip
    return LabelledTask(
        train=parts[0],
        validation=parts[1] if validation else None,
        tests={"test": parts[2]},
        classes=["plain", "red"],
    )


@pytest.mark.parametrize("validation", [False, True])
def test_protocol(validation):
    (score,) = vision.evaluate(
        context("linear_probe"), vision_task(validation=validation), ProbeConfig(steps=24)
    )
    assert score.value > 90
    assert 0 <= score.std_error < 10
    assert 45 <= score.chance <= 75
    assert score.n_examples == 40
    assert score.n_train == (80 if validation else 40)
    assert score.details["validation examples"] == (40 if validation else 8)


def test_broken_features_name_the_task():
    model = FakeBackbone()
    model.patches.bias.data[0] = float("nan")
    with pytest.raises(TrainingError, match="task 'fake': features of 40 of 40 examples"):
        vision.evaluate(context("linear_probe", model=model), vision_task(), ProbeConfig())


def test_bad_labels_and_empty_splits():
    task = vision_task()
    task.train.targets[3] = 2
    with pytest.raises(DataError, match="label 2 of example 3 is out of range"):
        vision.evaluate(context("linear_probe"), task, ProbeConfig())
    task = vision_task()
    task.tests["test"] = task.tests["test"].take(np.arange(0))
    with pytest.raises(DataError, match="split 'test' has no examples"):
        vision.evaluate(context("linear_probe"), task, ProbeConfig(steps=6))
