"""`snakemake --profile slurm` as a process of its own, started by the same command each time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.slurm.cluster import Cluster
from tests.slurm.processes import command_of, end, session_of
from tests.workflow.smoke import Project

COMMAND = [sys.executable, "-m", "snakemake", "--profile", "slurm", "--config", "study=smoke"]


@dataclass
class StudyDriver:
    """Snakemake and its launchers, in a session of their own.

    Attributes:
        targets: files to make; none: all.
        killed: some of it was killed, so that it must be started again.
    """

    project: Project
    cluster: Cluster
    targets: tuple[str, ...] = ()
    process: subprocess.Popen[bytes] | None = None
    killed: bool = False
    starts: int = 0

    @property
    def log(self) -> Path:
        """What all starts print."""
        return self.project.path / "driver.log"

    def start(self) -> None:
        """Starts the command."""
        with open(self.log, "ab") as out:
            self.process = subprocess.Popen(
                [*COMMAND, "--", *self.targets],
                cwd=self.project.path,
                env={**self.project.environment(), **self.cluster.environment},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        self.killed, self.starts = False, self.starts + 1

    @property
    def pid(self) -> int:
        """Of Snakemake, and of its process group."""
        assert self.process
        return self.process.pid

    def ended(self) -> int | None:
        """Snakemake's exit status; None: it runs."""
        assert self.process
        return self.process.poll()

    def launchers(self) -> list[int]:
        """Pids of the launchers that it waits for."""
        return [pid for pid in self.members() if b"workflow.launch" in command_of(pid)]

    def members(self) -> list[int]:
        """Pids of its session."""
        pids = [int(path.name) for path in Path("/proc").glob("[0-9]*")]
        return [pid for pid in pids if session_of(pid) == self.pid]

    def kill(self, all_of_it: bool) -> None:
        """SIGKILL to Snakemake, and to its launchers and all else that it started, or not."""
        if all_of_it:
            os.killpg(self.pid, signal.SIGKILL)
        else:
            os.kill(self.pid, signal.SIGKILL)
        assert self.process
        self.process.wait(30)
        self.killed = True

    def stop(self) -> None:
        """Ends what is left of the session."""
        if self.process is None:
            return
        for pid in self.members():
            end(pid)
        self.process.wait(30)
