"""This machine: N processes through submitit's local executor, with the same questions as SLURM."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from typing import Any

from workflow.launch.slurm import outer_job_hidden
from workflow.launch.states import GONE, JobState
from workflow.launch.step import Step
from workflow.resources import ClusterConfig, Request

NAME = "FLAVA_JOB"  # tells a job's processes from any other with the same number


class Local:
    """A job is a process that controls its ranks; its id is the process's number."""

    kind = "local"

    def __init__(self, cluster: ClusterConfig, folder: Path) -> None:
        self.cluster, self.folder = cluster, folder
        self._process: dict[str, subprocess.Popen[bytes]] = {}

    def submit(self, step: Step, request: Request, name: str) -> str:
        """Starts `request.ranks` processes; returns the number of the one that controls them."""
        import submitit

        executor = submitit.LocalExecutor(self.folder)
        gpus = visible_gpus()
        executor.update_parameters(
            tasks_per_node=request.ranks,
            timeout_min=60 * 24 * 365,
            # submitit always sets CUDA_VISIBLE_DEVICES: to what it was.
            gpus_per_node=len(gpus),
            visible_gpus=gpus,
            setup=self.cluster.setup,
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
        """Interrupts the controlling process, which ends the ranks."""
        if self.state(job).state == "RUNNING":
            os.kill(int(job), signal.SIGINT)
            if process := self._process.get(job):
                process.wait(30)
        return True

    def logs(self, job: str, rank: int) -> tuple[Path, Path]:
        """Output and error files of a rank."""
        stem = f"{job}_{rank}_log"
        return self.folder / f"{stem}.out", self.folder / f"{stem}.err"

    @staticmethod
    def _name(job: str) -> str:
        """Of a living job (Linux); empty: none with this number."""
        try:
            variables = Path(f"/proc/{int(job)}/environ").read_bytes().split(b"\0")
        except (OSError, ValueError):
            return ""
        found = [each for each in variables if each.startswith(f"{NAME}=".encode())]
        return found[0].decode().partition("=")[2] if found else ""


def visible_gpus() -> list[int]:
    """Numbers of the GPUs that a process of this one would see."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is not None:
        return [int(part) for part in given.split(",") if part.strip().isdigit()]
    folder = Path("/proc/driver/nvidia/gpus")
    return list(range(len(list(folder.iterdir())))) if folder.is_dir() else []
