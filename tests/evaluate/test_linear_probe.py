"""The linear probe against scikit-learn, its sweep and its work."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import logsumexp, softmax
from sklearn.linear_model import LogisticRegression as Reference

from flava.config import ProbeConfig
from flava.errors import DataError, TrainingError
from flava.evaluate import hessian, logistic, logistic_problem, newton, preconditioner
from flava.evaluate.baselines import pixels
from flava.evaluate.datasets import load_task
from flava.evaluate.linear_probe import stratified_split, sweep
from flava.evaluate.logistic import fit
from flava.evaluate.logistic_problem import Problem
from tests.evaluate.fakes import data_config, task_config

EVERY = np.arange


def blobs(n, width, classes, apart, seed=0):
    random = np.random.default_rng(seed)
    labels = random.integers(0, classes, n)
    centres = random.normal(size=(classes, width)) * apart
    # Neither centred nor evenly scaled, as real features.
    features = (centres[labels] + random.normal(size=(n, width))) * np.linspace(0.1, 3, width) + 2
    return features.astype(np.float32), labels


def objective(features, labels, model_w, model_b, penalty):
    """Float64, with relative precision where all examples are learnt."""
    logits = features.astype(np.float64) @ model_w.T.astype(np.float64) + model_b
    own = logits[np.arange(len(labels)), labels][:, None]
    ahead = logits - own
    ahead[np.arange(len(labels)), labels] = -np.inf
    return np.logaddexp(0, logsumexp(ahead, axis=1)).sum() + penalty / 2 * np.sum(
        model_w.astype(np.float64) ** 2
    )


def gap_bound(features, labels, model, penalty):
    """Upper bound of the relative gap, from strong convexity (the duality gap), and |g_b| / F."""
    exact = features.astype(np.float64)
    probabilities = softmax(exact @ model.weights_CD.T + model.intercept_C, axis=1)
    own = np.arange(len(labels)), labels
    probabilities[own] = 0
    probabilities[own] = -probabilities.sum(axis=1)
    mean = exact.mean(axis=0)  # centred features: the intercept's share is apart
    slope = probabilities.T @ (exact - mean) + penalty * model.weights_CD
    value = objective(features, labels, model.weights_CD, model.intercept_C, penalty)
    intercepts = np.abs(probabilities.sum(axis=0)).max()
    return np.sum(slope**2) / (2 * penalty) / value, intercepts / value


REAL = {
    "mnist": ("mnist_idx", "mnist"),
    "cifar10": ("image_folder", "cifar10/images.zip"),
    "gtsrb": ("image_folder", "gtsrb/images.zip"),
    "dtd": ("image_folder", "dtd/images.zip"),
    "caltech101": ("image_folder", "caltech101/images.zip"),
    "cars": ("image_folder", "stanford_cars/images.zip"),
    "fer2013": ("image_folder", "fer2013/images.zip"),
    "imagenet": ("image_folder", "tiny_imagenet32/images.zip"),
    "clevr": ("nlvr_counts", "nlvr"),
}


def real_set(real_data, name, train=200, test=300):
    """Some pixels (512 values) and labels of a real set: train, then test."""
    adapter, path = REAL[name]
    spec = task_config("linear_probe")
    task = load_task(name, spec, data_config(adapter, real_data / path, stand_in="part"))
    task = task.limited(train, test)
    parts = task.train, next(iter(task.tests.values()))
    return [(pixels(part)[:, ::6], part.labels()) for part in parts], len(task.classes)


@pytest.mark.parametrize("name", ["mnist", "cifar10"])
def test_optimum_on_real_sets_for_the_whole_grid(real_data, name):
    ((features, labels), _), classes = real_set(real_data, name)
    problem, near, models = Problem.of(features, labels, classes), [], {}
    for penalty in 10.0 ** np.arange(6, -7, -1):
        model = models[penalty] = fit(problem, penalty, 1000, near)
        near = [model, *near[:1]]
        bound, intercepts = gap_bound(features, labels, model, penalty)
        assert model.converged
        assert bound < 1e-6, penalty
        assert intercepts < 1e-3, penalty
    for penalty in (1e-3, 1e1):
        found = models[penalty]
        best = Reference(C=1 / penalty, tol=1e-7, max_iter=2000).fit(
            features.astype(np.float64), labels
        )
        ours, theirs = (
            objective(features, labels, *each, penalty)
            for each in ((found.weights_CD, found.intercept_C), (best.coef_, best.intercept_))
        )
        assert ours <= theirs * (1 + 1e-6), penalty
        if penalty > 1:
            assert ours == pytest.approx(theirs, rel=1e-6)


@pytest.mark.parametrize("name", list(REAL))
def test_predictions_are_scikit_learn_s_on_every_real_set(real_data, name):
    """Where scikit-learn comes to the minimum too: for weak penalties it stops far above it."""
    ((features, labels), (test, _)), classes = real_set(real_data, name, train=250)
    problem = Problem.of(features, labels, classes)
    for penalty in (1e0, 1e1, 1e2):
        found = fit(problem, penalty, 1000)
        best = Reference(C=1 / penalty, tol=1e-8, max_iter=5000).fit(
            features.astype(np.float64), labels
        )
        assert found.predict(test).tolist() == best.predict(test).tolist(), penalty


@pytest.mark.parametrize(("classes", "c_times_lambda"), [(2, 2.0), (3, 1.0)])
def test_weights_are_scikit_learn_s_and_of_two_classes_at_twice_c(classes, c_times_lambda):
    """It has one vector for two classes: the difference of the two here."""
    features, labels = blobs(400, 10, classes, 0.3)
    found = fit(Problem.of(features, labels, classes), 10.0, 1000)
    best = Reference(C=c_times_lambda / 10, tol=1e-10, max_iter=5000).fit(
        features.astype(np.float64), labels
    )
    ours = found.weights_CD if classes > 2 else np.diff(found.weights_CD, axis=0)
    assert np.abs(best.coef_).max() > 0.3
    assert ours == pytest.approx(best.coef_, abs=1e-4)


@pytest.fixture
def somewhere():
    """A small problem, lambda 2, weights that are no optimum, and the slope there."""
    features, labels = blobs(40, 5, 3, 1.0)
    problem = Problem.of(features, labels, 3)
    generator = torch.Generator().manual_seed(0)
    weights = torch.randn(3, 6, dtype=torch.float64, generator=generator)
    return (
        problem,
        weights,
        newton.slope(problem, 2.0, weights, problem.logits(weights, torch.float64)),
    )


def test_slope_matches_finite_differences(monkeypatch, somewhere):
    monkeypatch.setattr(logistic_problem, "CHUNK_ROWS", 16)
    problem, weights, here = somewhere
    direction = torch.randn(3, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))

    def at(weights):
        point = logistic.Point(weights, problem.logits(weights, torch.float64))
        value = logistic.objective(problem, 2.0, point)
        return value, newton.slope(problem, 2.0, weights, point.logits_NP)

    (up, slope_up), (down, slope_down) = (at(weights + s * direction) for s in (1e-5, -1e-5))
    wanted = float((here.gradient_PE * direction).sum())
    assert (up - down) / 2e-5 == pytest.approx(wanted, rel=1e-6)
    curved = newton.hessian_product(problem, 2.0, here, direction.float())
    differences = (slope_up.gradient_PE - slope_down.gradient_PE) / 2e-5
    assert torch.allclose(curved.double(), differences, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("product_bytes", [hessian.PRODUCT_BYTES, 0], ids=["products", "blocks"])
def test_direct_step_solves_the_newton_equation(monkeypatch, somewhere, product_bytes):
    monkeypatch.setattr(hessian, "ROWS", 16)
    monkeypatch.setattr(hessian, "PRODUCT_BYTES", product_bytes)
    problem, _, here = somewhere
    step = newton.direct_step(problem, 2.0, here)
    assert step is not None
    product = newton.hessian_product(problem, 2.0, here, step)
    assert torch.allclose(product, -here.gradient_PE, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("fails", [False, True], ids=["used", "indefinite"])
def test_near_the_minimum_many_products_give_way_to_the_whole_hessian(monkeypatch, fails):
    """And where rounding leaves that indefinite, products alone end the fit, at the same place."""
    features, labels = blobs(300, 24, 6, 0.4)
    problem, asked, real = Problem.of(features, labels, 6), [], newton.direct_step
    wanted = fit(problem, 1e-3, 100)

    def direct_step(*arguments):
        asked.append(arguments)
        return None if fails else real(*arguments)

    monkeypatch.setattr(newton, "direct_step", direct_step)
    monkeypatch.setattr(newton, "DIRECT_LEAST", 2)
    monkeypatch.setattr(newton, "DIRECT_SHARE", 1000)
    model = fit(problem, 1e-3, 100)
    assert model.converged and (len(asked) == 1 if fails else len(asked) > 1)
    found, best = (
        objective(features, labels, each.weights_CD, each.intercept_C, 1e-3)
        for each in (model, wanted)
    )
    assert found == pytest.approx(best, rel=1e-6)


def test_preconditioner_inverts_each_class_block(somewhere):
    problem, _, here = somewhere
    approximate = preconditioner.Preconditioner(
        here.curvature, problem.variance_D, 2.0, torch.float64
    )
    for number in range(3):
        for place in range(6):
            unit = torch.zeros(3, 6, dtype=torch.float64)
            unit[number, place] = 1
            curved = newton.hessian_product(problem, 2.0, here, unit)
            curved[torch.arange(3) != number] = 0  # classes count as independent
            assert torch.allclose(approximate(curved), unit, atol=1e-3)


@pytest.mark.parametrize(
    ("direct_weights", "most"),
    [(2560, 1e-6), (0, 5e-5)],  # conjugate gradients alone know less well how far they are
)
def test_weak_penalties_converge_where_some_classes_overlap(monkeypatch, direct_weights, most):
    # Eight grounds that hardly overlap, each in two classes that hardly differ: next to the
    # overlap's curvature, float32 does not see the directions that separate grounds.
    monkeypatch.setattr(newton, "DIRECT_WEIGHTS", direct_weights)
    random = np.random.default_rng(0)
    labels = random.integers(0, 16, 800)
    centres = random.normal(size=(8, 24)) * 1.2
    shift = (labels % 2)[:, None] * random.normal(size=24) * 0.3
    spread = np.linspace(0.02, 1, 24)
    features = (centres[labels // 2] + shift + random.normal(size=(800, 24))) * spread
    features, near = features.astype(np.float32), []
    problem = Problem.of(features, labels, 16)
    for penalty in (1e2, 1.0, 1e-2, 1e-4, 3e-6, 1e-6):
        model = fit(problem, penalty, 300, near)
        near = [model, *near[:1]]
        assert model.converged, penalty
    assert newton_decrement(features.astype(np.float64), labels, model, 1e-6) < most


def newton_decrement(features, labels, model, penalty):
    """Half of g H^-1 g, relative to the objective: what one exact Newton step would still bring."""
    inputs = np.column_stack([features, np.ones(len(features))])
    p = softmax(features @ model.weights_CD.T + model.intercept_C, axis=1)
    ridge = np.diag([penalty] * features.shape[1] + [0.0])
    weights = np.column_stack([model.weights_CD, model.intercept_C])
    gradient = (p - np.eye(p.shape[1])[labels]).T @ inputs + weights @ ridge
    hessian = np.block(
        [
            [
                (inputs * (p[:, a] * ((a == b) - p[:, b]))[:, None]).T @ inputs + (a == b) * ridge
                for b in range(p.shape[1])
            ]
            for a in range(p.shape[1])
        ]
    )
    step = np.linalg.lstsq(hessian, gradient.ravel(), rcond=1e-14)[0]
    value = objective(features, labels, model.weights_CD, model.intercept_C, penalty)
    return 0.5 * gradient.ravel() @ step / value


def test_start_and_chunks_change_nothing(monkeypatch):
    features, labels = blobs(300, 20, 4, 0.5)
    problem = Problem.of(features, labels, 4)
    cold = fit(problem, 1.0, 1000)
    warm = fit(problem, 1.0, 1000, [fit(problem, 100.0, 1000), fit(problem, 1e4, 1000)])
    monkeypatch.setattr(logistic_problem, "CHUNK_ROWS", 64)
    chunked = fit(Problem.of(features, labels, 4), 1.0, 1000)
    for other in (warm, chunked):
        values = [
            objective(features, labels, m.weights_CD, m.intercept_C, 1) for m in (cold, other)
        ]
        assert values[0] == pytest.approx(values[1], rel=1e-6)


def test_separable_classes_as_the_penalty_vanishes():
    """The weights grow without bound, but their direction has a limit: the largest margin."""
    every, every_label = blobs(2200, 30, 3, 3.0)
    features, labels, held, held_labels = (
        every[:200],
        every_label[:200],
        every[200:],
        every_label[200:],
    )
    problem, near, directions = Problem.of(features, labels, 3), [], []
    for penalty in 10.0 ** np.arange(2, -7, -2):
        model = fit(problem, penalty, 1000, near)
        near = [model, *near[:1]]
        assert model.converged
        assert gap_bound(features, labels, model, penalty)[0] < 1e-6
        directions.append(model.weights_CD / np.linalg.norm(model.weights_CD))
    value = objective(features, labels, model.weights_CD, model.intercept_C, 1e-6)
    assert value < 1e-2
    assert np.sum(directions[-1] * directions[-2]) > 0.99
    assert np.mean(model.predict(held) == held_labels) > 0.95


def test_a_class_without_training_examples_is_never_predicted():
    features, labels = blobs(200, 8, 3, 2.0)
    kept = labels != 1
    model = fit(Problem.of(features[kept], labels[kept], 3), 1.0, 1000)
    assert model.converged
    assert set(model.predict(features)) == {0, 2}
    best = Reference(C=1.0, tol=1e-9, max_iter=5000).fit(features[kept], labels[kept])
    # Two classes: scikit-learn's one vector is the difference, half the penalty.
    assert np.mean(best.predict(features) == model.predict(features)) > 0.98
    one = fit(Problem.of(features[:5], np.full(5, 2), 3), 1.0, 1000)
    assert one.converged and set(one.predict(features)) == {2}


def test_overlapping_classes_with_weak_penalties(monkeypatch):
    """The hardest case: classes that separate barely, so that few examples carry all curvature."""
    features, labels = blobs(800, 32, 15, 0.3)
    problem, near = Problem.of(features, labels, 15), []
    for penalty in (1.0, 1e-2, 1e-4, 1e-6):
        model = fit(problem, penalty, 1000, near)
        near = [model, *near[:1]]
        with monkeypatch.context() as patch:
            patch.setattr(logistic, "TOLERANCE", 1e-12)
            exact = fit(problem, penalty, 1000, [model])
        assert model.converged and exact.converged
        ours, best = (
            objective(features, labels, m.weights_CD, m.intercept_C, penalty)
            for m in (model, exact)
        )
        assert gap_bound(features, labels, exact, penalty)[0] < 1e-6
        assert ours <= best * (1 + 1e-6)


def test_too_few_iterations_are_reported():
    features, labels = blobs(200, 30, 5, 0.3)
    assert not fit(Problem.of(features, labels, 5), 1e-3, 3).converged


def test_bad_training_data_are_refused():
    features, labels = blobs(20, 4, 2, 1.0)
    with pytest.raises(DataError, match="label 2 of example 0 is out of range"):
        Problem.of(features, np.full(20, 2), 2)
    with pytest.raises(DataError, match="has no examples"):
        Problem.of(features[:0], labels[:0], 2)
    features[3, 1] = np.nan
    with pytest.raises(TrainingError, match=r"1 of 4 features .* are not finite"):
        Problem.of(features, labels, 2)


def test_constant_and_collinear_features_are_no_problem():
    features, labels = blobs(100, 6, 3, 2.0)
    features[:, 1], features[:, 2] = 7.0, features[:, 0]
    model = fit(Problem.of(features, labels, 3), 1e-6, 1000)
    assert np.isfinite(model.weights_CD).all()
    assert np.mean(model.predict(features) == labels) > 0.9


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


def test_work_of_a_sweep(monkeypatch):
    features, labels = blobs(2000, 64, 30, 0.3)
    problem, held, held_labels = (
        Problem.of(features[:1600], labels[:1600], 30),
        features[1600:],
        labels[1600:],
    )
    done = Counter()

    def counted(name):
        work = getattr(newton, name)

        def wrapped(*arguments):
            done[name] += 1
            return work(*arguments)

        monkeypatch.setattr(newton, name, wrapped)

    counted("hessian_product")
    counted("direct_step")
    sweep(problem, lambda m: float(np.mean(m.predict(held) == held_labels)), ProbeConfig())
    # 1,362 and 11, about 5 s on one core; processors differ in how they multiply float32
    assert 0 < done["hessian_product"] < 2000 and 0 < done["direct_step"] < 30
