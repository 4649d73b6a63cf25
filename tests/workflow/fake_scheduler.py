"""A scheduler that follows a script, and time that passes only where the launcher waits."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from flava.io import read_json, write_json
from flava.records import make_record
from workflow.launch.clock import Clock
from workflow.launch.errors import RefusedError, SilentError
from workflow.launch.states import JobState
from workflow.launch.step import Step
from workflow.launch.supervise import Supervisor
from workflow.resources import Budgets, ClusterConfig, Request

PENDING, RUNNING = JobState("PENDING", reason="Priority"), JobState("RUNNING")
Answer = JobState | Callable[[], JobState]


def running(run: int, seconds: float) -> JobState:
    """In its run with this number."""
    return JobState("RUNNING", seconds={run: seconds})


class FakeClock(Clock):
    """Begins at 0; `signals` maps times to signals that arrive then."""

    def __init__(self, signals: dict[float, int] | None = None) -> None:
        self.pending, self.time, self.signals = None, 0.0, signals or {}

    def now(self) -> float:
        return self.time

    def pause(self, seconds: float) -> None:
        self.time += seconds
        for at, number in self.signals.items():
            if at <= self.time:
                self.pending = number


@dataclass
class FakeScheduler:
    """Jobs are `1`, `2`, …; each look at a job takes the next answer of its script.

    Attributes:
        scripts: of the jobs, in the order of submission; the last answer of one repeats.
        refusals: taken one by one before a job is taken.
        found: what `find` answers.
        silent: how often `find` has no answer first.
        complete: whether a job that was found has its pickle.
    """

    scripts: list[list[Answer]] = field(default_factory=list)
    refusals: list[RefusedError] = field(default_factory=list)
    found: str | None = None
    silent: int = 0
    complete: bool = True
    names: dict[str, str] = field(default_factory=dict)
    steps: dict[str, Step] = field(default_factory=dict)
    cancelled: list[str] = field(default_factory=list)
    answers_cancel: bool = True
    kind: str = "slurm"

    def submit(self, step: Step, request: Request, name: str) -> str:
        if self.refusals:
            raise self.refusals.pop(0)
        job = str(len(self.names) + 1)
        self.names[job], self.steps[job] = name, step
        return job

    def state(self, job: str) -> JobState:
        script = self.scripts[int(job) - 1]
        answer = script.pop(0) if len(script) > 1 else script[0]
        state = answer() if callable(answer) else answer
        return state if state.name else replace(state, name=self.names.get(job, ""))

    def find(self, name: str) -> str | None:
        if self.silent:
            self.silent -= 1
            raise SilentError("squeue: Unable to contact slurm controller")
        return self.found

    def adopt(self, job: str) -> bool:
        return self.complete

    def cancel(self, job: str) -> bool:
        self.cancelled.append(job)
        return self.answers_cancel

    def logs(self, job: str, rank: int) -> tuple[Path, Path]:
        return Path(f"{job}_{rank}_log.out"), Path(f"{job}_{rank}_log.err")


@dataclass
class Case:
    """A step in a folder, and what supervises it."""

    folder: Path
    scheduler: FakeScheduler
    budgets: Budgets = field(default_factory=Budgets)
    request: Request = field(default_factory=Request)
    clock: FakeClock = field(default_factory=FakeClock)
    inputs: tuple[str, ...] = ()
    name: str = "pretrain"

    def __post_init__(self) -> None:
        self.config, self.output = self.folder / "config.json", self.folder / "record.json"
        if not self.config.exists():
            write_json(self.config, {"seed": 0})

    def run(self) -> None:
        step = Step(self.name, str(self.config))
        cluster = ClusterConfig(kind="slurm", budgets=self.budgets)
        Supervisor(
            step,
            self.request,
            cluster,
            self.scheduler,
            [str(self.output)],
            self.folder,
            self.clock,
            self.inputs,
        ).run()

    def finish(self, state: str = "COMPLETED") -> Callable[[], JobState]:
        """An answer: the job has written its record and ended."""

        def answer() -> JobState:
            write_json(self.output, make_record("test", read_json(self.config), time.time()))
            return JobState(state)

        return answer

    def ticket(self) -> dict:
        return read_json(self.folder / "config.job.json")


def left(folder: Path, script: list[JobState]) -> FakeScheduler:
    """A scheduler with job 1, whose launcher was ended by SIGTERM."""
    scheduler = FakeScheduler(scripts=[script])
    case = Case(folder, scheduler, clock=FakeClock({1.0: signal.SIGTERM}))
    with pytest.raises(SystemExit) as caught:
        case.run()
    assert caught.value.code == 143 and scheduler.cancelled == []
    assert case.ticket()["status"] == "running"
    return scheduler
