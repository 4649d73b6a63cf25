"""One Snakemake at a time in a folder; a killed one holds nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from flava.io import read_json
from tests.workflow.smoke import Project
from workflow.lock import BusyError, hold

# Another Snakemake plans with other settings between this one's plan and its first job.
BETWEEN = """
import sys
import workflow.configs as configs
begin = configs.begin
def late(study, files):
    import subprocess
    other = [sys.executable, "-m", "snakemake", "-n", "--config", "study=smoke", "seeds=2"]
    assert subprocess.run(other, capture_output=True).returncode == 0
    begin(study, files)
configs.begin = late
sys.argv[1:] = ["--config", "study=smoke"]
from snakemake.cli import main
main()
"""
# Runs until it reads a line.
RACE = """
import sys
from workflow.configs import begin, write_configs
from workflow.lock import BusyError
files = {"results/x/a.json": int(sys.argv[1])}
try:
    write_configs("x", files)
    begin("x", files)
    print("runs", flush=True)
    input()
except BusyError as error:
    print(error, flush=True)
"""
HOLDER = """
import os
from workflow.lock import holder
if os.geteuid() == 0:
    os.setuid(65534)
print(holder("driver.lock"))
"""
HOLD = "import sys, workflow.lock as l; l.hold(*sys.argv[1:]); print('held', flush=True); input()"


@contextmanager
def holding(root: Path, path: Path, study: str) -> Iterator[None]:
    """Another process that runs `study`; killed at the end."""
    first = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path), study],
        cwd=root,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert first.stdout is not None
    assert first.stdout.readline() == "held\n"
    try:
        yield
    finally:
        first.kill()
        first.communicate()


def test_second_is_refused_until_the_first_is_killed(root: Path, tmp_path: Path) -> None:
    path = tmp_path / "locks/driver.lock"
    with (
        holding(root, path, "toy"),
        pytest.raises(BusyError, match="Another Snakemake is at work in this folder"),
    ):
        hold(str(path), "smoke")
    hold(str(path), "smoke")


FORBIDDEN = """
import os, sys
from flava.errors import ForbiddenError
from workflow.configs import begin, write_configs
if os.geteuid() == 0:
    os.setuid(65534)  # whom no file lets write that is not everybody's
for call in (write_configs, begin):
    try:
        call("x", {"results/x/a.json": 1})
    except ForbiddenError as error:
        print(error, flush=True)
"""


def other_user(root: Path, folder: Path, code: str) -> subprocess.CompletedProcess[str]:
    """What Python says in a folder that it may only read."""
    folder.chmod(0o555)  # pytest's are their owner's
    environment = {**os.environ, "PYTHONPATH": str(root)}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def test_another_users_files_are_told_in_a_sentence(root: Path, tmp_path: Path) -> None:
    (tmp_path / ".snakemake").mkdir()
    (tmp_path / ".snakemake/configs.lock").touch(0o444)
    done = other_user(root, tmp_path, FORBIDDEN)
    said = done.stdout.splitlines()
    assert done.returncode == 0 and len(said) == 2, done.stderr
    for line in said:
        assert line.startswith(".snakemake/configs.lock: Permission denied. Does another user")


@pytest.mark.parametrize(("umask", "mode"), [(0o002, 0o664), (0o077, 0o600)])
def test_the_umask_decides_who_may_take_the_lock(
    root: Path, tmp_path: Path, umask: int, mode: int
) -> None:
    path = tmp_path / "driver.lock"
    before = os.umask(umask)
    try:
        with holding(root, path, "toy"):
            assert path.stat().st_mode & 0o777 == mode
    finally:
        os.umask(before)


def test_whoever_may_only_read_the_lock_sees_who_holds_it(root: Path, tmp_path: Path) -> None:
    with holding(root, tmp_path / "driver.lock", "toy"):
        (tmp_path / "driver.lock").chmod(0o444)
        done = other_user(root, tmp_path, HOLDER)
    assert done.stdout == "toy\n", done.stderr


def test_configurations_of_a_running_study_stay(root: Path, tmp_path: Path) -> None:
    project = Project.copy(root, tmp_path)
    assert project.snakemake("-n").returncode == 0
    settings = sorted((project.path / "results/smoke/configs").rglob("*.json"))
    before = [path.read_bytes() for path in settings]
    with holding(root, project.path / ".snakemake/driver.lock", "smoke"):
        assert project.snakemake("-n").returncode == 0
        other = project.snakemake("-n", seeds="2")
        assert other.returncode != 0
        said = other.stdout + other.stderr
        assert "Another Snakemake runs study 'smoke' in this folder" in said
        assert "Traceback" not in said
        assert [path.read_bytes() for path in settings] == before
        busy = project.snakemake()
        said = busy.stdout + busy.stderr
        assert "Another Snakemake is at work in this folder" in said
        assert "Traceback" not in said
    assert project.snakemake("-n", seeds="2").returncode == 0


def test_a_run_whose_configurations_were_changed_while_it_started_is_refused(
    root: Path, tmp_path: Path
) -> None:
    project = Project.copy(root, tmp_path)
    late = project.python("-c", BETWEEN)
    said = late.stdout + late.stderr
    assert late.returncode != 0 and "with other settings while this one started" in said
    assert "Traceback" not in said
    assert not (project.path / "data").exists()  # no job ran


def test_of_four_that_start_at_one_time_one_runs_at_most(root: Path, tmp_path: Path) -> None:
    """... and it runs its own configurations."""
    environment = {**os.environ, "PYTHONPATH": str(root)}
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACE, str(number)],
            cwd=tmp_path,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(4)
    ]
    said = [racer.stdout.readline() for racer in racers if racer.stdout is not None]
    for racer in racers:
        racer.communicate("\n")
    ran = [number for number, line in enumerate(said) if line == "runs\n"]
    refused = [line for line in said if line.startswith("Another Snakemake ")]
    assert len(ran) <= 1 and len(ran) + len(refused) == 4
    if ran:
        assert read_json(tmp_path / "results/x/a.json") == ran[0]
