"""Submits a step's job or re-attaches to it, waits, and acts on what happens to it."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from flava.io import read_json, sha256_json
from workflow.launch import artifact
from workflow.launch.clock import Clock
from workflow.launch.errors import LaunchError, RefusedError, SilentError
from workflow.launch.judge import Verdict, judge
from workflow.launch.states import GONE, HELD, JobState
from workflow.launch.step import Step, read_reports
from workflow.launch.ticket import (
    Attempt,
    Ticket,
    TicketFile,
    noted,
    refuse_other_cluster,
    unique_name,
)
from workflow.resources import ClusterConfig, Request

# Until a file written on a node is seen here: NFS looks for new names once in 60 s (acdirmax).
OUTPUT_SECONDS = 90.0
LOG_LINES = 15


class Scheduler(Protocol):
    """What runs jobs: SLURM, this machine, or a test's stand-in."""

    kind: str

    def submit(self, step: Step, request: Request, name: str) -> str:
        """Id of a new job; RefusedError where it was not taken."""

    def state(self, job: str) -> JobState:
        """One look at a job."""

    def find(self, name: str) -> str | None:
        """Id of a living job of this name; SilentError where there is no answer."""

    def adopt(self, job: str) -> bool:
        """Whether a job that was found has what it needs."""

    def cancel(self, job: str) -> bool:
        """Ends a job; whether it does."""

    def logs(self, job: str, rank: int) -> tuple[Path, Path]:
        """Output and error files of a rank."""


class Supervisor:
    """One step's jobs, from the first submission to the valid output or the error."""

    def __init__(
        self,
        step: Step,
        request: Request,
        cluster: ClusterConfig,
        scheduler: Scheduler,
        outputs: Sequence[str],
        folder: Path,
        clock: Clock,
        inputs: Sequence[str] = (),
    ) -> None:
        self.request, self.cluster = request, cluster
        self.step = replace(
            step,
            ranks=request.ranks,
            threads=request.threads,
            sharding=request.sharding,
            outputs=tuple(outputs),
        )
        self.scheduler, self.outputs, self.folder = scheduler, outputs, folder
        self.clock, self.budgets = clock, cluster.budgets.of(step.name)
        # A look at a process of this machine costs nothing.
        self.longest = 1.0 if scheduler.kind == "local" else max(0.5, cluster.poll_seconds)
        self.file = TicketFile(step.config)
        self.hash = sha256_json(read_json(step.config))
        self.ticket = Ticket(
            cluster=scheduler.kind, config_sha256=self.hash, inputs=artifact.basis(inputs)
        )

    def run(self) -> None:
        """Returns when the outputs are valid.

        Raises:
            LaunchError: names the job, its state, its logs and their last lines.
        """
        with self.file.held():
            if not self._attach():
                self.ticket = self.ticket.after(self.file.read())
                self._submit()
            while not self._watch():
                pass
            self._close("done")
            artifact.drop(self.outputs)

    @property
    def attempt(self) -> Attempt:
        """The newest submission."""
        return self.ticket.attempts[-1]

    @property
    def job(self) -> str:
        """Its id."""
        return self.attempt.job or ""

    def _attach(self) -> bool:
        """Takes over the job of an earlier launcher, if it is this step's and still counts."""
        found = self.file.read()
        if not found or found.status != "running" or not found.attempts:
            return False
        job, name = found.attempts[-1].job, found.attempts[-1].name
        refuse_other_cluster(self.file, self.scheduler.kind)
        if found.cluster != self.scheduler.kind:
            return False  # a job of this machine, which ended with its launcher
        if job is None:
            job = self._find(name)
            if job is None:
                return False
            if not self.scheduler.adopt(job):
                self._cancel_or_stop(job)
                return False
        state = self.scheduler.state(job)
        if state.name not in ("", name):
            state = GONE  # somebody's later job has its number
        if changed := found.outdated(self.ticket):
            if not state.ended:
                say(f"job {job} was started before {changed} changed: cancelling it")
                self._cancel_or_stop(job)
            return False
        if state.ended and self._invalid(found.attempts[-1]):
            return False
        self.ticket = found
        self._note(state, job)
        say(f"re-attached to {self.scheduler.kind} job {job} ({name}), {state.state}")
        return True

    def _invalid(self, attempt: Attempt) -> str:
        """Why a job that ended has no valid outputs; empty: it has.

        Outputs that were removed since it wrote them are taken back.
        """
        why = artifact.missing(self.outputs, self.step.config)
        reports = read_reports(self._reports(attempt.name), attempt.ranks) if why else []
        well = why and all(report and report.ended == "well" for report in reports)
        if well and artifact.take_back(self.outputs, attempt.name):
            why = artifact.missing(self.outputs, self.step.config)
        return why

    def _submit(self) -> None:
        """Submits; asks again where the scheduler is overloaded or the user at a limit."""
        artifact.drop(self.outputs)  # of jobs that count no more
        name = unique_name(self.step.name, self.step.config)
        first = self.clock.now()
        attempt = Attempt(
            name=name, ranks=self.request.ranks, gpus=self.request.gpus, submitted=first
        )
        # Written before sbatch is asked: killed in between, a later launcher finds the job by name.
        self._keep(attempts=[*self.ticket.attempts, attempt])
        step = self._step(name)
        delay = 5.0
        while True:
            try:
                job = self.scheduler.submit(step, self.request, name)
                break
            except RefusedError as error:
                lost = self._find(name)  # taken, though the answer was lost
                if lost is not None:
                    self._cancel_or_stop(lost)
                waited = self.clock.now() - first
                if not error.later or waited > 3600 * self.budgets.pending_hours:
                    self._close("failed")
                    raise LaunchError(self._refusal(str(error))) from None
                say(f"not submitted yet: {error}; asking again in {delay:.0f} s")
                self.clock.pause(delay)
                if self.clock.pending is not None:
                    self._leave(self.clock.pending)
                delay = min(300.0, 2 * delay)
        self._note(JobState("SUBMITTED"), job)
        logs = self.scheduler.logs(job, 0)[1]
        say(f"{self.scheduler.kind} job {job} ({name}): {self._shape()}, logs {logs} …")

    def _find(self, name: str) -> str | None:
        """Id of a living job of this name; waits for the answer, or a job could be doubled."""
        first, delay = self.clock.now(), 5.0
        while True:
            try:
                return self.scheduler.find(name)
            except SilentError as error:
                doubt = f"{error}. It is not known whether job {name} was taken"
            hours = self.budgets.silent_hours
            if self.clock.now() - first > 3600 * hours:
                raise LaunchError(
                    f"{doubt}, after {hours:g} hours (`silent_hours`). The same command asks again."
                )
            say(f"{doubt}; asking again in {delay:.0f} s")
            self.clock.pause(delay)
            if self.clock.pending is not None:
                # The ticket keeps the name: the next launcher asks first.
                say(f"{signal.Signals(self.clock.pending).name}: the same command asks again")
                raise SystemExit(128 + self.clock.pending)
            delay = min(300.0, 2 * delay)

    def _watch(self) -> bool:
        """Looks at the newest job until it ends or another takes its place; True: done."""
        delay, waits_since, silent_since, held = 0.5, None, None, ""
        while True:
            if self.clock.pending is not None:
                self._leave(self.clock.pending)
            state, now = self.scheduler.state(self.job), self.clock.now()
            silent_since = (silent_since or now) if state.state == "SILENT" else None
            if silent_since is None:
                # Silence tells nothing of the queue: what was waited before it counts on.
                waits_since = (waits_since or now) if state.waits else None
                held = self._tell_hold(state, held)
                self._note(state, self.job)
                verdict = self._judge(state)
                if verdict.action != "wait":
                    return self._act(verdict, state)
            self._check_patience(state, now, waits_since, silent_since)
            self.clock.pause(delay)
            delay = min(self.longest, 1.5 * delay)

    def _tell_hold(self, state: JobState, told: str) -> str:
        """Says that somebody holds the job, where `told` is another reason; the reason now."""
        held = state.reason if state.waits and state.reason in HELD else ""
        if held and held != told:
            say(
                f"job {self.job} is held ({held}): `scontrol release {self.job}` lets it start. "
                f"Waiting for that, at most {self.budgets.pending_hours:g} hours (`pending_hours`)"
            )
        return held

    def _judge(self, state: JobState) -> Verdict:
        if not state.ended:
            return judge(state, [], "it runs", self.ticket, self.budgets, self.step.name)
        reports = read_reports(self._reports(self.attempt.name), self.request.ranks)
        # A step without a record leaves no proof but its good end.
        well = all(report and report.ended == "well" for report in reports)
        # The process that controls local ranks ends well whatever they do.
        unproven = not well and (state.state != "COMPLETED" or self.scheduler.kind == "local")
        missing = self._missing(unproven)
        return judge(state, reports, missing, self.ticket, self.budgets, self.step.name)

    def _missing(self, unproven: bool) -> str:
        why = self._invalid(self.attempt)
        end = self.clock.now() + (0.0 if unproven else OUTPUT_SECONDS)
        while why and self.clock.now() < end and self.clock.pending is None:
            self.clock.pause(1.0)
            why = self._invalid(self.attempt)
        if not why and unproven and not artifact.recorded(self.outputs):
            return "nothing shows that its outputs are whole"
        return why

    def _act(self, verdict: Verdict, state: JobState) -> bool:
        if verdict.action == "done":
            if state.state != "COMPLETED":
                say(f"job {self.job} ended as {state.state}, but its outputs are whole")
            return True
        if verdict.cancel:
            self._cancel_or_stop(self.job)
        if verdict.action == "give up":
            self._close("failed")
            raise LaunchError(self._failure(verdict.why, state))
        assert verdict.kind is not None
        spent = getattr(self.ticket, verdict.kind) + 1
        self._keep(**{verdict.kind: spent})
        head = f"job {self.job} ({state.state}): {verdict.why}"
        say(f"{head} Submitting it again, {verdict.kind}: {spent}")
        self.clock.pause(min(60.0, 5.0 * self.ticket.failures))
        if self.clock.pending is not None:
            self._leave(self.clock.pending)
        self._submit()
        return False

    def _check_patience(
        self, state: JobState, now: float, waits_since: float | None, silent_since: float | None
    ) -> None:
        hours = self.budgets.pending_hours
        if state.waits and waits_since is not None and now - waits_since > 3600 * hours:
            self._cancel_or_stop(self.job)
            self._close("failed")
            why = f"It waited {hours:g} hours in the queue (`pending_hours`): cancelled."
            raise LaunchError(self._failure(why, state))
        hours = self.budgets.silent_hours
        if silent_since is not None and now - silent_since > 3600 * hours:
            why = (
                f"SLURM has not answered for {hours:g} hours (`silent_hours`). The job may still "
                "run: the same command re-attaches to it."
            )
            raise LaunchError(self._failure(why, state))

    def _leave(self, number: int) -> None:
        """Ends this launcher on a signal: Ctrl-C cancels the job, anything else leaves it."""
        word = signal.Signals(number).name
        job = self.ticket.attempts[-1].job if self.ticket.attempts else None
        if job is None:
            self._close("cancelled")
        elif number == signal.SIGINT or self.scheduler.kind == "local":
            say(f"{word}: cancelling job {job} of {self.step.name}; the same command continues")
            self._cancel_or_stop(job)
            self._close("cancelled")
        else:
            say(f"{word}: job {job} of {self.step.name} goes on; the same command re-attaches")
        raise SystemExit(128 + number)

    def _cancel_or_stop(self, job: str) -> None:
        """Cancels a job. A failure leaves the ticket open, so that no second one is submitted."""
        if not self.scheduler.cancel(job):
            raise LaunchError(
                f"{self.scheduler.kind} job {job} of {self.step.name} ({self.step.config}) could "
                f"not be cancelled: no answer. It may go on: the same command finds it, and "
                f"`scancel {job}` ends it."
            )

    def _step(self, name: str) -> Step:
        step = self.step
        earlier = self.ticket.jobs if self.scheduler.kind == "slurm" else []
        told = {"FLAVA_COMMAND": step.command(), "FLAVA_JOB_IDS": ",".join(earlier)}
        return replace(step, reports=self._reports(name), told=tuple(told.items()))

    def _reports(self, name: str) -> str:
        return str((self.folder / name).absolute())

    def _note(self, state: JobState, job: str) -> None:
        attempt = noted(self.attempt, state).model_copy(update={"job": job})
        if attempt != self.attempt:
            self._keep(attempts=[*self.ticket.attempts[:-1], attempt])

    def _close(self, status: str) -> None:
        self._keep(status=status)

    def _keep(self, **changes: object) -> None:
        self.ticket = self.ticket.model_copy(update=changes)
        self.file.write(self.ticket)

    def _shape(self) -> str:
        request = self.request
        nodes = "" if request.nodes == 1 else f" on {request.nodes} nodes"
        gpus = f", {request.gpus_per_node} GPUs a node" if request.gpus_per_node else ""
        return f"{request.ranks} {'rank' if request.ranks == 1 else 'ranks'}{nodes}{gpus}"

    def _refusal(self, message: str) -> str:
        asked = self.request.model_dump(exclude_none=True)
        shown = ", ".join(f"{key} {value}" for key, value in asked.items())
        return (
            f"{self.scheduler.kind} refused the job of {self.step.name} ({self.step.config}): "
            f"{message} Asked for: {shown}. Change the profile's cluster.yaml or `resources`."
        )

    def _failure(self, why: str, state: JobState) -> str:
        facts = [f"state {state.state}"]
        facts += [f"reason {state.reason}"] if state.reason else []
        facts += [f"exit code {state.exit_code}"] if state.exit_code not in ("", "0:0") else []
        facts += [f"nodes {state.nodes}"] if state.nodes else []
        head = f"{self.scheduler.kind} job {self.job} of {self.step.name} ({self.step.config})"
        log, lines = self._told()
        tail = "".join(f"\n  {line}" for line in lines)
        return f"{head} failed: {why}\n{', '.join(facts)}\nLog: {log}{tail}"

    def _told(self) -> tuple[Path, list[str]]:
        """The log of the rank that said most about the failure, and its last lines."""
        found = []
        for rank in range(self.request.ranks):
            log = self.scheduler.logs(self.job, rank)[1]
            if log.is_file():
                lines = log.read_text(errors="replace").strip().splitlines()
                found.append((any("Error" in line for line in lines), log, lines[-LOG_LINES:]))
        best = next((each for each in found if each[0]), found[0] if found else None)
        return (best[1], best[2]) if best else (self.scheduler.logs(self.job, 0)[1], [])


def say(text: str) -> None:
    """One line in the rule's log."""
    print(text, file=sys.stderr, flush=True)
