"""What a task sets and the run's seed reach the optimizer, the rate, the order and the hold-out."""

from __future__ import annotations

import math
from unittest.mock import Mock

import numpy as np
import pytest
import torch

from flava.evaluate import finetune, finetuned_tasks
from flava.evaluate.images import ArrayImages
from flava.evaluate.taskdata import LabelledTask, SoftLabels, Split
from tests.evaluate.fakes import FakeBackbone, context, finetune_config
from tests.evaluate.test_finetune import text_task


def images_of(n=60):
    """Three questions an image."""
    images = ArrayImages(np.zeros((n // 3, 4, 4, 3), np.uint8))
    return Split(np.zeros(n, np.int64), images, np.repeat(np.arange(n // 3), 3), [("x", None)] * n)


def test_the_optimizer_and_the_rate_are_the_task_s(monkeypatch):
    optimizer, rate = Mock(wraps=torch.optim.AdamW), Mock(wraps=finetune.rate)
    monkeypatch.setattr(torch.optim, "AdamW", optimizer)
    monkeypatch.setattr(finetune, "rate", rate)
    config = finetune_config(updates=4, beta2=0.95, eps=1e-3, weight_decay=0.3)
    finetuned_tasks.evaluate(context("glue"), text_task(60), config)
    given = {"lr": 0.01, "betas": (0.9, 0.95), "eps": 1e-3, "weight_decay": 0.3, "fused": True}
    assert optimizer.call_args.kwargs == given
    assert [call.args[0] for call in rate.call_args_list] == [0, 1, 2, 3]


def test_the_seed_is_that_of_head_order_and_hold_out(monkeypatch):
    where = context("glue", seed=1)
    spies = {}
    for module, name in (
        (torch, "manual_seed"), (finetune, "bucketed_batches"), (finetuned_tasks, "hold_out"),
    ):  # fmt: skip
        spies[name] = Mock(wraps=getattr(module, name))
        monkeypatch.setattr(module, name, spies[name])
    finetuned_tasks.evaluate(where, text_task(60), finetune_config(updates=2))
    seeds = {name: [call.args[-1] for call in spy.call_args_list] for name, spy in spies.items()}
    assert seeds == {name: [1] for name in spies}


@pytest.mark.parametrize("split", [images_of(), text_task(60).train])
def test_each_seed_holds_others_out(split):
    held = [finetuned_tasks.hold_out(split, 0.2, seed)[1].tolist() for seed in (0, 1, 0)]
    assert held[0] == held[2] != held[1]


def test_images_are_never_in_both_parts():
    split = images_of()
    train, held = finetuned_tasks.hold_out(split, 0.2, 0)
    assert len(held) == 12
    assert not set(split.image_N[train]) & set(split.image_N[held])


@pytest.mark.parametrize("seed", range(5))
def test_the_same_share_of_each_class_is_held_out(seed):
    labels = np.repeat([0, 1], [90, 10])
    _, held = finetuned_tasks.hold_out(Split(labels, texts=[("x", None)] * 100), 0.1, seed)
    assert np.bincount(labels[held]).tolist() == [9, 1]


LOG3 = math.log(3)  # sigmoid 0.75
SOFT = SoftLabels(np.array([[0, 1], [2, -1]]), np.array([[1, 0.5], [1, 0]], np.float32), 3)


@pytest.mark.parametrize(
    ("outputs", "targets", "expected"),
    [
        ([[1.0], [4.0]], np.array([0.5, 1.0]), (0.25 + 9) / 2),
        ([[0.0, 0.0], [0.0, LOG3]], np.array([0, 1]), (math.log(2) - math.log(0.75)) / 2),
        (
            [[LOG3, LOG3, -LOG3], [LOG3, 0.0, 0.0]],
            SOFT,
            # targets 1, 0.5, 0 and 0, 0, 1
            (-2.5 * math.log(0.75) - 1.5 * math.log(0.25) + 2 * math.log(2)) / 2,
        ),
    ],
)
def test_losses_by_hand(outputs, targets, expected):
    loss = finetune.loss_of(torch.tensor(outputs), targets)
    assert loss.item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("types", [True, False])
def test_segment_types_are_the_task_s(types):
    seen = set()

    class Watched(FakeBackbone):
        def text_features(self, text_BL, attention_BL, types_BL=None):
            seen.add(types_BL is not None)
            return super().text_features(text_BL, attention_BL)

    pairs = Split(np.arange(40) % 2, texts=[("a cat", "the dog")] * 40)
    task = LabelledTask(pairs, {"dev": pairs}, ["0", "1"])
    config = finetune_config(updates=2, segment_types=types)
    finetuned_tasks.evaluate(context("glue", model=Watched()), task, config)
    assert seen == {types}
