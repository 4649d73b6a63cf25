"""Starts of a fit: the best mix of other penalties' weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from flava.config import ProbeConfig
from flava.evaluate import newton
from flava.evaluate.linear_probe import sweep
from flava.evaluate.logistic import fit
from flava.evaluate.logistic_problem import Problem
from flava.evaluate.warm_start import start_from
from tests.evaluate.test_linear_probe import blobs, objective


@pytest.mark.parametrize("apart", [0.3, 3.0])
@pytest.mark.parametrize("known", [(1.0,), (1.0, 100.0), (1e-1, 10.0, 1e-5)])
def test_the_start_is_the_lowest_point_of_the_span(apart, known):
    """scipy looks for it with no derivatives."""
    features, labels = blobs(300, 20, 4, apart)
    problem = Problem.of(features, labels, 4)
    fits = [fit(problem, penalty, 1000) for penalty in known]
    start_PE, logits_NP = start_from(problem, 1e-3, fits)
    torch.testing.assert_close(logits_NP, problem.logits(start_PE, torch.float32))
    start = problem.model(start_PE, 0, True)

    def value(shares):
        parts = [
            sum(s * getattr(f, name) for s, f in zip(shares, fits, strict=True))
            for name in ("weights_CD", "intercept_C")
        ]
        return objective(features, labels, *parts, 1e-3)

    found = objective(features, labels, start.weights_CD, start.intercept_C, 1e-3)
    first = np.eye(len(fits))[0]
    best = minimize(value, first, method="Nelder-Mead", options={"xatol": 1e-6, "maxiter": 4000})
    assert found <= value(first)
    assert found == pytest.approx(best.fun, rel=0.01)


def test_neighbours_spare_most_of_the_work():
    """A penalty between two known ones starts a few steps from its optimum."""
    features, labels = blobs(1000, 48, 10, 0.6)
    problem = Problem.of(features, labels, 10)
    stronger = fit(problem, 1e-3, 1000)
    weaker = fit(problem, 1e-5, 1000, [stronger])
    assert fit(problem, 1e-4, 1000, [stronger, weaker]).iterations < (
        fit(problem, 1e-4, 1000, [stronger]).iterations
    )


def test_processors_with_and_without_bfloat16_find_the_same(monkeypatch):
    features, labels = blobs(2500, 96, 30, 0.5)
    values, predictions = [], []
    for has in (True, False):
        monkeypatch.setattr(newton, "multiplies_bfloat16", lambda _, has=has: has)
        problem = Problem.of(features, labels, 30)
        found = sweep(problem, lambda model: -objective_of(features, labels, model), ProbeConfig())
        assert ("rounded_inputs" in vars(problem)) == has
        model = fit(problem, 1e-2, 1000, [found.model])
        values.append(objective_of(features, labels, model))
        predictions.append(model.predict(features))
    assert values[0] == pytest.approx(values[1], rel=2e-6)
    assert np.mean(predictions[0] == predictions[1]) > 0.999


def objective_of(features, labels, model):
    return objective(features, labels, model.weights_CD, model.intercept_C, 1e-2)
