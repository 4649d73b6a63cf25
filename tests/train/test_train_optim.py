"""Learning rate, weight decay groups, and the schedules and clipping of DINO's recipe."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from flava.config import DinoInitConfig, OptimConfig
from flava.errors import ConfigError
from flava.train.init_dino import clip_each, teacher_momentum, teacher_temperature
from flava.train.optim import (
    check_warmup,
    learning_rate,
    make_optimizer,
    split_by_decay,
    weight_decay,
)

CONFIG = OptimConfig(learning_rate=0.1, warmup_updates=10)


def test_learning_rate_equals_hugging_face_schedule() -> None:
    from transformers import get_cosine_schedule_with_warmup

    parameter = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=0.1)
    schedule = get_cosine_schedule_with_warmup(optimizer, 10, 100)
    for update in range(100):
        expected = schedule.get_last_lr()[0]
        assert learning_rate(update, 100, CONFIG) == pytest.approx(expected, abs=1e-12)
        optimizer.step()
        schedule.step()


def test_learning_rate_ends_at_the_floor() -> None:
    config = OptimConfig(learning_rate=0.1, warmup_updates=0, final_learning_rate_fraction=0.2)
    assert learning_rate(0, 50, config) == pytest.approx(0.1)
    assert learning_rate(50, 50, config) == pytest.approx(0.02)


def test_warmup_as_long_as_the_run_is_refused() -> None:
    check_warmup(11, CONFIG)
    with pytest.raises(ConfigError, match=r"warmup_updates is 10.*10 updates"):
        check_warmup(10, CONFIG)


class Tiny(nn.Module):
    """One parameter of each sort."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(5, 4)
        self.position_embeddings = nn.Parameter(torch.zeros(3, 4))
        self.cls_token = nn.Parameter(torch.zeros(1, 1, 4))
        self.norm = nn.LayerNorm(4)
        self.linear = nn.Linear(4, 4)
        self.patches = nn.Conv2d(3, 4, 2)


def test_decay_all_is_one_group() -> None:
    model = Tiny()
    (group,) = make_optimizer(model, OptimConfig()).param_groups
    assert len(group["params"]) == len(list(model.parameters()))
    assert group["weight_decay"] == 0.1 and group["fused"] is True


def test_without_decay_all_only_matrices_decay() -> None:
    model = Tiny()
    decayed, others = split_by_decay(model)
    assert {id(p) for p in decayed} == {id(model.linear.weight), id(model.patches.weight)}
    assert len(decayed) + len(others) == len(list(model.parameters()))
    first, second = make_optimizer(model, OptimConfig(decay_all=False)).param_groups
    assert (first["weight_decay"], second["weight_decay"]) == (0.1, 0.0)


def test_a_polynomial_schedule_is_a_line() -> None:
    config = OptimConfig(learning_rate=0.1, warmup_updates=10, schedule="polynomial")
    found = [learning_rate(update, 110, config) for update in (5, 10, 60, 85, 110)]
    assert found == pytest.approx([0.05, 0.1, 0.05, 0.025, 0.0])


def test_weight_decay_rises_along_half_a_cosine() -> None:
    """DINO: 0.04 to 0.4, halfway in the middle."""
    config = OptimConfig(weight_decay=0.04, final_weight_decay=0.4)
    found = [weight_decay(update, 100, config) for update in (0, 25, 50, 100)]
    assert found == pytest.approx([0.04, 0.04 + 0.36 * 0.146447, 0.22, 0.4], abs=1e-6)
    assert weight_decay(50, 100, OptimConfig(weight_decay=0.04)) == 0.04


def test_schedules_of_the_teacher() -> None:
    config = DinoInitConfig(teacher_temperature_updates=10)
    heats = [teacher_temperature(update, config) for update in range(12)]
    np.testing.assert_allclose(heats[:10], 0.04 + 0.003 * np.arange(10))
    assert heats[10:] == [0.07, 0.07]
    assert teacher_temperature(0, DinoInitConfig(teacher_temperature_updates=0)) == 0.07
    kept = [teacher_momentum(update, 100, 0.996) for update in (0, 50, 100)]
    assert kept == pytest.approx([0.996, 0.998, 1.0])


def test_gradients_are_clipped_parameter_by_parameter() -> None:
    model = torch.nn.Linear(3, 2)
    model.weight.grad, model.bias.grad = torch.full((2, 3), 2.0), torch.tensor([0.1, 0.1])
    clip_each(model, 0.3)
    assert float(model.weight.grad.norm()) == pytest.approx(0.3, rel=1e-5)
    torch.testing.assert_close(model.bias.grad, torch.tensor([0.1, 0.1]))
