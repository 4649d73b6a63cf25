"""The benchmark runs, and refuses to compare steps that compute different things."""

from __future__ import annotations

import pytest
import torch

from benchmarks.cases import OBJECTIVES, SIZES
from benchmarks.contestants import UnequalLossesError, check_equal
from benchmarks.step_time import CONTESTANTS, line, peak_bytes, steps, steps_alone, times


@pytest.mark.parametrize("kind", OBJECTIVES)
def test_equal_losses_are_timed(kind: str) -> None:
    found = times(steps(SIZES["tiny"], kind, CONTESTANTS), repeats=1)
    assert found.keys() == set(CONTESTANTS)
    assert all(len(values) == 1 and values[0] > 0 for values in found.values())
    row = {
        "kind": kind, "target": None, "ratio": 0.5,
        "seconds": {name: {"min": values[0]} for name, values in found.items()},
    }  # fmt: skip
    assert line(row).startswith(f"| {kind} | ")


@pytest.mark.parametrize("name", CONTESTANTS)
def test_each_contestant_steps_alone(name: str) -> None:
    steps_alone(SIZES["tiny"], "multimodal", name)()


def test_peak_memory_is_that_of_the_step_and_not_of_the_process_that_starts_it() -> None:
    held = torch.ones(150_000_000)  # 600 MB in this process, several times the tiny model
    peak = peak_bytes("tiny", "mlm", "ours")
    assert 1e8 < peak < held.numel() * 4 + 2e8


def test_different_losses_are_refused() -> None:
    expected = {"itm": torch.tensor(0.7)}
    assert check_equal("multimodal", expected, {"itm": torch.tensor(0.700001)}) < 1e-5
    for wrong in (0.7001, float("nan")):
        with pytest.raises(UnequalLossesError, match="loss itm of the multimodal step"):
            check_equal("multimodal", expected, {"itm": torch.tensor(wrong)})
