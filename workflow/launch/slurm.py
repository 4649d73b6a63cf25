"""SLURM: submits through submitit, asks the controller and then the accounting, cancels."""

from __future__ import annotations

import os
import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from flava.errors import ConfigError
from workflow.launch.errors import RefusedError, SilentError
from workflow.launch.states import GONE, SACCT_FIELDS, SILENT, JobState, from_sacct, from_scontrol
from workflow.launch.step import Step
from workflow.resources import ClusterConfig, Request

# What sbatch says when the same request may be accepted later.
LATER = re.compile(
    r"timed? ?out|unable to contact|socket|temporar|too many|(max|grp)\w*submit|connection"
    r"|zero bytes|try again|communication|slow down|controller",
    re.IGNORECASE,
)
FORGOTTEN = "Invalid job id"  # the controller's word for a job that it does not know (any more)
# What sacct says where there is none, or no accounting to ask.
NO_ACCOUNTING = re.compile(r"no such file|storage is disabled", re.IGNORECASE)
ACCOUNTING_LOOKS = 20  # that a forgotten job gets: 6 minutes at 30 seconds a look
# What slurmstepd says in a rank's log where it killed a step for its memory (OverMemoryKill), of
# which the job's state says nothing.
MEMORY = re.compile(r"slurmstepd\S*: error: .*exceeded (job )?memory limit", re.IGNORECASE)
# Of the job that the driver runs in, if it does; what finds the cluster stays.
KEPT = frozenset({"SLURM_CONF", "SLURM_TIME_FORMAT", "SLURM_CLUSTERS"})
OUTER = ("SLURM_", "SLURMD_", "SRUN_", "SUBMITIT_")
RANKS = ("MASTER_ADDR", "MASTER_PORT", "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")


class Slurm:
    """The cluster that this machine's SLURM commands talk to."""

    kind = "slurm"

    def __init__(self, cluster: ClusterConfig, folder: Path) -> None:
        self.cluster, self.folder = cluster, folder
        self._unanswered: Counter[str] = Counter()

    def submit(self, step: Step, request: Request, name: str) -> str:
        """Submits one job of `request.ranks` ranks; returns its id.

        Raises:
            RefusedError: sbatch refused; says whether it may accept later.
        """
        import submitit

        with outer_job_hidden():
            try:
                # A flat folder: submitit makes '%j' folders only after the job may have started.
                executor = submitit.SlurmExecutor(
                    self.folder, max_num_timeout=self.cluster.budgets.of(step.name).timeouts
                )
                executor.update_parameters(**parameters(step, request, name, self.cluster))
                return str(executor.submit(step).job_id)
            except submitit.core.utils.FailedSubmissionError as error:  # an answer without an id
                raise RefusedError(str(error), later=True) from None
            except (submitit.core.utils.FailedJobError, OSError) as error:  # sbatch's words
                raise refusal(str(error).strip()) from None
            except RuntimeError as error:  # no srun here
                raise ConfigError(
                    f"{error} The profile says `kind: slurm`; use `--profile local`, or start "
                    "Snakemake where sbatch and srun are."
                ) from None

    def state(self, job: str) -> JobState:
        """What the controller says; where it has forgotten the job or is silent, the accounting."""
        found = self._asked(job)
        if found.killed and self._killed_for_memory(job):
            return replace(found, state="OUT_OF_MEMORY")
        return found

    def _killed_for_memory(self, job: str) -> bool:
        logs = self.folder.glob(f"{job}_*_log.err")
        return any(MEMORY.search(log.read_text(errors="replace")) for log in logs)

    def _asked(self, job: str) -> JobState:
        shown = ask("scontrol", "--details", "--oneliner", "show", "job", job)
        if shown.returncode == 0:
            return from_scontrol(shown.stdout)
        forgotten = FORGOTTEN in shown.stderr
        options = ["--duplicates", "--allocations", "--parsable2", "--noheader"]
        told = ask("sacct", *options, f"--format={SACCT_FIELDS}", f"--jobs={job}")
        if forgotten and told.returncode and not NO_ACCOUNTING.search(told.stderr):
            # It may answer at the next look; one that never does must not be waited for for ever.
            self._unanswered[job] += 1
            return SILENT if self._unanswered[job] < ACCOUNTING_LOOKS else GONE
        found = from_sacct(told.stdout) if told.returncode == 0 else GONE
        if found.state == "GONE" or (forgotten and not found.ended):
            return GONE if forgotten else SILENT
        return found

    def find(self, name: str) -> str | None:
        """Id of a waiting or running job of this user with this name, which is unique.

        Raises:
            SilentError: the controller did not answer.
        """
        found = ask("squeue", "--noheader", "--me", f"--name={name}", "--format=%i")
        if found.returncode:
            raise SilentError(f"squeue: {found.stderr.strip()}")
        ids: list[str] = found.stdout.split()
        return ids[0] if ids else None

    def adopt(self, job: str) -> bool:
        """Whether a job that was found has all it needs to run."""
        return (self.folder / f"{job}_submitted.pkl").is_file()

    def cancel(self, job: str) -> bool:
        """Cancels a job; one that has ended stays as it is. False: SLURM did not answer."""
        told = ask("scancel", job)
        if told.returncode == 0 or FORGOTTEN in told.stderr:
            return True
        state = self.state(job)
        return state.ended or state.state == "GONE"

    def logs(self, job: str, rank: int) -> tuple[Path, Path]:
        """Output and error files of a rank."""
        stem = f"{job}_{rank}_log"
        return self.folder / f"{stem}.out", self.folder / f"{stem}.err"


def refusal(words: str) -> RefusedError:
    """What sbatch's error says. One that died without a word, as under load, is asked again."""
    if not words:
        return RefusedError("sbatch ended without a word", later=True)
    return RefusedError(words, later=bool(LATER.search(words)))


def parameters(step: Step, request: Request, name: str, cluster: ClusterConfig) -> dict[str, Any]:
    """The request as submitit writes it into the batch script."""
    threads = [f"export {name}={value}" for name, value in request.thread_variables.items()]
    found: dict[str, Any] = {
        "job_name": name,
        "time": request.minutes,
        "nodes": request.nodes,
        "ntasks_per_node": request.ranks // request.nodes,
        "cpus_per_task": request.threads,
        "signal_delay_s": min(cluster.signal_seconds, 60 * request.minutes // 2),
        "setup": [*threads, *cluster.setup],
        "srun_args": [
            # Since SLURM 22.05 srun does not take sbatch's; a rank would have one core.
            f"--cpus-per-task={request.threads}",
            "--distribution=block",
            "--kill-on-bad-exit=1",  # one lost rank ends the others, which would wait for it
        ],
        # Where a site's default is not to requeue, preempted and failed jobs must be.
        "additional_parameters": {"requeue": True},
    }
    if request.gpus_per_node:
        found["gpus_per_node"] = request.gpus_per_node
    for key in ("mem", "partition", "account", "qos", "constraint"):
        if (value := getattr(request, key)) is not None:
            found[key] = value
    return found


def ask(*command: str, seconds: float = 60.0) -> subprocess.CompletedProcess[str]:
    """Runs a SLURM command; one that is absent or hangs counts as failed."""
    try:
        return subprocess.run(
            command,
            env={**os.environ, "SLURM_TIME_FORMAT": "standard"},
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
            start_new_session=True,  # a Ctrl-C is for the launcher
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return subprocess.CompletedProcess(command, 127, "", str(error))


@contextmanager
def outer_job_hidden() -> Iterator[None]:
    """Without the variables of the job that this process runs in, which sbatch would obey."""
    hidden = {
        name: value
        for name, value in os.environ.items()
        if (name.startswith(OUTER) and name not in KEPT) or name in RANKS
    }
    for name in hidden:
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(hidden)
