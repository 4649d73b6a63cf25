"""One Snakemake at a time in a folder; a killed one holds nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from workflow.lock import BusyError, hold

HOLD = "import sys, workflow.lock as l; l.hold(sys.argv[1]); print('held', flush=True); input()"


def test_second_is_refused_until_the_first_is_killed(root: Path, tmp_path: Path) -> None:
    path = str(tmp_path / "locks/driver.lock")
    first = subprocess.Popen(
        [sys.executable, "-c", HOLD, path],
        cwd=root,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert first.stdout is not None and first.stdin is not None
    assert first.stdout.readline() == "held\n"
    with pytest.raises(BusyError, match="Another Snakemake is at work in this folder"):
        hold(path)
    first.kill()
    first.communicate()
    hold(path)
