"""What follows from a job's state: waiting, success, another submission, or one clear error."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from workflow.launch.passing import is_passing
from workflow.launch.states import HOPELESS, LAUNCH_FAILED, JobState
from workflow.launch.step import Report
from workflow.launch.ticket import Ticket
from workflow.modules import BEGIN_ANEW
from workflow.resources import Budgets

TIMED_OUT = "timed-out too many times"  # submitit's words when its count is used up

Action = Literal["wait", "done", "again", "give up"]
Kind = Literal["requeues", "timeouts", "failures"]


@dataclass(frozen=True)
class Verdict:
    """What to do.

    Attributes:
        why: a sentence.
        kind: the budget that another submission is charged to.
        cancel: the job still waits or runs, and must not.
    """

    action: Action
    why: str = ""
    kind: Kind | None = None
    cancel: bool = False


def judge(
    state: JobState,
    reports: Sequence[Report | None],
    missing: str,
    ticket: Ticket,
    budgets: Budgets,
    step: str,
) -> Verdict:
    """Decides from one look at a job.

    Args:
        state: of the job.
        reports: of its ranks.
        missing: why the outputs are not there or not valid; empty: they are.
        ticket: with this state noted in it.
        budgets: of the step.
        step: its name.
    """
    if state.ended and not missing:
        return Verdict("done")
    ended = state.ended
    if ended:
        verdict = _ended(state, reports, missing, ticket.cluster, step)
    else:
        verdict = _living(state, ticket, budgets)
    if verdict.kind is None:
        return verdict
    limit = getattr(budgets, verdict.kind)
    spent = ticket.restarts if verdict.kind == "requeues" else getattr(ticket, verdict.kind)
    if spent >= limit:
        why = f"{verdict.why} The budget of {limit} {verdict.kind} is used up."
        why += _longer(step) if verdict.kind == "timeouts" else ""
        return Verdict("give up", why, cancel=verdict.cancel)
    over = _too_dear(ticket, budgets)
    if not over:
        return verdict
    return Verdict("give up", f"{verdict.why} {over}", cancel=verdict.cancel)


def _living(state: JobState, ticket: Ticket, budgets: Budgets) -> Verdict:
    if state.waits and state.reason in HOPELESS:
        why = (
            f"It can never start: {state.reason}. Change what `resources` or the profile asks for."
        )
        return Verdict("give up", why, cancel=True)
    if state.waits and state.reason in LAUNCH_FAILED:
        return _not_launched(state, ticket)
    if ticket.restarts > budgets.requeues:
        why = f"It was requeued {ticket.restarts} times; the budget is {budgets.requeues} requeues."
        return Verdict("give up", why, cancel=True)
    over = _too_dear(ticket, budgets)
    return Verdict("give up", over, cancel=True) if over else Verdict("wait")


def _not_launched(state: JobState, ticket: Ticket) -> Verdict:
    """One bad node may be to blame: another job may get others, but not again and again."""
    why = f"SLURM could not start it and holds it ({state.reason})."
    if any(each.reason in LAUNCH_FAILED for each in ticket.attempts[:-1]):
        why += " It did so with an earlier job of this step: ask who runs the cluster."
        return Verdict("give up", why, cancel=True)
    return Verdict("again", why, "requeues", cancel=True)


def _too_dear(ticket: Ticket, budgets: Budgets) -> str:
    if budgets.gpu_hours is None or ticket.gpu_hours <= budgets.gpu_hours:
        return ""
    return f"It used {ticket.gpu_hours:.2f} GPU-hours; the budget is {budgets.gpu_hours:g}."


def _longer(step: str) -> str:
    """What helps where more starts do not."""
    if step not in BEGIN_ANEW:
        return ""
    return f" {step} begins anew at each start: {_more('time', step)}."


def _more(key: str, step: str) -> str:
    """Where a key of a step is raised."""
    return f"raise its `{key}` (`rules: {step}` in the profile's cluster.yaml, or `resources`)"


def _ended(
    state: JobState, reports: Sequence[Report | None], missing: str, cluster: str, step: str
) -> Verdict:
    for rank, report in enumerate(reports):
        if report and final(report):
            return Verdict("give up", f"Rank {rank} failed: {report.message}")
    match state.state:
        case "TIMEOUT":
            return Verdict("again", "It reached its time limit.", "timeouts")
        case "NODE_FAIL" | "BOOT_FAIL":
            return Verdict("again", f"A node was lost ({state.nodes or 'unknown'}).", "requeues")
        case "PREEMPTED":
            return Verdict("again", "It was preempted.", "requeues")
        case "CANCELLED":
            who = f" by user {state.by}" if state.by else ""
            return Verdict("give up", f"Somebody cancelled it{who}.")
        case "OUT_OF_MEMORY":
            why = f"It ran out of memory: {_more('mem', step)}, or ask for more nodes."
            return Verdict("give up", why)
        case "DEADLINE" | "REVOKED":
            return Verdict("give up", f"SLURM ended it: {state.state}.")
    if any(report and TIMED_OUT in report.message for report in reports):
        why = f"It reached its time limit as often as `timeouts` allows.{_longer(step)}"
        return Verdict("give up", why)
    if any(report and report.ended == "not requeued" for report in reports):
        return Verdict("again", "It saved and could not requeue itself.", "requeues")
    told = [(rank, report) for rank, report in enumerate(reports) if report and report.message]
    if told:
        rank, report = told[0]
        return Verdict("again", f"Rank {rank} failed: {report.message}.", "failures")
    if state.state == "COMPLETED":
        return Verdict("again", f"It ended well, but {missing}.", "failures")
    gone = "SLURM does not know it any more" if cluster == "slurm" else "Its processes are gone"
    why = gone if state.state == "GONE" else "A rank died"
    why = f"{why}, and {missing}."
    if state.killed:
        why += f" SIGKILL ended it: if that was for want of memory, {_more('mem', step)}."
    return Verdict("again", why, "failures")


def final(report: Report) -> bool:
    """Whether the same error would come again."""
    if report.ended not in ("refused", "crashed"):
        return False
    return not is_passing(report.message)
