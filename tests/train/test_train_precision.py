"""fp16: the loss scale, skipped updates, and that ranks and shards agree on them."""

from __future__ import annotations

import math
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from train_helpers import Source, Tree, clean_log, job, read_log, run_jobs

from flava.config import LoopConfig
from flava.data.batch import Batch
from flava.errors import TrainingError
from flava.models import Flava
from flava.models.transformer import LayerNorm
from flava.objectives import contrastive_loss
from flava.records import load_record
from flava.train.distributed import Ranks
from flava.train.grad_cache import cache_contrastive
from flava.train.precision import LossScale, autocast
from flava.train.pretrain import pretrain
from flava.train.step import compute_gradients
from tests.models.model_cases import ONE_RANK, SMALL, pair_batch, randomise

ALONE = Ranks(0, 1, torch.device("cpu"))
Write = Callable[[Tree], str]


def scale(precision: str = "fp16", **options: Any) -> LossScale:
    plain = {"precision": precision, "loss_scale": options}
    return LossScale(LoopConfig.model_validate(plain))


def test_overflow_halves_and_a_row_of_good_updates_doubles() -> None:
    loss_scale = scale(initial=8.0, growth_updates=2)
    seen = []
    for overflow in (True, False, False, True, False, False):
        loss_scale.update(overflow, 0)
        seen.append(loss_scale.value)
    assert seen == [4, 4, 8, 4, 4, 8]
    assert loss_scale.facts() == {"loss_scale": 8, "skipped_updates": 2}
    other = scale()
    other.load_state(loss_scale.state())
    assert other.state() == loss_scale.state()


def test_too_many_skipped_updates_in_a_row_are_an_error() -> None:
    loss_scale = scale(max_skipped=3, initial=16.0)
    for overflow in (True, True, False, True, True):
        loss_scale.update(overflow, 1)
    with pytest.raises(
        TrainingError,
        match=r"in 3 updates in a row, the last of them number 10, down to a loss scale of 0.5",
    ):
        loss_scale.update(True, 9)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_other_precisions_are_not_scaled(precision: str) -> None:
    loss_scale = scale(precision)
    loss_scale.update(False, 0)
    assert loss_scale.value == 1.0 and loss_scale.facts() == loss_scale.columns() == {}


def test_norms_stay_in_fp32_under_fp16() -> None:
    norm, linear = LayerNorm(8), nn.Linear(8, 8)
    with autocast(torch.device("cpu"), "fp16"):
        half = linear(torch.ones(2, 8))
        assert half.dtype == torch.float16 and norm(half).dtype == torch.float32


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_micro_batches_share_a_contrastive_gradient_of_fp32(precision: str) -> None:
    torch.manual_seed(0)
    model = randomise(Flava(SMALL)).train()
    assert isinstance(model, Flava)
    batches = [pair_batch(SMALL, 4, 10, [1] * 4, seed) for seed in (1, 2)]
    with autocast(torch.device("cpu"), precision):
        cached, loss = cache_contrastive(model, batches, ONE_RANK, 1.0)
        with torch.no_grad():
            images = [model.image_embeddings(each.pixels_BCHW) for each in batches]
            texts = [
                model.text_embeddings(each.text_BL, each.text_attention_BL) for each in batches
            ]
    leaves = [torch.cat(images).requires_grad_(), torch.cat(texts).requires_grad_()]
    expected = contrastive_loss(*leaves, model.logit_scale, None, ONE_RANK)
    gradients = torch.autograd.grad(expected, [*leaves, model.logit_scale])
    found = torch.cat([each.embedding_gradients_2BD for each in cached], dim=1)
    assert torch.equal(loss, expected.detach())
    assert torch.equal(found, torch.stack(gradients[:2]))
    assert torch.equal(model.logit_scale.grad, gradients[2])


def test_the_scale_leaves_the_gradient_as_it_is_or_says_overflow() -> None:
    linear = nn.Linear(4, 1, bias=False)
    source = Source(lambda batch: {"a": linear(torch.full((1, 4), 1e-3)).float().sum()}, "a")
    found = []
    for factor in (1.0, 1024.0, 2.0**30):
        linear.weight.grad = None
        batches = [Batch("texts", keys=["k"])]
        step = compute_gradients(
            [linear.weight], source, batches, ALONE, 0, precision="fp16", scale=factor
        )
        found.append((step.overflow, linear.weight.grad.clone()))
    assert [overflow for overflow, _ in found] == [False, False, True]
    torch.testing.assert_close(found[1][1], found[0][1], rtol=1e-3, atol=0)
    assert not found[2][1].isfinite().all()


def test_a_run_in_fp16_skips_logs_and_counts(run_tree: Tree, write_run: Write) -> None:
    run_tree["pretrain"] |= {
        "precision": "fp16", "log_updates": 1, "loss_scale": {"initial": 2.0**24},
    }  # fmt: skip
    pretrain(write_run(run_tree))
    rows = read_log(run_tree)
    skipped = [int(row["skipped"]) for row in rows]
    count = sum(skipped)
    assert 3 < count < len(rows) and skipped[0] == 1 and skipped[-1] == 0
    for row, skip in zip(rows, skipped, strict=True):
        assert (row["loss"] == "") == (row["grad_norm"] == "") == bool(skip)
    assert float(rows[-1]["loss_scale"]) == 2.0 ** (24 - count)
    record = load_record(Path(run_tree["output"]) / "record.json")
    assert record.extra["skipped_updates"] == count
    assert record.extra["loss_scale"] == 2.0 ** (24 - count)


def test_a_scale_that_never_fits_stops_the_run(run_tree: Tree, write_run: Write) -> None:
    run_tree["pretrain"] |= {
        "precision": "fp16", "loss_scale": {"initial": 1e30, "max_skipped": 4},
        "checkpoint_updates": 1,
    }  # fmt: skip
    with pytest.raises(TrainingError, match=r"overflowed in 4 updates in a row"):
        pretrain(write_run(run_tree))
    assert not (Path(run_tree["output"]) / "record.json").exists()


def test_ranks_and_shards_skip_the_same_updates_and_continue(
    run_tree: Tree, write_run: Write, tmp_path: Path
) -> None:
    """With micro-batches too: the scale reaches the temperature's gradient as well."""
    run_tree["pretrain"] |= {
        "precision": "fp16", "log_updates": 1, "loss_scale": {"initial": 2.0**24},
        "accumulate": 2, "checkpoint_updates": 3,
    }  # fmt: skip
    run_tree["contrastive"]["ranks"] = 2
    trees = []
    for name in ("one", "two", "sharded"):
        paths = {"output": str(tmp_path / name), "checkpoints": str(tmp_path / f"{name}-c")}
        trees.append(run_tree | paths)
    one, two, sharded = (write_run(tree) for tree in trees)
    codes = run_jobs(
        [
            job(one), job(two, 2), job(sharded, 2, "sync:9", "fsdp"),
            job(sharded, 2, sharding="fsdp"),
        ]
    )  # fmt: skip
    assert [code[0] for code in codes] == [0, 0, -signal.SIGKILL, 0]
    logs = [clean_log(tree) for tree in trees]
    skips = [[row["skipped"] for row in log] for log in logs]
    assert skips[0] == skips[1] == skips[2] and 3 < skips[0].count("1") < len(skips[0])
    last = [float(log[-1]["loss"]) for log in logs]
    assert last[1] == pytest.approx(last[0], abs=0.02) and last[2] == pytest.approx(
        last[0], abs=0.02
    )
    assert all(math.isfinite(value) for value in last)
    scales = [float(log[-1]["logit_scale"]) for log in logs]
    assert scales[1] == pytest.approx(scales[0], abs=1e-4)
    assert scales[2] == pytest.approx(scales[0], abs=1e-4)
