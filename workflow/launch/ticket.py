"""The record of a step's job, beside its configuration: what a later launcher re-attaches to.

`<config>.job.json` outlives the launcher. While its `status` is `running`, the job belongs to the
step and no second one is submitted.
"""

from __future__ import annotations

import fcntl
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt

from flava.config import Strict
from flava.errors import FlavaError
from flava.io import read_json, write_json
from flava.jobs import parse
from workflow.launch.errors import LaunchError
from workflow.launch.states import JobState


class Attempt(Strict):
    """One submission."""

    name: str = Field(description="of the job: unique")
    job: str | None = Field(None, description="its id; none while sbatch is asked")
    ranks: int = 1
    gpus: NonNegativeInt = 0
    submitted: float = Field(description="time.time()")
    state: str = "SUBMITTED"
    reason: str = ""
    seconds: dict[int, NonNegativeFloat] = Field(
        default_factory=dict, description="run -> seconds; a requeue begins the next run"
    )

    @property
    def restarts(self) -> int:
        """How often the scheduler ran it anew."""
        return max(self.seconds, default=0)

    @property
    def gpu_hours(self) -> float:
        """Of all its runs."""
        return sum(self.seconds.values()) * self.gpus / 3600


class Ticket(Strict):
    """All submissions of a step since it was last asked for.

    Attributes:
        cluster: kind of the scheduler that the jobs' ids belong to.
        config_sha256: of the configuration that the jobs run on.
        inputs: path -> SHA-256 of what else they were started on (`artifact.basis`).
        earlier: ids of jobs before, whose checkpoints these may continue; no budget counts them.
    """

    cluster: str
    config_sha256: str
    inputs: dict[str, str] = Field(default_factory=dict)
    status: Literal["running", "done", "failed", "cancelled"] = "running"
    attempts: list[Attempt] = Field(default_factory=list)
    earlier: list[str] = Field(default_factory=list)
    requeues: NonNegativeInt = Field(0, description="new submissions after preemption or loss")
    timeouts: NonNegativeInt = 0
    failures: NonNegativeInt = 0

    @property
    def jobs(self) -> list[str]:
        """Ids of all jobs on this configuration, oldest first."""
        return [*self.earlier, *(each.job for each in self.attempts if each.job)]

    def after(self, found: Ticket | None) -> Ticket:
        """This new ticket, which takes the place of one that was found: it knows its jobs."""
        if self.attempts or found is None or found.status == "done":
            return self
        if (found.cluster, found.config_sha256) != (self.cluster, self.config_sha256):
            return self
        return self.model_copy(update={"earlier": found.jobs})

    def outdated(self, now: Ticket) -> str:
        """What the jobs were started on and has changed since, by the ticket of a new launcher;
        empty: nothing."""
        if self.config_sha256 != now.config_sha256:
            return "its configuration"
        known = self.inputs.keys() & now.inputs.keys()
        return ", ".join(sorted(path for path in known if self.inputs[path] != now.inputs[path]))

    @property
    def restarts(self) -> int:
        """By the scheduler, and new submissions that took their place."""
        return self.requeues + sum(each.restarts for each in self.attempts)

    @property
    def gpu_hours(self) -> float:
        """Of all jobs, as far as the launcher saw them."""
        return sum(each.gpu_hours for each in self.attempts)


class TicketFile:
    """A step's ticket on disk; one launcher at a time holds it."""

    def __init__(self, config: str) -> None:
        self.path = Path(config.removesuffix(".json") + ".job.json")

    def read(self) -> Ticket | None:
        """The ticket; none, or one that cannot be read: None."""
        if not self.path.is_file():
            return None
        try:
            return parse(Ticket, _int_keys(read_json(self.path)), str(self.path))
        except FlavaError as error:
            raise LaunchError(
                f"{error} It names the step's job: look for it with `squeue --me` first."
            ) from None

    def write(self, ticket: Ticket) -> None:
        """Writes it beside and renames it."""
        write_json(self.path, ticket.model_dump(mode="json"))

    @contextmanager
    def held(self, seconds: float = 20.0) -> Iterator[None]:
        """Keeps other launchers away; waits a little for one that is just ending.

        Raises:
            LaunchError: another launcher waits for this step.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with open(self.path.with_suffix(".lock"), "a", encoding="utf-8") as file:
            end = time.monotonic() + seconds
            while not self._lock(file.fileno()):
                if time.monotonic() > end:
                    raise LaunchError(
                        f"Another launcher waits for this step: it holds {file.name}. "
                        "Is a second Snakemake at work here?"
                    )
                time.sleep(0.2)
            yield

    def _lock(self, number: int) -> bool:
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as error:  # a file system without locks
            print(f"warning: {self.path} cannot be locked ({error})", file=sys.stderr)
        return True


def refuse_other_cluster(file: TicketFile, kind: str) -> None:
    """Keeps a step from running twice at one time, here and on a cluster.

    Raises:
        LaunchError: a job of SLURM may still run, and `kind` is another place.
    """
    found = file.read()
    if found is None or found.status != "running" or not found.attempts:
        return
    if found.cluster == "slurm" and kind != "slurm":
        job, name = found.attempts[-1].job, found.attempts[-1].name
        raise LaunchError(
            f"{file.path}: slurm job {job} of this step may still run. Use the profile `slurm` "
            f"again, or cancel it (`scancel --name={name}`) and delete that file."
        )


def unique_name(step: str, config: str) -> str:
    """Name of a new job: the step, what it works on, and letters that no other job has."""
    path = Path(config)
    stem = path.parent.name if path.name == "config.json" else path.name.split(".")[0]
    if path.parent.name == "evaluate":  # whose configurations lie in their run's folder
        stem = f"{path.parent.parent.name}-{stem}"
    return f"flava-{step}-{stem}-{os.urandom(4).hex()}"


def noted(attempt: Attempt, state: JobState) -> Attempt:
    """The attempt with what was seen of it."""
    seconds = dict(attempt.seconds)
    for run, value in state.seconds.items():
        seconds[run] = max(value, seconds.get(run, 0.0))
    return attempt.model_copy(
        update={"state": state.state, "reason": state.reason, "seconds": seconds}
    )


def _int_keys(value: object) -> object:
    """JSON writes the numbers of runs as text."""
    if isinstance(value, dict):
        for attempt in value.get("attempts", []):
            attempt["seconds"] = {int(k): float(v) for k, v in attempt["seconds"].items()}
    return value
