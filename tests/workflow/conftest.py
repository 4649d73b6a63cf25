"""Fixtures of the workflow's tests."""

from __future__ import annotations

import fcntl
import os
import shutil
from pathlib import Path

import pytest

from tests.workflow.smoke import Project


@pytest.fixture(scope="session")
def finished_smoke(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project whose smoke study has run, for copies alone: all pytest processes share it."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder, outcome = shared / "finished-smoke", shared / "finished-smoke.outcome"
    with open(shared / "finished-smoke.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not outcome.is_file():
            # No --cores: the default profile must be found from the project's folder.
            result = Project.copy(root, folder).snakemake()
            outcome.write_text("" if result.returncode == 0 else result.stderr[-6000:] or "failed")
    assert outcome.read_text() == ""
    return Project(folder)


@pytest.fixture
def in_copy(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Works in a folder with a copy of params/ and no data."""
    shutil.copytree(root / "params", tmp_path / "params")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FLAVA_DATA", raising=False)
    return tmp_path
