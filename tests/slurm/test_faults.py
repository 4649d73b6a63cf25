"""What a cluster does to jobs, to several at once: each run ends in its valid output.

The controller and the accounting go away and come back, a node is lost, a partition is preempted,
time limits end: the launchers wait it out, and no step runs twice at one time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.slurm.cluster import Cluster, wait_until
from tests.slurm.driven import Driven, launchers

ONE = {"nodes": 1, "ranks": 1}


@pytest.fixture(scope="module")
def faults(slurm: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Driven]]:
    """Launchers, and the faults that their jobs meet, in which none may end before its test."""
    folder = tmp_path_factory.mktemp("faults")
    with launchers() as make:

        def driven(name: str, step: str, defaults: dict[str, object], **job: object) -> Driven:
            made: Driven = make(folder / name, step, defaults, **job)
            made.environment = slurm.environment
            return made.start()

        gpus = {"gpus_per_node": 2}
        low, harsh, spare = ({"partition": name} for name in ("low", "harsh", "spare"))
        stuck = {"updates": 50, "hold": "first start"}
        runs = {
            "warned": driven("warned", "train", gpus | low, updates=50, held=True),
            "preempted": driven("preempted", "count", gpus | harsh, updates=50, held=True),
            # SLURM warns up to 30 s early; ranks that have not started by then would be killed.
            "limited": driven("limited", "train", {"time": "0:02"}, signal_seconds=40, **stuck),
            "deaf": driven("deaf", "count", {**ONE, "time": "0:01"}, **stuck, deaf=True),
            "lost": driven("lost", "count", ONE | spare, updates=50, held=True),
        }
        for name in ("lost", "deaf", "preempted"):
            runs[name].started(1 if name != "preempted" else 2)
        progress = Path(f"{runs['warned'].output}.update")
        wait_until(progress.is_file, 300, "the preemptible run's first update")
        _controller_goes_away(slurm, runs, driven)
        # All GPUs of all nodes, for a moment.
        wants = ["--partition=high", "--nodes=4", "--gpus-per-node=4", "--output=/dev/null"]
        slurm.run("sbatch", *wants, "--wrap=sleep 2")
        job = runs["lost"].jobs()[-1]
        node = slurm.run("squeue", "--noheader", f"--jobs={job}", "--format=%N").strip()
        slurm.lose(node, job)
        yield runs
    slurm.clear()
    slurm.start_node(node)


def _controller_goes_away(
    slurm: Cluster, runs: dict[str, Driven], driven: Callable[..., Driven]
) -> None:
    """Until a submission was refused for want of it."""
    slurm.kill("slurmdbd", 15)
    slurm.kill("slurmctld", 15)
    try:
        runs["early"] = driven("early", "count", ONE, updates=5)
        runs["early"].says("asking again")
    finally:
        slurm.start_slurmdbd()
        slurm.start_controller()


def _released(run: Driven, starts: int) -> int:
    """Exit status of a held run, which may end once it has started so often."""
    run.started(starts)
    run.release()
    return run.end()


def test_warned_before_preemption_saves_and_continues(faults: dict[str, Driven]) -> None:
    run = faults["warned"]
    assert _released(run, 4) == 0, run.text
    assert len(run.jobs()) == 1, run.text
    # It has no checkpoint but the one that the warning asked for.
    assert 0 < int((run.folder / "checkpoint").read_text()) < 50
    assert {each["SLURM_RESTART_COUNT"] for each in run.starts()[2:]} == {"1"}


def test_preempted_without_grace_continues_from_its_checkpoint(faults: dict[str, Driven]) -> None:
    run = faults["preempted"]
    assert _released(run, 4) == 0, run.text
    assert len(run.jobs()) == 1 and len(run.starts()) == 4, run.text


def test_time_limit_with_a_warning_needs_one_job(faults: dict[str, Driven]) -> None:
    run = faults["limited"]
    assert run.end() == 0, run.text
    assert len(run.jobs()) == 1 and len(run.starts()) >= 4, run.text


def test_time_limit_without_a_warning_needs_a_second_job(faults: dict[str, Driven]) -> None:
    run = faults["deaf"]
    assert run.end() == 0, run.text
    assert len(run.jobs()) == 2, run.text
    assert "It reached its time limit. Submitting it again, timeouts: 1" in run.text


def test_lost_node_is_replaced(faults: dict[str, Driven]) -> None:
    run = faults["lost"]
    assert _released(run, 2) == 0, run.text
    assert len(run.starts()) == 2
    assert run.starts()[1]["SLURM_RESTART_COUNT"] == "1" or len(run.jobs()) == 2


def test_submission_waits_for_the_controller(faults: dict[str, Driven]) -> None:
    run = faults["early"]
    assert run.end() == 0, run.text
    assert len(run.jobs()) == 1 and len(run.starts()) == 1
