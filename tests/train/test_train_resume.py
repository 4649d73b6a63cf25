"""SIGKILL at any moment and the same command again: bit-equal weights and log."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from train_helpers import Tree, clean_log, environment, job, model_bytes, moved, run_jobs

from flava.records import load_record

Write = Callable[[Tree], str]


def test_killed_at_many_points_the_run_ends_bit_equal(
    run_tree: Tree, write_run: Write, tmp_path: Path
) -> None:
    run_tree["pretrain"] |= {"pair_updates": 20, "checkpoint_updates": 4}
    whole, fixed, chance = (moved(run_tree, tmp_path / name) for name in ("a", "b", "c"))
    points = ["sync:5", "half:2", "sync:7", "sync:4", "half:1", "sync:3", "export"]
    seconds = np.random.default_rng(time.time_ns()).uniform(0.05, 0.6, 4).round(3)
    jobs = [job(write_run(whole))]
    jobs += [job(write_run(fixed), plan=plan) for plan in (*points, "none")]
    jobs += [
        job(write_run(chance), plan=plan) for plan in (*map("seconds:{}".format, seconds), "none")
    ]
    codes = run_jobs(jobs)
    assert codes[:9] == [[0], *[[-signal.SIGKILL]] * 7, [0]]
    assert codes[-1] == [0] and {code[0] for code in codes} == {0, -signal.SIGKILL}
    for broken in (fixed, chance):
        assert model_bytes(whole) == model_bytes(broken), (seconds, codes)
        assert clean_log(whole) == clean_log(broken), (seconds, codes)
        left = sorted(path.name for path in Path(broken["checkpoints"]).iterdir())
        assert len(left) == 5 and not [name for name in left if name.endswith("tmp")], left


def start(config: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "flava.train.pretrain", "--config", config],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for_checkpoint(tree: Tree, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 300
    while not list(Path(tree["checkpoints"]).glob("update-*.json")):
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        time.sleep(0.01)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_command_at_once_and_keeps_checkpoints(
    run_tree: Tree, write_run: Write, number: signal.Signals
) -> None:
    run_tree["pretrain"] |= {"pair_updates": 100_000, "checkpoint_updates": 3}
    process = start(write_run(run_tree))
    wait_for_checkpoint(run_tree, process)
    process.send_signal(number)
    _, error = process.communicate(timeout=60)  # its 100,000 updates take far longer
    assert process.returncode == 128 + number
    assert "training stopped; checkpoints are in" in error and "Traceback" not in error
    assert list(Path(run_tree["checkpoints"]).glob("update-*.json"))


def test_the_command_continues_a_killed_run_and_says_where_the_model_is(
    run_tree: Tree, write_run: Write
) -> None:
    run_tree["pretrain"] |= {"pair_updates": 12, "checkpoint_updates": 3}
    config = write_run(run_tree)
    assert run_jobs([job(config, plan="mark:1")]) == [[-signal.SIGKILL]]
    assert not (Path(run_tree["output"]) / "record.json").exists()
    process = start(config)
    output, error = process.communicate(timeout=300)
    assert process.returncode == 0, error
    assert "continuing after update 3" in error
    assert output.splitlines()[-1] == f"model: {run_tree['output']}/model"
    assert load_record(Path(run_tree["output"]) / "record.json").extra["updates"] >= 12


def test_two_ranks_killed_and_continued_are_bit_equal(
    run_tree: Tree, write_run: Write, tmp_path: Path
) -> None:
    run_tree["pretrain"]["checkpoint_updates"] = 3
    run_tree["contrastive"]["ranks"] = 2
    whole, broken = moved(run_tree, tmp_path / "whole"), moved(run_tree, tmp_path / "broken")
    config = write_run(broken)
    other = write_run(moved(run_tree, tmp_path / "other"))
    jobs = [job(write_run(whole), 2), job(config, 2, "sync:7"), job(config, 2)]
    codes = run_jobs([*jobs, job(other, 1, "sync:7"), job(other, 2)])
    assert codes[0] == codes[2] == [0, 0]
    assert codes[3:] == [[-signal.SIGKILL], [0, 0]]  # the number of ranks may change on the way
    assert codes[1][0] == -signal.SIGKILL and codes[1][1] != 0  # the other rank does not hang
    assert model_bytes(whole) == model_bytes(broken)
    assert clean_log(whole) == clean_log(broken)


@pytest.mark.parametrize(("ranks", "update"), [(1, 6), (2, 6), (1, 9), (2, 9)])
def test_asked_in_the_middle_of_an_update_it_saves_at_once(
    run_tree: Tree, write_run: Write, tmp_path: Path, ranks: int, update: int
) -> None:
    """The last of nine updates too: the export may take longer than a scheduler waits."""
    run_tree["pretrain"] |= {"pair_updates": 9, "checkpoint_updates": 1000}
    run_tree["pretrain"] |= {"select_updates": None, "log_updates": 4}
    run_tree["contrastive"]["ranks"] = ranks
    whole, broken = moved(run_tree, tmp_path / "whole"), moved(run_tree, tmp_path / "broken")
    jobs = [job(write_run(broken), ranks, f"ask:{update}"), job(write_run(whole), ranks)]
    codes = run_jobs(jobs)
    assert codes[0][0] == 75 and codes[1] == [0] * ranks
    # The interrupted update is whole: the request waits for its end.
    names = sorted(path.name for path in Path(broken["checkpoints"]).glob("update-*.json"))
    assert names == [f"update-{update:09d}.json"]
    assert run_jobs([job(write_run(broken), ranks)]) == [[0] * ranks]
    assert model_bytes(whole) == model_bytes(broken)
    assert clean_log(whole) == clean_log(broken)
