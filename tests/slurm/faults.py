"""What happens to a study on a cluster: each fault says what it hit, or that there was nothing."""

from __future__ import annotations

import os
import random
import signal
import time
from dataclasses import dataclass, field

from tests.slurm.cluster import Cluster, wait_until
from tests.slurm.processes import command_of, end, processes_of
from tests.slurm.study_driver import StudyDriver

HIT_SECONDS = 30.0  # until a fault that SLURM carries out shows
COLUMNS = {"JobID": 20, "State": 20, "Name": 120, "NodeList": 80, "RestartCnt": 10}


@dataclass(frozen=True)
class Job:
    """A job of the study."""

    id: str
    state: str
    name: str
    restarts: int
    nodes: tuple[str, ...]

    @property
    def step(self) -> str:
        """The step and what it works on: the name without the letters of this submission."""
        return self.name.rpartition("-")[0]


@dataclass
class Faults:
    """Kinds of faults, each a method: it returns what it hit; nothing to hit: an empty text.

    Attributes:
        choice: decides on the victims.
        returning: nodes that are down, and when they come back (`time.monotonic`).
    """

    cluster: Cluster
    driver: StudyDriver
    choice: random.Random
    returning: dict[str, float] = field(default_factory=dict)

    def session(self) -> str:
        """kill -9 of Snakemake and of all that it started."""
        launchers = len(self.driver.launchers())
        self.driver.kill(all_of_it=True)
        return f"Snakemake {self.driver.pid} and {launchers} launchers"

    def snakemake(self) -> str:
        """kill -9 of Snakemake alone: its launchers end by themselves."""
        self.driver.kill(all_of_it=False)
        return f"Snakemake {self.driver.pid}"

    def launcher(self) -> str:
        """kill -9 of one launcher: Snakemake takes its step for failed, and ends later."""
        launchers = self.driver.launchers()
        if not launchers:
            return ""
        pid = self.choice.choice(sorted(launchers))
        os.kill(pid, signal.SIGKILL)
        self.driver.killed = True
        return f"launcher {pid}"

    def rank(self) -> str:
        """kill -9 of one rank."""
        job = self._running()
        found = job and [
            pid for node in job.nodes for pid in self._processes(node, job.id) if is_rank(pid)
        ]
        if not job or not found:
            return ""
        pid = self.choice.choice(found)
        os.kill(pid, signal.SIGKILL)
        return f"pid {pid} of {job.id} ({job.step})"

    def slurmd(self) -> str:
        """kill -9 of a node's daemon alone; what it started goes on."""
        job = self._running()
        if not job:
            return ""
        node = self.choice.choice(job.nodes)
        if not self._kill_daemon(node, self.choice.uniform(0.5, 3.0)):
            return ""
        return f"slurmd of {node}, with {job.id} ({job.step})"

    def node(self) -> str:
        """A node's power: its daemon and all that runs there; it comes back late or early."""
        job = self._running()
        node = self.choice.choice(job.nodes) if job else ""
        if not job or not self._kill_daemon(node, self.choice.choice([1.0, 14.0])):
            return ""
        count = 0
        for other in self.jobs():
            for pid in self._processes(node, other.id) if node in other.nodes else []:
                count += end(pid)
        return f"{node} with {count} processes, {job.id} ({job.step}) among them"

    def requeue(self) -> str:
        """`scontrol requeue`."""
        job = self._running()
        if not job or not self.cluster.ok("scontrol", "requeue", job.id):
            return ""
        return self._hit(job)

    def preempt(self) -> str:
        """A job of a partition with priority takes a whole node of one of ours."""
        job = self._running()
        if not job:
            return ""
        node = self.choice.choice(job.nodes)
        wants = ["--partition=high", f"--nodelist={node}", "--cpus-per-task=64", "--mem=0"]
        wants += ["--output=/dev/null", "--job-name=other", "--wrap=sleep 1"]
        if not self.cluster.ok("sbatch", *wants):
            return ""
        return self._hit(job)

    def warning(self) -> str:
        """The signal that SLURM sends before a time limit or a preemption."""
        job = self._running()
        if not job or not self.cluster.ok("scancel", "--signal=USR2", job.id):
            return ""
        return self._hit(job)

    def bring_back(self) -> None:
        """Starts the daemons whose time has come."""
        for node, when in list(self.returning.items()):
            if time.monotonic() > when:
                del self.returning[node]
                self.cluster.start_node(node)

    def jobs(self) -> list[Job]:
        """All jobs of the study that wait or run."""
        asked = ",".join(f"{name}:{width}" for name, width in COLUMNS.items())
        states = "--states=PENDING,RUNNING"
        text = self.cluster.run("squeue", "--noheader", f"--Format={asked}", states)
        rows = [cells(line) for line in text.splitlines()]
        return [
            Job(job, state, name, int(restarts or 0), self._hosts(nodes))
            for job, state, name, nodes, restarts in rows
            if name.startswith("flava-")
        ]

    def _running(self) -> Job | None:
        found = [job for job in self.jobs() if job.state == "RUNNING"]
        return self.choice.choice(found) if found else None

    def _hit(self, job: Job) -> str:
        """What was hit, once the job does not run any more as it did."""

        def moved() -> bool:
            now = {each.id: each for each in self.jobs()}.get(job.id)
            return now is None or now.state != "RUNNING" or now.restarts > job.restarts

        try:
            wait_until(moved, HIT_SECONDS, "a hit")
        except TimeoutError:
            return ""
        return f"{job.id} ({job.step})"

    def _kill_daemon(self, node: str, seconds: float) -> bool:
        process = self.cluster.processes.get(f"slurmd.{node}")
        if process is None or process.poll() is not None:
            return False
        self.cluster.kill(f"slurmd.{node}", signal.SIGKILL)
        self.returning[node] = time.monotonic() + seconds
        return True

    def _processes(self, node: str, job: str) -> list[int]:
        return processes_of(self.cluster.environment["SLURM_CONF"], node, job)

    def _hosts(self, nodes: str) -> tuple[str, ...]:
        if not nodes:
            return ()
        return tuple(self.cluster.run("scontrol", "show", "hostnames", nodes).split())


def cells(line: str) -> list[str]:
    """The columns of one line of squeue, whose widths are fixed."""
    found, start = [], 0
    for width in COLUMNS.values():
        found.append(line[start : start + width].strip())
        start += width
    return found


def is_rank(pid: int) -> bool:
    """Whether a process of a job is one of its ranks."""
    command = command_of(pid).split(b"\0")
    return b"submitit.core._submit" in command and b"srun" not in command[0]
