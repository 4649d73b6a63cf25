"""This machine: N processes through submitit's local executor, with the same questions as SLURM."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

from workflow.launch import gpus
from workflow.launch.slurm import outer_job_hidden
from workflow.launch.states import GONE, JobState
from workflow.launch.step import Step
from workflow.resources import ClusterConfig, Request

NAME = "FLAVA_JOB"  # tells a job's processes from any other with the same number
# bash replaces itself by the last command of a line, whose number then is not the one that submitit
# expects. It does not where a signal is trapped.
STAY = "trap : USR1"


class Local:
    """A job is a process that controls its ranks; its id is the process's number."""

    kind = "local"

    def __init__(self, cluster: ClusterConfig, folder: Path) -> None:
        self.cluster, self.folder = cluster, folder
        self._process: dict[str, subprocess.Popen[bytes]] = {}

    def submit(self, step: Step, request: Request, name: str) -> str:
        """Starts `request.ranks` processes; returns the number of the one that controls them."""
        import submitit

        gpus.take(step.name, request)
        executor = submitit.LocalExecutor(self.folder)
        executor.update_parameters(
            tasks_per_node=request.ranks,
            timeout_min=60 * 24 * 365,
            setup=[*self.cluster.setup, STAY] if self.cluster.setup else [],
        )
        os.environ.update({**request.thread_variables, NAME: name})
        with outer_job_hidden():
            job: Any = executor.submit(step)
        self._process[str(job.job_id)] = job._process
        return str(job.job_id)

    def state(self, job: str) -> JobState:
        """RUNNING while the process lives; an end says nothing: the ranks' reports do."""
        if process := self._process.get(job):
            code = process.poll()
            if code is None:
                return JobState("RUNNING", self._name(job))
            return JobState("COMPLETED" if code == 0 else "FAILED", exit_code=f"{code}:0")
        name = self._name(job)
        return JobState("RUNNING", name) if name else GONE

    def find(self, name: str) -> str | None:
        """Processes of an earlier launcher are known by their number alone."""
        return None

    def adopt(self, job: str) -> bool:
        """No job is found by name."""
        return False

    def cancel(self, job: str) -> bool:
        """Interrupts the job's processes: the ranks, what controls them, a shell around that."""
        if name := self._name(job):
            for number in self._numbers(name):
                with suppress(ProcessLookupError):
                    os.kill(number, signal.SIGINT)
            if process := self._process.get(job):
                process.wait(30)
        return True

    def logs(self, job: str, rank: int) -> tuple[Path, Path]:
        """Output and error files of a rank."""
        stem = f"{job}_{rank}_log"
        return self.folder / f"{stem}.out", self.folder / f"{stem}.err"

    def _numbers(self, name: str) -> list[int]:
        """Of the living processes of the job of this name (Linux)."""
        numbers = [path.name for path in Path("/proc").iterdir() if path.name.isdigit()]
        return [int(number) for number in numbers if self._name(number) == name]

    @staticmethod
    def _name(job: str) -> str:
        """Of a living job (Linux); empty: none with this number."""
        try:
            variables = Path(f"/proc/{int(job)}/environ").read_bytes().split(b"\0")
        except (OSError, ValueError):
            return ""
        found = [each for each in variables if each.startswith(f"{NAME}=".encode())]
        return found[0].decode().partition("=")[2] if found else ""
