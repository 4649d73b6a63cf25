"""One Snakemake at a time in a folder; a killed one holds nothing."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.workflow.smoke import Project
from workflow.lock import BusyError, hold

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
