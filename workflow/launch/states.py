"""What SLURM says of a job, read from `scontrol show job` or `sacct`."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

FIELD = re.compile(r"(?:^|\s)([A-Za-z]\w*)=(\S*)")
TIME = re.compile(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+)")
SACCT_FIELDS = "JobName,State,ElapsedRaw,ExitCode,NodeList,DerivedExitCode"
# Exit codes of a step: that the kernel killed for its memory, and that anybody killed.
OUT_OF_MEMORY, KILLED = "0:125", "0:9"

ENDED = frozenset(
    {
        "COMPLETED",
        "FAILED",
        "CANCELLED",
        "TIMEOUT",
        "NODE_FAIL",
        "PREEMPTED",
        "OUT_OF_MEMORY",
        "BOOT_FAIL",
        "DEADLINE",
        "REVOKED",
    }
)
# Reasons that no waiting ends.
HOPELESS = frozenset(
    {
        "AccountNotAllowed",
        "AssocMaxCpuPerJobLimit",
        "AssocMaxGRESPerJob",
        "AssocMaxMemPerJob",
        "AssocMaxNodePerJobLimit",
        "AssocMaxWallDurationPerJobLimit",
        "BadConstraints",
        "DependencyNeverSatisfied",
        "InvalidAccount",
        "InvalidQOS",
        "PartitionNodeLimit",
        "PartitionTimeLimit",
        "QOSMaxCpuPerJobLimit",
        "QOSMaxGRESPerJob",
        "QOSMaxMemoryPerJob",
        "QOSMaxNodePerJobLimit",
        "QOSMaxWallDurationPerJobLimit",
        "QOSNotAllowed",
    }
)

# Reasons that somebody's `scontrol release` ends.
HELD = frozenset({"JobHeldAdmin", "JobHeldUser", "job_requeued_in_held_state"})
# Reasons of a job that nodes failed to start: SLURM put it back, and holds it for ever.
LAUNCH_FAILED = frozenset({"JobHoldMaxRequeue", "launch_failed_requeued_held"})


@dataclass(frozen=True)
class JobState:
    """One answer.

    Attributes:
        state: SLURM's word; GONE: SLURM knows no such job; SILENT: it did not answer.
        name: of the job.
        reason: why it waits or ended.
        seconds: of its runs, by their number; a requeue begins the next one.
        exit_code: `code:signal`.
        nodes: where it runs or ran.
        by: user id that cancelled it, where that is known.
        killed: SIGKILL ended the step that ran its ranks.
    """

    state: str
    name: str = ""
    reason: str = ""
    seconds: dict[int, float] = field(default_factory=dict)
    exit_code: str = ""
    nodes: str = ""
    by: str = ""
    killed: bool = False

    @property
    def ended(self) -> bool:
        """Whether it will not run any more."""
        return self.state in ENDED or self.state == "GONE"

    @property
    def waits(self) -> bool:
        """Whether it waits for its turn."""
        return self.state in ("PENDING", "REQUEUE_HOLD", "SPECIAL_EXIT", "REQUEUED")

    @property
    def restarts(self) -> int:
        """How often it was requeued."""
        return max(self.seconds, default=0)


GONE, SILENT = JobState("GONE"), JobState("SILENT")


def from_scontrol(text: str) -> JobState:
    """The state in the one line of `scontrol --details --oneliner show job`."""
    found: dict[str, str] = {}
    for name, value in FIELD.findall(text):
        found.setdefault(name, "" if value in ("(null)", "None") else value)
    if "JobState" not in found:
        return SILENT
    run = int(found.get("Restarts", "0") or 0)
    return JobState(
        state=_state(found["JobState"], found.get("DerivedExitCode", "")),
        name=found.get("JobName", ""),
        reason=found.get("Reason", ""),
        seconds={run: seconds(found.get("RunTime", ""))},
        exit_code=found.get("ExitCode", ""),
        nodes=found.get("NodeList", ""),
        killed=found.get("DerivedExitCode") == KILLED,
    )


def from_sacct(text: str) -> JobState:
    """The state in `sacct --duplicates --allocations --parsable2 --noheader`: one line a run.

    Args:
        text: columns as in `SACCT_FIELDS`, oldest run first.
    """
    rows = [line.split("|") for line in text.splitlines() if line.count("|") >= 4]
    if not rows:
        return GONE
    name, state, _, code, nodes, *derived = rows[-1]
    word, _, by = state.partition(" by ")
    word = word.split(" ")[0].rstrip("+")
    return JobState(
        state="PENDING" if word == "REQUEUED" else _state(word, "".join(derived)),
        name=name,
        seconds={run: float(row[2] or 0) for run, row in enumerate(rows)},
        exit_code=code,
        nodes="" if nodes == "None assigned" else nodes,
        by=by,
        killed=derived == [KILLED],
    )


def _state(word: str, derived: str) -> str:
    """The job's own state says FAILED where srun tells the batch script of the killed step."""
    return "OUT_OF_MEMORY" if (word, derived) == ("FAILED", OUT_OF_MEMORY) else word


def seconds(text: str) -> float:
    """Seconds of `[days-][hours:]minutes:seconds`; anything else is none."""
    match = TIME.fullmatch(text)
    if match is None:
        return 0.0
    days, hours, whole, rest = (int(part or 0) for part in match.groups())
    return float(days * 86400 + hours * 3600 + whole * 60 + rest)
