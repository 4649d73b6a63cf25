"""The count of what a step keeps: linear in the batch, and right where it can be told by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from benchmarks.cases import PADDED_LENGTH, SIZES
from benchmarks.memory import RANKS, STEPS, Memory, header, line, memory, saved_bytes
from flava.models import Flava


class TwoLayers(nn.Module):
    """Saves its input, the first layer's output (for GELU) and GELU's (for the second layer)."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(768, 64), nn.GELU(), nn.Linear(64, 1))

    def forward(self, batch: object, objectives: object, config: object) -> Tensor:
        x: Tensor = self.layers(batch.pixels_BCHW.flatten(1)[:, :768])  # type: ignore[attr-defined]
        return x


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_model_counted_by_hand(precision: str) -> None:
    size = replace(SIZES["tiny"], batch_size=8)
    pixels = 3 * size.config.image_size**2 * 8 * 4  # the whole batch: its view is what is saved
    found = saved_bytes(TwoLayers(), size, ["mim"], PADDED_LENGTH, precision)
    hidden = 2 * 8 * 64
    if precision == "fp32":
        assert found == pixels + 4 * hidden
    else:  # casts are kept: of the input, and of the weight that a gradient flows through
        assert found == 2 * (8 * 768 + hidden + 64)


def test_a_sample_costs_the_same_in_every_batch() -> None:
    model, tiny = Flava(SIZES["tiny"].config), SIZES["tiny"]
    found = [
        saved_bytes(model, replace(tiny, batch_size=n), ["mlm"], PADDED_LENGTH) for n in (4, 8, 16)
    ]
    assert found[2] - found[1] == pytest.approx(2 * (found[1] - found[0]), rel=0.1)


def test_micro_batches_divide_a_rank_s_share_and_fit() -> None:
    found = Memory(state=10_000, sample=100.0)
    assert found.samples(20_000) == 60  # a fifth stays free
    assert found.accumulate(20_000, 960, 8) == 2  # 120 of a rank: 60 at one time
    assert found.accumulate(20_000, 960, 16) == 1
    assert found.accumulate(20_000, 1024, 8) == 4  # 128: 64 do not fit, 3 does not divide
    assert found.samples(1_000) == 0 and found.accumulate(1_000, 960, 8) is None


@pytest.mark.parametrize("name", STEPS)
def test_every_step_is_counted(name: str) -> None:
    found = memory(name, SIZES["tiny"])
    assert found.state > 0 and found.sample > 0
    columns = header(80).splitlines()[0].count("|")
    assert line(name, found, 80).count("|") == columns == 5 + len(RANKS)
    assert torch.is_grad_enabled()
