"""The benchmark runs, and refuses to compare steps that compute different things."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchmarks import step_time
from benchmarks.cases import OBJECTIVES, SIZES
from benchmarks.contestants import UnequalLossesError, check_equal
from benchmarks.step_time import CONTESTANTS, benchmark, header, line, peak_bytes, step_alone, steps

CPU = torch.device("cpu")


def test_all_steps_are_timed_after_equal_losses() -> None:
    names = CONTESTANTS["cpu"]
    found = benchmark("tiny", names, repeats=1, memory=False, device=CPU)
    assert [row["kind"] for row in found["rows"]] == list(OBJECTIVES)
    for row in found["rows"]:
        assert row["seconds"].keys() == set(names)
        assert all(each["min"] > 0 for each in row["seconds"].values())
        assert 0 < row["peak_share"]["ours"] < 1
        assert line(row).count("|") == header(names).splitlines()[0].count("|")


def test_the_page_has_the_targets_and_marks_what_misses_them(root: Path) -> None:
    page = (root / "docs" / "performance.md").read_text()
    for size, heading in (
        ("base", "Base size (Table A.1)"),
        ("small", "Width 192, 4 / 4 / 2 layers"),
    ):
        table = page.partition(heading)[2].partition("\n\n")[2].partition("\n\n")[0]
        for kind, target in SIZES[size].targets.items():
            (row,) = [
                each.split(" | ") for each in table.splitlines() if each.startswith(f"| {kind}")
            ]
            shown, ratio = row[6], float(row[5].strip("*"))
            assert shown == f"{target:.2f}"
            assert ("*" in row[5]) == (ratio > target), kind


@pytest.mark.parametrize("name", CONTESTANTS["cpu"])
def test_each_contestant_steps_alone(name: str) -> None:
    step_alone(SIZES["tiny"], "multimodal", name, CPU)()


def test_peak_memory_is_that_of_the_step_and_not_of_the_process_that_starts_it() -> None:
    held = torch.ones(150_000_000)  # 600 MB in this process, several times the tiny model
    peak = peak_bytes("tiny", "mlm", "ours", CPU)
    assert 1e8 < peak < held.numel() * 4 + 2e8


def test_different_losses_are_refused() -> None:
    expected = {"itm": torch.tensor(0.7)}
    assert check_equal("multimodal", expected, {"itm": torch.tensor(0.700001)}) < 1e-5
    for wrong in (0.7001, float("nan")):
        with pytest.raises(UnequalLossesError, match="loss itm of the multimodal step"):
            check_equal("multimodal", expected, {"itm": torch.tensor(wrong)})


@pytest.mark.parametrize("kind", OBJECTIVES)
def test_a_model_that_computes_something_else_is_not_timed(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = step_time.ours

    def wrong(*arguments: object) -> torch.nn.Module:
        model = right(*arguments)  # type: ignore[arg-type]
        with torch.no_grad():
            model.text_encoder.norm.weight.mul_(1.1)
            model.image_encoder.norm.weight.mul_(1.1)
        return model

    monkeypatch.setattr(step_time, "ours", wrong)
    with pytest.raises(UnequalLossesError):
        steps(SIZES["tiny"], kind, CONTESTANTS["cpu"], CPU)
