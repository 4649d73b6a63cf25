"""Small official releases of vision sets, pictures from the toy world."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from flava.data.toy import layouts_a
from flava.data.toy.write_vision import write_vision_task


@pytest.fixture(scope="session")
def releases(tmp_path_factory) -> Path:
    """A folder with a release of each set; read only."""
    root = tmp_path_factory.mktemp("releases")
    for name in layouts_a.LAYOUTS:
        write_vision_task(root, name, np.random.default_rng(0), 32, 48, 24)
    return root


@pytest.fixture
def release(releases, tmp_path, request) -> Path:
    """A copy of the release of set `request.param`, to break."""
    return Path(shutil.copytree(releases / request.param, tmp_path / request.param))
