"""Fixtures shared by all tests."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parents[1]
REAL_DATA = Path(os.environ.get("FLAVA_DATA", ROOT.parent / "shared" / "data"))

os.environ.setdefault("OMP_NUM_THREADS", "1")

# Both limits measure how busy the machine is.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")


@pytest.fixture(scope="session")
def root() -> Path:
    """The project's folder."""
    return ROOT


@pytest.fixture
def params(root: Path, tmp_path: Path) -> Path:
    """A copy of params/ to break."""
    return Path(shutil.copytree(root / "params", tmp_path / "params"))


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of the small real data sets; skips where it is absent."""
    if not REAL_DATA.is_dir():
        pytest.skip(f"no real data sets in {REAL_DATA}; set FLAVA_DATA to their folder")
    os.environ["FLAVA_DATA"] = str(REAL_DATA)
    return REAL_DATA


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Turns a skip into a failure where the data that it asks for must be there."""
    if report.skipped and os.environ.get("FLAVA_REQUIRE_DATA") and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped although FLAVA_REQUIRE_DATA is set: {report.longrepr}"
