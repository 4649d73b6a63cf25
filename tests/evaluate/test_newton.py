"""Single Newton steps where a way of solving for them gives up."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from flava.evaluate import newton
from flava.evaluate.logistic_problem import Problem


def test_near_the_minimum_a_step_that_float32_gave_up_is_solved_for_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What it came to by then would end the fit as if it were the whole step."""
    random = np.random.default_rng(0)
    features = random.normal(size=(60, 5)).astype(np.float32)
    problem = Problem.of(features, random.integers(0, 3, 60), 3)
    weights = torch.zeros(3, 6, dtype=torch.float64)
    at = newton.slope(problem, 2.0, weights, problem.logits(weights, torch.float64))
    wanted, real = newton.direct_step(problem, 2.0, at), newton.hessian_product
    assert wanted is not None

    def without_curvature(problem, penalty, at, v_PE, rounded=False):
        product_PE = real(problem, penalty, at, v_PE, rounded)
        return -product_PE if v_PE.dtype == torch.float32 else product_PE

    monkeypatch.setattr(newton, "hessian_product", without_curvature)
    steps = newton.Newton(problem, 2.0)
    steps.dtype = torch.float32
    steps.near()
    found = steps.step(at, 0.2)
    assert steps.dtype == torch.float64
    assert torch.allclose(found[:, :-1], wanted[:, :-1], rtol=0.02, atol=1e-3)
