"""`snakemake --profile slurm` on a real cluster: interrupted, killed, continued, and the same."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from flava.params import read_yaml
from tests.slurm.campaign import BUDGETS, NODES, Campaign, change
from tests.slurm.cluster import Cluster, wait_until
from tests.slurm.one_column import one_column
from tests.workflow.smoke import Project

RUN = "results/smoke/runs/flava_no_init-s0"
KINDS = ["rank", "session", "preempt", "node", "requeue"]
EVERY = 4  # updates from one checkpoint to the next
pytestmark = pytest.mark.timeout(1800)  # a hang is told anyway; a slow machine is none


@pytest.fixture(scope="module")
def project(slurm: Cluster, root: Path, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The smoke study with one column, which trains on 2 nodes with 2 ranks each."""
    folder = tmp_path_factory.mktemp("study")
    project = Project.copy(root, folder)
    one_column(folder)
    # The run's jobs wait for the test's word, with the GPUs in their hands.
    wait = f"until [ -e {folder / 'go'} ]; do sleep 0.2; done"
    setup = [f"case $SLURM_JOB_NAME in flava-pretrain-*) {wait};; esac"]
    change(folder / "slurm/cluster.yaml", {"setup": setup})
    return project


@pytest.fixture
def snakemake(project: Project, slurm: Cluster) -> Iterator[list[subprocess.Popen[str]]]:
    """Starts the study in a session of its own; the same command each time."""
    command = [sys.executable, "-m", "snakemake", "--profile", "slurm", "--config", "study=smoke"]
    started: list[subprocess.Popen[str]] = []

    class Starter(list):  # type: ignore[type-arg]
        def start(self) -> subprocess.Popen[str]:
            process = subprocess.Popen(
                command,
                cwd=project.path,
                env={**project.environment(), **slurm.environment, "OMP_NUM_THREADS": "1"},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )
            started.append(process)
            return process

    yield Starter()
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    slurm.clear()


def ticket(project: Project) -> dict:
    path = project.path / RUN / "config.job.json"
    return json.loads(path.read_text()) if path.is_file() else {"status": "", "attempts": []}


def training(project: Project, earlier: str | None = None) -> str:
    """Id of the run's job, once it has one that is not `earlier`."""

    def newest() -> str | None:
        attempts = ticket(project)["attempts"]
        return attempts[-1]["job"] if attempts else None

    wait_until(lambda: newest() not in (None, earlier), 600, "the pretraining job")
    job = newest()
    assert job
    return job


def test_interrupted_killed_and_continued(project: Project, snakemake, slurm: Cluster) -> None:
    log = project.path / "logs/smoke/pretrain/flava_no_init-s0.log"
    first = snakemake.start()
    job = cancelled = training(project)
    os.killpg(first.pid, signal.SIGINT)  # Ctrl-C in a terminal
    first.communicate(timeout=200)
    assert first.returncode != 0
    assert f"SIGINT: cancelling job {job}" in log.read_text()
    wait_until(lambda: job not in dict(slurm.jobs()), 120, "cancelled")

    second = snakemake.start()
    job = training(project, job)
    second.kill()
    second.communicate(timeout=200)
    assert job in dict(slurm.jobs())
    third = snakemake.start()
    attached = f"re-attached to slurm job {job}"
    wait_until(lambda: log.is_file() and attached in log.read_text(), 300, attached)
    (project.path / "go").touch()
    text, _ = third.communicate(timeout=900)
    assert third.returncode == 0, text[-4000:]
    assert [each["job"] for each in ticket(project)["attempts"]] == [job]

    record = json.loads((project.path / RUN / "record.json").read_text())
    assert record["ranks"] == 4 and record["jobs"] == [cancelled, job]
    assert (project.path / RUN / "log.csv").read_text().startswith("update,")
    assert "MNIST" in (project.path / "results/smoke/report/table_c1.html").read_text()
    _same_as_undisturbed(project, 4)


def _same_as_undisturbed(project: Project, ranks: int) -> None:
    """Trains the run once more, in one go and on this machine: equal weights, bit for bit."""
    other = project.path / "undisturbed"
    other.mkdir()
    config = json.loads((project.path / RUN / "config.json").read_text())
    config |= {"output": str(other / "run"), "checkpoints": str(other / "checkpoints")}
    (other / "config.json").write_text(json.dumps(config))
    command = ["-m", "workflow.launch", "pretrain", "--config", str(other / "config.json")]
    done = project.python(*command, "--ranks", str(ranks), "--folder", str(other / "logs"))
    assert done.returncode == 0, done.stderr
    weights = [
        (folder / "model/model.safetensors").read_bytes()
        for folder in (project.path / RUN, other / "run")
    ]
    assert weights[0] == weights[1]
    shutil.rmtree(other)


def test_nothing_is_left_to_do(project: Project, snakemake) -> None:
    again = snakemake.start()
    text, _ = again.communicate(timeout=600)
    assert again.returncode == 0 and "Nothing to be done" in text


def test_faults_change_nothing(project: Project, slurm: Cluster, tmp_path: Path) -> None:
    """A short campaign (tests/slurm/campaign.py): one run, and each fault while it trains.

    It cannot end before the last fault (tests/slurm/held), however fast the machine is.
    """
    again, hits = _to_be_disturbed(project, tmp_path / "again"), tmp_path / "hits"
    target = (f"{RUN}/record.json",)
    campaign = Campaign(again, slurm, list(KINDS), random.Random(0), 4.0, target, hits)
    campaign.run(1200)
    assert {kind for kind, _ in campaign.hits} == set(KINDS) and not campaign.doubled
    record = json.loads((again.path / RUN / "record.json").read_text())
    assert record["ranks"] == 2 and len(record["jobs"]) > 1
    _same_as_undisturbed(again, 2)


def _to_be_disturbed(project: Project, folder: Path) -> Project:
    """A copy of the study with longer training, which has not begun, on 2 nodes.

    It waits after every checkpoint until one more fault has hit: a line of `hits` beside it.
    """
    again = project.duplicate(folder)
    shutil.rmtree(again.path / RUN)
    study = read_yaml(again.path / "params/smoke.yaml")
    updates = {"pair_updates": EVERY * (len(KINDS) + 1), "checkpoint_updates": EVERY}
    study["pretrain"] |= updates
    (again.path / "params/smoke.yaml").write_text(yaml.safe_dump(study))
    held = {
        "FLAVA_TEST_HITS": folder.with_name("hits"),
        "FLAVA_TEST_FAULTS": len(KINDS),
        "FLAVA_TEST_EVERY": EVERY,
        "PYTHONPATH": f"{Path(__file__).with_name('held')}:$PYTHONPATH",
    }
    setup = [f"export {name}={value}" for name, value in held.items()]
    settings = {"budgets": BUDGETS, "rules": NODES, "setup": setup}
    change(again.path / "slurm/cluster.yaml", settings)
    return again
