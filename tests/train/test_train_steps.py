"""Gradients over ranks, the log, curves and read-ahead, without any data."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import distributed as dist
from torch import nn
from train_helpers import Source, run_ranks

from flava.data.batch import Batch
from flava.errors import TrainingError
from flava.train import distributed
from flava.train.curves import plot_curves
from flava.train.distributed import Ranks, joined_ranks
from flava.train.log import TrainingLog
from flava.train.step import Step, compute_gradients

ALONE = Ranks(0, 1, torch.device("cpu"))


def batch_of(*keys: str) -> Batch:
    return Batch(kind="pairs", keys=list(keys))


def test_equal_micro_batches_count_equally() -> None:
    weight = nn.Parameter(torch.tensor([2.0]))
    factors = iter([1.0, 3.0])

    def losses(batch: Batch) -> dict[str, torch.Tensor]:
        return {"a": weight.sum() * next(factors), "b": weight.sum()}

    batches = [batch_of("x", "y"), batch_of("z", "w")]
    step = compute_gradients([weight], Source(losses, "ab"), batches, ALONE, update=0)
    assert step.losses == {"a": pytest.approx(4.0), "b": pytest.approx(2.0)}
    assert weight.grad is not None and weight.grad.item() == pytest.approx(3.0)
    assert (step.grad_norm, step.samples) == (pytest.approx(3.0), 4)


def test_micro_batches_count_by_their_terms() -> None:
    weight = nn.Parameter(torch.tensor([2.0]))
    factors = {"x": 1.0, "y": 3.0, "z": 50.0}
    counts = {"x": 6, "y": 2, "z": 0}
    batches = [batch_of(key) for key in factors]
    source = Source(lambda batch: {"a": weight.sum() * factors[batch.keys[0]]}, "a", counts)
    step = compute_gradients([weight], source, batches, ALONE, update=0)
    assert step.losses == {"a": pytest.approx(2 * (6 * 1 + 2 * 3) / 8)}
    assert weight.grad is not None and weight.grad.item() == pytest.approx(1.5)


def test_ranks_count_by_their_terms(tmp_path: Path) -> None:
    code = """
import torch
from torch import distributed as dist
from torch import nn
from flava.data.batch import Batch
from flava.errors import DataError
from flava.train.distributed import joined_ranks
from flava.train.step import compute_gradients
from tests.train.train_helpers import Source

with joined_ranks() as ranks:
    weight = nn.Parameter(torch.ones(1))
    losses = lambda batch: {"mlm": weight.sum() * (1 + 2 * ranks.rank)}
    source = Source(losses, ["mlm"], {"k": 3 if ranks.rank else 1})
    step = compute_gradients([weight], source, [Batch("texts", keys=["k"])], ranks, 0)
    assert step.losses == {"mlm": 2.5} and weight.grad.item() == 2.5, (step, weight.grad)
    try:
        none = Source(losses, ["mlm"], {"k": 0})
        compute_gradients([weight], none, [Batch("texts", keys=["k"])], ranks, 6)
    except DataError as error:
        assert "Update 7 has no masked position for the loss mlm, on no rank" in str(error), error
    else:
        raise AssertionError("not refused")
"""
    run_ranks(["-c", code], 2, tmp_path)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_names_update_kind_loss_and_samples(value: float) -> None:
    weight = nn.Parameter(torch.tensor([1.0]))

    def losses(batch: Batch) -> dict[str, torch.Tensor]:
        bad = batch.keys[0] == "bad"
        return {"itm": weight.sum(), "mmm_text": weight.sum() * (value if bad else 1.0)}

    batches = [batch_of("good"), batch_of("bad", "next")]
    with pytest.raises(TrainingError) as caught:
        compute_gradients([weight], Source(losses, ["itm", "mmm_text"]), batches, ALONE, 17)
    message = str(caught.value)
    for part in ("At update 18", "(pairs)", f"mmm_text = {value}", "bad, next", "rank 0"):
        assert part in message
    assert "itm" not in message


def test_a_gradient_that_is_not_finite_stops_too() -> None:
    weight = nn.Parameter(torch.tensor([0.0]))

    def losses(batch: Batch) -> dict[str, torch.Tensor]:
        return {"mim": weight.sqrt().sum()}

    with pytest.raises(TrainingError, match=r"the gradient norm = inf"):
        compute_gradients([weight], Source(losses, ["mim"]), [batch_of("k")], ALONE, update=3)


def test_gradients_of_four_ranks_are_means_and_unused_stay_none(tmp_path: Path) -> None:
    code = """
import torch
from torch import distributed as dist
from torch import nn
from flava.data.batch import Batch
from flava.train import distributed
from flava.train.distributed import joined_ranks
from flava.train.step import compute_gradients
from tests.train.train_helpers import Source

distributed.BUCKET_ELEMENTS = 3  # several buckets
with joined_ranks() as ranks:
    shared, some, unused, big = (nn.Parameter(torch.ones(n)) for n in (2, 2, 2, 5))
    def losses(batch):
        loss = shared.sum() * (ranks.rank + 1) + big.sum() * 2
        return {"a": loss + some.sum() * 4 if ranks.rank == 3 else loss}
    parameters = [shared, some, unused, big]
    source = Source(losses, ["a"])
    step = compute_gradients(parameters, source, [Batch("texts", keys=["k"])], ranks, 0)
    assert torch.equal(shared.grad, torch.full((2,), 2.5)), shared.grad
    assert torch.equal(some.grad, torch.full((2,), 1.0)), some.grad
    assert torch.equal(big.grad, torch.full((5,), 2.0)), big.grad
    assert unused.grad is None
    assert step.samples == 4 and step.losses["a"] == (2 + 4 + 6 + 8 + 8) / 4 + 10, step
"""
    run_ranks(["-c", code], 4, tmp_path)


def test_all_ranks_stop_at_one_ranks_nan(tmp_path: Path) -> None:
    code = """
import torch
from torch import distributed as dist
from torch import nn
from flava.data.batch import Batch
from flava.errors import TrainingError
from flava.train.distributed import joined_ranks
from flava.train.step import compute_gradients
from tests.train.train_helpers import Source

with joined_ranks() as ranks:
    weight = nn.Parameter(torch.ones(1))
    factor = float("nan") if ranks.rank == 1 else 1.0
    loss = lambda batch: {"mlm": weight.sum() * factor}
    try:
        batch = Batch("texts", keys=[f"text{ranks.rank}"])
        compute_gradients([weight], Source(loss, ["mlm"]), [batch], ranks, 5)
    except TrainingError as error:
        assert "mlm = nan on rank 1" in str(error) and "text1" in str(error), error
    else:
        raise AssertionError("not stopped")
"""
    run_ranks(["-c", code], 2, tmp_path)


@pytest.mark.parametrize(
    ("rank", "world", "message"),
    [("2", "2", "RANK is 2 and WORLD_SIZE is 2"), ("x", "1", "RANK is 'x'")],
)
def test_bad_rank_variables_are_refused(
    monkeypatch: pytest.MonkeyPatch, rank: str, world: str, message: str
) -> None:
    monkeypatch.setenv("RANK", rank)
    monkeypatch.setenv("WORLD_SIZE", world)
    with pytest.raises(TrainingError, match=message), joined_ranks():
        pass


def filled_log() -> TrainingLog:
    log = TrainingLog(
        {"pairs": ["itm", "mmm_text"], "texts": ["mlm"]}, every=2, diagnostics=["logit_scale"]
    )
    log.add("pairs", Step({"itm": 1.0, "mmm_text": 3.0}, 2.0, 8), 0.5)
    log.add("texts", Step({"mlm": 6.0}, 4.0, 8), 0.5)
    log.close_window(2, 0.1, {"logit_scale": 2.6})
    log.add("pairs", Step({"itm": 5.0, "mmm_text": 5.0}, 1.0, 8), 0.5)
    return log


def test_log_means_are_over_the_updates_of_a_kind(tmp_path: Path) -> None:
    log = filled_log()
    row = log.rows[0]
    assert row["pairs.itm"] == 1.0 and row["texts.mlm"] == 6.0
    assert row["loss"] == 5.0 and row["grad_norm"] == 3.0
    assert (row["updates.pairs"], row["updates.texts"]) == (1, 1)
    assert (row["samples_per_second"], row["seconds"]) == (16.0, 1.0)
    last = log.close_window(3, 0.05, {"logit_scale": None})
    assert last["texts.mlm"] is None and last["pairs.itm"] == 5.0
    assert log.last_value("texts.mlm") == 6.0
    log.write(tmp_path / "log.csv")
    lines = (tmp_path / "log.csv").read_text().splitlines()
    assert lines[0] == ",".join(log.columns)
    assert lines[2].startswith("3,1,0,5.0,5.0,,")


def test_log_state_carries_a_half_filled_window(tmp_path: Path) -> None:
    log, other = (
        filled_log(),
        TrainingLog({"pairs": ["itm", "mmm_text"], "texts": ["mlm"]}, 2, ["logit_scale"]),
    )
    path = tmp_path / "state.pt"
    torch.save(log.state(), path)
    other.load_state(torch.load(path, weights_only=True))
    assert other.close_window(3, 0.05, {"logit_scale": 1.0}) == log.close_window(
        3, 0.05, {"logit_scale": 1.0}
    )
    other.write(tmp_path / "log.csv")
    appended = TrainingLog({"pairs": ["itm", "mmm_text"], "texts": ["mlm"]}, 2, ["logit_scale"])
    appended.write(tmp_path / "appended.csv")
    for row in other.rows:
        appended.rows.append(row)
        appended.append_last(tmp_path / "appended.csv")
    assert (tmp_path / "log.csv").read_bytes() == (tmp_path / "appended.csv").read_bytes()


def test_curves_of_equal_rows_are_equal_files(tmp_path: Path) -> None:
    log = filled_log()
    log.close_window(3, 0.05, {"logit_scale": None})
    for name in ("a.png", "b.png"):
        plot_curves(log.rows, log.losses, "toy: flava", tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    with Image.open(tmp_path / "a.png") as image:
        assert image.width == 1200  # three panels across


def test_ranks_on_gpus_can_sum_what_lies_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scores and diagnostics are summed from the CPU: NCCL alone refuses them."""
    asked: list[str] = []
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(distributed, "_device", lambda _: torch.device("cuda", 0))
    monkeypatch.setattr(dist, "init_process_group", lambda backend, **_: asked.append(backend))
    monkeypatch.setattr(dist, "destroy_process_group", lambda: None)
    with joined_ranks():
        pass
    assert asked == ["cpu:gloo,cuda:nccl"]
