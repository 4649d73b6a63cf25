"""Fixtures of the workflow's tests."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest


@pytest.fixture
def in_copy(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Works in a folder with a copy of params/ and no data."""
    shutil.copytree(root / "params", tmp_path / "params")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FLAVA_DATA", raising=False)
    return tmp_path
