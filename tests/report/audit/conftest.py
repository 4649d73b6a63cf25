"""The paper's tables as they are, and a copy of them to spoil."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from flava.report.audit.finding import Finding
from flava.report.audit.run import audit

PARAMS = Path(__file__).parents[3] / "params"


@pytest.fixture(scope="package")
def found() -> list[Finding]:
    """Of the paper as it is."""
    return audit(PARAMS)


@pytest.fixture
def params(tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    shutil.copy(PARAMS / "tasks.yaml", tmp_path)
    shutil.copytree(PARAMS / "paper", tmp_path / "paper")
    return tmp_path
