"""What a cluster does to jobs, to several at once: each run ends in its valid output.

The controller and the accounting go away and come back, a node is lost, a partition is preempted,
time limits end: the launchers wait it out, and no step runs twice at one time.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.slurm.cluster import Cluster, wait_until
from tests.slurm.driven import Driven

ONE = {"nodes": 1, "ranks": 1}


@pytest.fixture(scope="module")
def faults(slurm: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Driven]]:
    """Launchers, and the faults that their jobs meet."""
    folder = tmp_path_factory.mktemp("faults")

    def driven(name: str, step: str, defaults: dict[str, object], **job: object) -> Driven:
        made = Driven.make(folder / name, step, defaults, **job)
        made.environment = slurm.environment
        return made.start()

    gpus = {"gpus_per_node": 2}
    runs = {
        "warned": driven("warned", "train", {**gpus, "partition": "low"}, updates=300),
        "preempted": driven("preempted", "count", {**gpus, "partition": "harsh"}, updates=300),
        "limited": driven("limited", "train", {"time": "0:01"}, updates=450),
        "deaf": driven("deaf", "count", {**ONE, "time": "0:01"}, updates=900, deaf=True),
        "lost": driven("lost", "count", {**ONE, "partition": "spare"}, updates=300),
    }
    for name in ("lost", "deaf", "preempted"):
        runs[name].started(1 if name != "preempted" else 2)
    progress = Path(f"{runs['warned'].output}.update")
    wait_until(progress.is_file, 60, "the preemptible run's first update")
    _controller_goes_away(slurm, runs, driven)
    # All GPUs of all nodes, for a moment.
    wants = ["--partition=high", "--nodes=4", "--gpus-per-node=4", "--output=/dev/null"]
    slurm.run("sbatch", *wants, "--wrap=sleep 2")
    job = runs["lost"].jobs()[-1]
    node = slurm.run("squeue", "--noheader", f"--jobs={job}", "--format=%N").strip()
    slurm.lose(node, job)
    yield runs
    for run in runs.values():
        if run.process and run.process.poll() is None:
            run.process.kill()
    slurm.clear()
    slurm.start_node(node)


def _controller_goes_away(slurm: Cluster, runs: dict[str, Driven], driven: object) -> None:
    slurm.kill("slurmdbd", 15)
    slurm.kill("slurmctld", 15)
    runs["early"] = driven("early", "count", ONE, updates=5)  # type: ignore[operator]
    time.sleep(5)
    slurm.start_slurmdbd()
    slurm.start_controller()


def test_warned_before_preemption_saves_and_continues(faults: dict[str, Driven]) -> None:
    run = faults["warned"]
    assert run.end() == 0, run.text
    assert len(run.jobs()) == 1
    # It has no checkpoint but the one that the warning asked for.
    assert 0 < int((run.folder / "checkpoint").read_text()) < 300
    assert {each["SLURM_RESTART_COUNT"] for each in run.starts()[2:]} == {"1"}


def test_preempted_without_grace_continues_from_its_checkpoint(faults: dict[str, Driven]) -> None:
    run = faults["preempted"]
    assert run.end() == 0, run.text
    assert len(run.jobs()) == 1 and len(run.starts()) == 4


def test_time_limit_with_a_warning_needs_one_job(faults: dict[str, Driven]) -> None:
    run = faults["limited"]
    assert run.end(240) == 0, run.text
    assert len(run.jobs()) == 1 and len(run.starts()) >= 4


def test_time_limit_without_a_warning_needs_a_second_job(faults: dict[str, Driven]) -> None:
    run = faults["deaf"]
    assert run.end(240) == 0, run.text
    assert len(run.jobs()) == 2
    assert "It reached its time limit. Submitting it again, timeouts: 1" in run.text


def test_lost_node_is_replaced(faults: dict[str, Driven]) -> None:
    run = faults["lost"]
    assert run.end(240) == 0, run.text
    assert len(run.starts()) == 2
    assert run.starts()[1]["SLURM_RESTART_COUNT"] == "1" or len(run.jobs()) == 2


def test_submission_waits_for_the_controller(faults: dict[str, Driven]) -> None:
    run = faults["early"]
    assert run.end(240) == 0, run.text
    assert len(run.jobs()) == 1 and len(run.starts()) == 1
