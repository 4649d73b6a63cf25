"""GPUs of one machine, dealt to jobs that run side by side; numbers alone, no GPU is touched."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from flava.errors import ConfigError
from tests.slurm.cluster import wait_until
from workflow.launch import gpus
from workflow.resources import Request

JOB = """
import sys
from pathlib import Path
from tests.workflow.test_launch import Ranked, launch
from workflow.launch import gpus
gpus.ON_GPU = gpus.ON_GPU | {"hold_gpus"}
launch(Ranked("hold_gpus", sys.argv[1]), int(sys.argv[2]), Path("logs").absolute())
"""


class Jobs:
    """Launchers in one folder, which see the given GPUs."""

    def __init__(self, root: Path, folder: Path, visible: str) -> None:
        self.root, self.folder, self.visible = root, folder, visible
        self.started: list[subprocess.Popen[str]] = []

    def start(self, name: str, ranks: int = 1, clone: str = ".") -> subprocess.Popen[str]:
        config = self.folder / name
        (self.folder / clone).mkdir(exist_ok=True)
        config.write_text("{}")
        environment = {**os.environ, "PYTHONPATH": str(self.root)}
        environment["CUDA_VISIBLE_DEVICES"] = self.visible
        environment[gpus.LOCKS] = str(self.folder)  # the machine's own has real jobs' locks
        own = Path(self.folder, f"tmp-{name}")
        own.mkdir()
        environment["TMPDIR"] = str(own)
        process = subprocess.Popen(
            [sys.executable, "-c", JOB, str(config), str(ranks)],
            cwd=self.folder / clone, env=environment, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.started.append(process)
        return process

    def sees(self, name: str, rank: str = "alone") -> str:
        path = self.folder / f"{name}.gpus{rank}"
        wait_until(path.is_file, 300, f"{name} running")
        return path.read_text()

    def end(self, name: str) -> None:
        (self.folder / f"{name}.end").touch()


@contextmanager
def jobs(root: Path, folder: Path, visible: str) -> Iterator[Jobs]:
    found = Jobs(root, folder, visible)
    try:
        yield found
    finally:
        for name in ("a", "b", "c"):
            found.end(name)
        for process in found.started:
            process.communicate(timeout=200)


def test_jobs_side_by_side_have_gpus_of_their_own(root: Path, tmp_path: Path) -> None:
    with jobs(root, tmp_path, "3,5") as running:
        running.start("a")
        first = running.sees("a")
        running.start("b")
        assert sorted([first, running.sees("b")]) == ["3", "5"]
        third = running.start("c")
        assert third.stderr is not None
        assert third.stderr.readline() == "waiting for 1 of the GPUs 3, 5\n"
        running.end("a")
        assert running.sees("c") == first


def test_jobs_of_two_clones_have_gpus_of_their_own(root: Path, tmp_path: Path) -> None:
    with jobs(root, tmp_path, "0,1") as running:
        running.start("a", clone="mine")
        running.start("b", clone="yours")
        assert sorted([running.sees("a"), running.sees("b")]) == ["0", "1"]


TAKE = """
import os, sys
os.environ["CUDA_VISIBLE_DEVICES"] = "0,1"
from workflow.launch import gpus
from workflow.resources import Request
if os.geteuid() == 0:
    os.setuid(int(sys.argv[1]))
os.umask(0o077)
gpus.take("pretrain", Request())
print(os.environ["CUDA_VISIBLE_DEVICES"], flush=True)
input()
"""


def test_users_share_the_gpus_of_a_machine(root: Path) -> None:
    """Root's tests are two users; others' are one, whose files are everybody's to read."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as ends:
        Path(folder).chmod(0o1777)
        environment = {**os.environ, "PYTHONPATH": str(root), gpus.LOCKS: folder}
        said = []
        for user in ("65533", "65534"):
            process = subprocess.Popen(
                [sys.executable, "-c", TAKE, user],
                env=environment, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                text=True,
            )  # fmt: skip
            ends.callback(process.communicate, "\n", 60)
            assert process.stdout is not None
            said.append(process.stdout.readline())
        assert said == ["0\n", "1\n"]
        locks = Path(folder) / gpus.FOLDER
        assert locks.stat().st_mode & 0o7777 == 0o1777
        assert sorted(path.name for path in locks.iterdir()) == ["0", "1", "dealing"]
        assert {path.stat().st_mode & 0o777 for path in locks.iterdir()} == {0o644}


def test_jobs_that_start_at_one_time_have_gpus_of_their_own(root: Path, tmp_path: Path) -> None:
    with jobs(root, tmp_path, "0,1,2") as running:
        for name in ("a", "b", "c"):
            running.start(name)
        assert sorted(running.sees(name) for name in ("a", "b", "c")) == ["0", "1", "2"]


def test_ranks_hold_their_gpus_when_the_launcher_is_killed(root: Path, tmp_path: Path) -> None:
    with jobs(root, tmp_path, "GPU-11,GPU-22") as running:
        launcher = running.start("a", ranks=2)
        assert running.sees("a", "0") == running.sees("a", "1") == "GPU-11,GPU-22"
        launcher.send_signal(signal.SIGKILL)
        launcher.wait(30)
        second = running.start("b")
        assert second.stderr is not None
        assert second.stderr.readline().startswith("waiting for 1 of the GPUs")
        running.end("a")
        assert running.sees("b") == "GPU-11"


def test_more_ranks_than_gpus_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    with pytest.raises(ConfigError, match="4 ranks, but this machine shows 2 GPUs"):
        gpus.take("pretrain", Request(ranks=4))
    gpus.take("hash", Request(ranks=4))  # uses none
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    gpus.take("pretrain", Request(ranks=4))
    assert os.environ["CUDA_VISIBLE_DEVICES"] == ""


def test_locks_are_in_one_place_whatever_a_jobs_folder_for_temporary_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv(gpus.LOCKS, raising=False)
    monkeypatch.setattr(gpus, "PLACE", str(tmp_path))
    found = set()
    for name in ("mine", "yours"):
        (tmp_path / name).mkdir()
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / name))  # as TMPDIR sets it
        found.add(gpus._folder())
    assert found == {tmp_path / gpus.FOLDER} and capsys.readouterr().err == ""


def test_another_place_of_the_locks_is_said_or_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv(gpus.LOCKS, raising=False)
    monkeypatch.setattr(gpus, "PLACE", str(tmp_path / "missing"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert {gpus._folder(), gpus._folder()} == {tmp_path / gpus.FOLDER}
    assert capsys.readouterr().err.count("may take the same GPUs") == 1
    monkeypatch.setenv(gpus.LOCKS, str(tmp_path / "absent"))
    with pytest.raises(ConfigError, match=r"FLAVA_GPU_LOCKS=.*absent is no folder"):
        gpus._folder()
