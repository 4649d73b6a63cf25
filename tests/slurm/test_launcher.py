"""The launcher on a real cluster: ranks, re-attaching, signals, requeues, errors."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.slurm.cluster import Cluster, occupy, wait_until
from tests.slurm.driven import Driven


def accounted(cluster: Cluster, name: str) -> set[str]:
    """Ids of all jobs whose name begins so, ended ones too."""
    lines = cluster.run("sacct", "-X", "-n", "-P", "-o", "JobName,JobID").splitlines()
    return {line.split("|")[1] for line in lines if line.startswith(name)}


def test_two_nodes_with_two_ranks_each_meet(
    cluster: Cluster, drive: Callable[..., Driven], tmp_path: Path
) -> None:
    asked = {"nodes": 2, "ranks": 4, "gpus_per_node": 2, "threads": 3}
    driven = drive(tmp_path, "environment", asked).start()
    assert driven.end() == 0, driven.text
    seen = [json.loads(Path(f"{driven.output}.{rank}").read_text()) for rank in range(4)]
    assert [each["sum"] for each in seen] == [4] * 4
    assert [(each["SLURM_NODEID"], each["LOCAL_RANK"]) for each in seen] == [
        ("0", "0"),
        ("0", "1"),
        ("1", "0"),
        ("1", "1"),
    ]
    # The scheduler's GPUs, whatever the local rank.
    assert {each["CUDA_VISIBLE_DEVICES"] for each in seen} == {"0,1"}
    assert {each["OMP_NUM_THREADS"] for each in seen} == {"3"}


def test_killed_launcher_reattaches_and_submits_nothing_twice(
    cluster: Cluster, drive: Callable[..., Driven], tmp_path: Path
) -> None:
    driven = drive(tmp_path / "reattach", "count", updates=5, held=True).start()
    job = driven.started()
    driven.signal(signal.SIGKILL)
    driven.end()
    assert dict(cluster.jobs())[job] == "RUNNING"
    driven.start().says(f"re-attached to slurm job {job}")
    driven.release()
    assert driven.end() == 0, driven.text
    assert driven.jobs() == [job] and len(driven.starts()) == 2
    assert accounted(cluster, "flava-count-reattach") == {job}


def test_ctrl_c_cancels_and_says_so(
    cluster: Cluster, drive: Callable[..., Driven], tmp_path: Path
) -> None:
    driven = drive(tmp_path, "count", updates=5, held=True).start()
    job = driven.started()
    driven.signal(signal.SIGINT)
    assert driven.end() == 130
    assert f"SIGINT: cancelling job {job}" in driven.text
    wait_until(lambda: job not in dict(cluster.jobs()), 120, "cancelled")
    assert driven.ticket()["status"] == "cancelled"


def test_sigterm_leaves_the_job(
    cluster: Cluster, drive: Callable[..., Driven], tmp_path: Path
) -> None:
    driven = drive(tmp_path, "count", updates=5, held=True).start()
    job = driven.started()
    driven.signal(signal.SIGTERM)
    assert driven.end() == 143
    assert f"job {job} of count goes on" in driven.text
    driven.release()
    kept = f".{driven.output.name}.kept-*"
    wait_until(lambda: any(tmp_path.glob(kept)), 120, "output of the job that was left")
    # It ended while nobody waited, and Snakemake removes outputs before it asks again.
    driven.output.unlink()
    assert driven.start().end() == 0, driven.text
    assert driven.jobs() == [job] and driven.output.is_file()
    assert not any(tmp_path.glob(kept))


def test_requeue_by_scontrol_continues(
    cluster: Cluster, drive: Callable[..., Driven], tmp_path: Path
) -> None:
    driven = drive(tmp_path, "count", updates=5, held=True).start()
    job = driven.started()
    cluster.run("scontrol", "requeue", job)
    driven.started(4)
    driven.release()
    assert driven.end() == 0, driven.text
    assert driven.jobs() == [job]
    assert [each["SLURM_RESTART_COUNT"] for each in driven.starts()][2:] == ["1", "1"]


def test_warning_saves_at_once_and_requeues(
    cluster: Cluster, drive: Callable[..., Driven], tmp_path: Path
) -> None:
    driven = drive(tmp_path, "train", updates=20, held=True).start()
    progress = Path(f"{driven.output}.update")
    wait_until(lambda: progress.is_file() and int(progress.read_text()) > 5, 120, "five updates")
    job = driven.jobs()[-1]
    assert not (tmp_path / "checkpoint").exists()
    cluster.run("scancel", "--signal=USR2", job)
    wait_until((tmp_path / "checkpoint").is_file, 120, "checkpoint on request")
    saved = int((tmp_path / "checkpoint").read_text())
    driven.started(4)
    assert int(progress.read_text()) >= saved > 5
    driven.release()
    assert driven.end() == 0, driven.text
    assert driven.jobs() == [job]


def test_cancelled_by_somebody_is_one_clear_error(
    cluster: Cluster, drive: Callable[..., Driven], tmp_path: Path
) -> None:
    driven = drive(tmp_path, "count", updates=5, held=True).start()
    job = driven.started()
    cluster.run("scancel", job)
    assert driven.end() == 6
    assert f"slurm job {job} of count" in driven.text
    assert "Somebody cancelled it" in driven.text and "state CANCELLED" in driven.text
    assert f"Log: {tmp_path}/jobs/{job}_0_log.err" in driven.text
    assert driven.ticket()["status"] == "failed"


def test_error_of_a_rank_is_told_and_not_retried(
    cluster: Cluster, drive: Callable[..., Driven], tmp_path: Path
) -> None:
    driven = drive(tmp_path, "refuse").start()
    assert driven.end() == 6
    assert "Rank 1 failed: shard-000.tar, member 7: the image is truncated." in driven.text
    assert f"Log: {tmp_path}/jobs/{driven.jobs()[0]}_1_log.err" in driven.text
    assert len(driven.jobs()) == 1


@pytest.mark.parametrize(("deaths", "status"), [(1, 0), (2, 6)])
def test_killed_rank_is_retried_within_the_budget(
    cluster: Cluster, drive: Callable[..., Driven], tmp_path: Path, deaths: int, status: int
) -> None:
    driven = drive(tmp_path, "die", deaths=deaths, budgets={"failures": 1}).start()
    assert driven.end() == status, driven.text
    assert len(driven.jobs()) == 2
    if status:
        assert "budget of 1 failures is used up" in driven.text


def test_refused_request_names_what_was_asked(
    cluster: Cluster, drive: Callable[..., Driven], tmp_path: Path
) -> None:
    driven = drive(tmp_path, "count", {"partition": "gpus"}, updates=1).start()
    assert driven.end() == 6
    assert "invalid partition specified: gpus" in driven.text
    assert "Asked for: ranks 2" in driven.text and "partition gpus" in driven.text


def test_pending_for_ever_ends_at_its_limit(
    cluster: Cluster, drive: Callable[..., Driven], tmp_path: Path
) -> None:
    occupy(cluster)
    budgets = {"pending_hours": 5 / 3600}
    asked = {"gpus_per_node": 1}
    driven = drive(tmp_path, "count", asked, budgets=budgets, updates=1).start()
    assert driven.end() == 6
    assert "in the queue (`pending_hours`): cancelled" in driven.text
    assert "state PENDING" in driven.text
    wait_until(lambda: driven.jobs()[0] not in dict(cluster.jobs()), 120, "cancelled")


def test_driver_inside_a_job_hides_that_job(
    cluster: Cluster,
    drive: Callable[..., Driven],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    outer = {"SLURM_JOB_ID": "1", "SLURM_NTASKS": "7", "SLURM_NNODES": "1", "WORLD_SIZE": "7"}
    for name, value in {**outer, "RANK": "3", "MASTER_ADDR": "nowhere"}.items():
        monkeypatch.setenv(name, value)
    driven = drive(tmp_path, "environment", {"ranks": 4}).start()
    assert driven.end() == 0, driven.text
    assert json.loads(Path(f"{driven.output}.3").read_text())["WORLD_SIZE"] == "4"
