"""The cost plan that is printed: every column, with nothing but params/ there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from flava.errors import ConfigError
from tests.workflow.smoke import Project
from workflow.cost import Assumptions, all_seeds, cost_table, is_dry_run
from workflow.plan import Plan


def hours(line: str) -> float:
    """The first figure of the last column."""
    return float(re.split(r"  +", line.strip())[5].split(" ")[0].replace(",", ""))


def test_the_paper_is_planned_without_data(in_copy: Path) -> None:
    table = cost_table(Plan.load("paper")).splitlines()
    columns = [line for line in table if re.match(r" +\d+ [a-z]", line)]
    assert [int(line.split()[0]) for line in columns] == list(range(1, 15))
    assert "published weights, evaluated only" in columns[13] and columns[13].endswith(" 0")
    assert "150,000 pairs + 32,249 images + 31,815 texts" in columns[11]
    inits = [line for line in table if line.startswith("  init ")]
    assert [line.split()[1] for line in inits] == ["beit", "dino", "mlm"]
    (total,) = [line for line in table if line.startswith("  total")]
    parts = sum(hours(line) for line in columns + inits)
    assert hours(total) == pytest.approx(parts, rel=0.005)
    text = "\n".join(table)
    assert "at 40% of 989 TFLOP/s (H100 SXM, dense bf16)" in text
    assert "captions of 12.1 words (Table 2) x 1.25 pieces" in text


def test_seeds_multiply_all_but_the_image_tokenizer(in_copy: Path) -> None:
    one, three = Plan.load("paper"), Plan.load("paper", seeds=3)
    assert "total, 3 seeds" in cost_table(three)
    assert "seeds" not in cost_table(one)
    costs = [all_seeds(plan, Assumptions()).flops for plan in (one, three)]
    assert costs[1] == pytest.approx(3 * costs[0], rel=0.005)  # each seed draws its own schedule


def test_assumptions_scale_the_hours(in_copy: Path) -> None:
    plan = Plan.load("paper")
    (at40,), (at80,) = (
        [line for line in cost_table(plan, a).splitlines() if line.startswith("  total")]
        for a in (Assumptions(), Assumptions(utilisation=0.8))
    )
    assert hours(at40) == pytest.approx(2 * hours(at80), rel=0.01)


@pytest.mark.parametrize(
    "bad",
    [
        {"utilisation": 0.0},
        {"utilisation": 40.0},
        {"utilisation": float("nan")},
        {"peak": -1.0},
        {"pieces_per_word": 0.0},
    ],
)
def test_impossible_assumptions_are_refused(in_copy: Path, bad: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=r"Give a number above 0|must be a positive number"):
        cost_table(Plan.load("paper"), Assumptions(**bad))


def test_stand_in_of_the_released_clip_is_trained(in_copy: Path) -> None:
    (line,) = [x for x in cost_table(Plan.load("toy")).splitlines() if " 14 " in x]
    assert "(a stand-in)" in line


def test_command_line(root: Path, in_copy: Path) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "workflow.cost", *arguments]
        return subprocess.run(
            command, capture_output=True, text=True, check=False, env={"PYTHONPATH": str(root)}
        )

    done = run("paper", "--peak-tflops", "312", "--gpu", "A100", "--utilisation", "0.5")
    assert done.returncode == 0, done.stderr
    assert "at 50% of 312 TFLOP/s (A100)" in done.stdout
    for arguments in (("papper",), ("paper", "--seeds", "x"), ("paper", "--utilisation", "7")):
        done = run(*arguments)
        assert done.returncode == ConfigError.exit_code
        assert done.stderr.startswith("error: ") and "Traceback" not in done.stderr


def test_dry_run_of_the_paper_says_it(root: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.delenv("FLAVA_DATA", raising=False)
    project = Project.copy(root, tmp_path)
    result = project.snakemake("--dry-run", study="paper")
    assert result.returncode == 0, result.stderr
    assert "12 flava_dino" in result.stderr.rsplit("Cost of study 'paper'", 1)[1]
    assert "Cost of study" not in project.snakemake("--dry-run", study="toy").stderr


@pytest.mark.parametrize("asks", ["-n", "-np", "-pn", "--dry-run", "--dryrun"])
def test_all_spellings_of_a_dry_run(asks: str) -> None:
    assert is_dry_run(["snakemake", asks])
    assert not is_dry_run(["snakemake", "-p", "--cores", "n", "--config", "study=mini"])


def test_a_run_says_the_whole_plan_before_its_first_job(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLAVA_DATA", str(tmp_path / "nothing"))
    project = Project.copy(root, tmp_path)
    done = project.snakemake("--until", "tokenizer", study="mini")
    assert done.returncode != 0  # there are no data
    before, _, after = done.stderr.partition("Disk, estimated from sizes:")
    assert "By column, checkpoints at most:" in before and "Error in rule" not in before
    assert "Error in rule tokenizer" in after
