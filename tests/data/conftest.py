"""Fixtures of the data tests."""

from __future__ import annotations

from pathlib import Path

import pytest
from data_helpers import make_corpus, write_raw


@pytest.fixture(scope="session")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny corpus in official formats."""
    folder = tmp_path_factory.mktemp("raw") / "raw"
    write_raw(folder)
    return folder


@pytest.fixture(scope="session")
def corpus(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny corpus, prepared; read only."""
    return make_corpus(raw, tmp_path_factory.mktemp("corpus"))
