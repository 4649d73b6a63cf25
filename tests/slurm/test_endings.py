"""Ends that no second submission helps: one error each, with the job, its state and its logs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.ports import lane
from tests.slurm.cluster import Cluster, limits_memory, occupy, wait_until
from tests.slurm.driven import Driven


@pytest.fixture(params=["kernel", "sampled"])
def strict(
    slurm: Cluster,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> Iterator[Cluster]:
    """A small cluster that holds jobs to their memory; the kernel needs root and control groups."""
    if request.param == "kernel" and not limits_memory():
        pytest.skip("no root, or no control groups of version 1: memory cannot be limited here")
    own = f"127.{1 + lane(250)}.1"  # control groups are named by node: ours alone
    folder = tmp_path_factory.mktemp("strict")
    cluster = Cluster(folder, nodes=1, spare=1, memory=request.param, network=own)
    try:
        cluster.start()
        for name, value in cluster.environment.items():
            monkeypatch.setenv(name, value)
        yield cluster
    finally:
        cluster.stop()


def test_out_of_memory_is_one_clear_error(
    strict: Cluster, drive: Callable[..., Driven], tmp_path: Path
) -> None:
    asked = {"nodes": 1, "ranks": 1, "mem": "300M"}
    driven = drive(tmp_path, "grow", asked).start()
    assert driven.end() == 6, driven.text
    (job,) = driven.jobs()
    assert f"slurm job {job} of grow" in driven.text and "state OUT_OF_MEMORY" in driven.text
    assert "It ran out of memory: raise its `mem` (`rules: grow` in the" in driven.text
    assert f"Log: {tmp_path}/jobs/{job}_0_log.err" in driven.text
    assert driven.ticket()["status"] == "failed" and len(driven.starts()) == 1

    of_the_step = "OUT_OF_MEMORY" if strict.memory == "kernel" else "CANCELLED by 0"

    def accounted() -> bool:
        steps = strict.run("sacct", "-n", "-P", "-o", "JobID,State", "-j", job).splitlines()
        # By the cluster, not by the test.
        return f"{job}.0|{of_the_step}" in steps

    wait_until(accounted, 120, f"the accounting of {job}.0")


def test_deadline_is_one_clear_error(
    cluster: Cluster, drive: Callable[..., Driven], tmp_path: Path
) -> None:
    occupy(cluster)
    driven = drive(tmp_path, "count", {"gpus_per_node": 1}, updates=1).start()
    wait_until(driven.jobs, 120, "a submission")
    (job,) = driven.jobs()
    # Sooner than its time limit would let it end: SLURM gives it up while it waits.
    cluster.run("scontrol", "update", f"JobId={job}", "Deadline=now+5seconds")
    assert driven.end() == 6, driven.text
    assert f"slurm job {job} of count" in driven.text and "state DEADLINE" in driven.text
    assert "SLURM ended it: DEADLINE." in driven.text
    assert "Log: " in driven.text
    assert driven.ticket()["status"] == "failed" and driven.jobs() == [job]
