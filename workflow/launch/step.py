"""What runs on every rank: one picklable callable, which tells how it ended."""

from __future__ import annotations

import importlib
import os
import shlex
import signal
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Literal

from pydantic import ValidationError

from flava.config import Strict
from flava.errors import (
    ConfigError,
    DataError,
    FlavaError,
    ForbiddenError,
    TrainingError,
    permitted,
    unknown_name,
)
from flava.io import read_json, write_json
from workflow.launch import artifact, gpus
from workflow.launch.planned import check_code
from workflow.modules import MODULES

# Steps whose function takes a configuration and, where ranks meet, how to shard; the others are
# commands of their own.
FUNCTIONS = {
    "codebook": "codebook",
    "init_mlm": "pretrain_text",
    "init_beit": "pretrain_image",
    "init_dino": "pretrain_image",
    "pretrain": "pretrain",
    "evaluate": "evaluate",
}
TAKE_THREADS = frozenset({"hash", "toy_world"})


class NotRequeuedError(FlavaError):
    """A job was told to stop, saved, and could not put itself back into the queue."""


class Report(Strict):
    """How a rank ended, beside its log; absent where it was killed."""

    ended: Literal["well", "refused", "crashed", "not requeued"]
    message: str = ""
    exit_code: int = 0


@dataclass(frozen=True)
class Step:
    """One step of the study on one configuration.

    Attributes:
        name: of the step, as in `workflow.modules.MODULES`.
        config: its resolved configuration.
        ranks: how many processes must meet.
        threads: cores of each.
        reports: where each rank says how it ended: `<reports>_<rank>.json`.
        told: variables that its record reads: the command, the ids of earlier jobs.
        code: file with the fingerprint of the code that it was planned with; None: not checked.
        code_sha256: of that fingerprint.
        outputs: files that it leaves, which rank 0 keeps for a launcher that comes later.
    """

    name: str
    config: str
    sharding: str = "none"
    ranks: int = 1
    threads: int = 1
    reports: str | None = None
    told: tuple[tuple[str, str], ...] = ()
    code: str | None = None
    code_sha256: str | None = None
    outputs: tuple[str, ...] = ()

    def __call__(self) -> None:
        """Runs the step on this rank; submitit's environment tells which one it is."""
        os.environ.update(self.told)
        gpus.keep()
        if self.reports is None:
            self.run()
            return
        path = report_path(self.reports, rank_here())
        path.unlink(missing_ok=True)  # of an earlier run of the same job
        try:
            join_ranks(self.ranks)
            requeue_when_saved()
            with permitted():
                self.run()
            if rank_here() == 0:
                artifact.keep(self.outputs, Path(self.reports).name)
        except NotRequeuedError as error:
            self._tell(path, "not requeued", error)
            raise
        except FlavaError as error:
            self._tell(path, "refused", error)
            raise
        except Exception as error:
            self._tell(path, "crashed", error)
            raise
        _report(path, Report(ended="well"))

    def run(self) -> None:
        """Runs the step in this process.

        Raises:
            FlavaError: as the step's messages say; the code is not the one it was planned with.
        """
        if self.code_sha256 is not None:
            check_code(self.name, self.code, self.code_sha256)
        if self.name in FUNCTIONS:
            options = {} if self.sharding == "none" else {"sharding": self.sharding}
            self.function()(self.config, **options)
            return
        main = self.function()
        threads = ["--threads", str(self.threads)] if self.name in TAKE_THREADS else []
        kept, sys.argv = sys.argv, [self.name, "--config", self.config, *threads]
        try:
            main()
        finally:
            sys.argv = kept

    def command(self) -> str:
        """What runs the same step on this machine; the record has it."""
        asked = f"--ranks {self.ranks} --threads {self.threads} --sharding {self.sharding}"
        return f"python -m workflow.launch {self.name} --config {shlex.quote(self.config)} {asked}"

    def function(self) -> Callable[..., None]:
        """The step's function, imported only on the rank that runs it."""
        if self.name not in MODULES:
            raise ConfigError(unknown_name("step", self.name, list(MODULES), "workflow.launch"))
        module = importlib.import_module(MODULES[self.name])
        return getattr(module, FUNCTIONS.get(self.name, "main"))  # type: ignore[no-any-return]

    def checkpoint(self) -> Any:
        """The same step again: submitit asks for it before it requeues the job."""
        # SLURM sends SIGTERM too; it must not end the `scontrol requeue` that follows.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)

    def _tell(
        self, path: Path, ended: Literal["refused", "crashed", "not requeued"], error: Exception
    ) -> None:
        last = traceback.format_exception_only(error)[-1].strip()
        message = str(error) if isinstance(error, FlavaError) else last
        code = error.exit_code if isinstance(error, FlavaError) else 1
        _report(path, Report(ended=ended, message=message, exit_code=code))


def _report(path: Path, report: Report) -> None:
    """Writes it; where the disk takes it not, how the rank ended stands all the same."""
    try:
        write_json(path, report.model_dump())
    except (OSError, ForbiddenError) as error:
        told = f"warning: the launcher is not told how this rank ended ({report.ended}). {error}"
        print(told, file=sys.stderr, flush=True)


def rank_here() -> int:
    """Number of this rank among all of its job."""
    from submitit import JobEnvironment

    return int(JobEnvironment().global_rank)


def join_ranks(expected: int) -> None:
    """Tells torch who this rank is and where the others are.

    Raises:
        TrainingError: there are more or fewer ranks than were asked for.
    """
    from submitit import JobEnvironment
    from submitit.helpers import TorchDistributedEnvironment

    os.environ["MASTER_PORT"] = str(meeting_port(JobEnvironment().job_id))
    # What a job left that the driver ran in is overwritten. Setting CUDA_VISIBLE_DEVICES here would
    # take another job's GPUs on a shared node.
    environment = TorchDistributedEnvironment().export(
        overwrite=True, set_cuda_visible_devices=False
    )
    if environment.world_size != expected:
        raise TrainingError(
            f"The scheduler started {environment.world_size} ranks, {expected} were asked for. "
            "Does the partition or the job's node count differ from what `resources` says?"
        )


def meeting_port(job: str) -> int:
    """Port on which the ranks of a job meet, the same on all of them.

    submitit's own may be one that Linux deals out to any client (32768 and above).
    """
    restart = int(os.environ.get("SLURM_RESTART_COUNT", "0"))
    return 20_000 + (17 * int(job.replace("_", "")) + restart) % 12_000


def requeue_when_saved() -> None:
    """From now on the scheduler's warning (USR2) lets a training loop save before it is obeyed.

    submitit's own handler would requeue the job in the middle of an update.
    """
    from flava.train.interrupt import save_then  # torch: not for the process that waits

    obey, process = signal.getsignal(signal.SIGUSR2), os.getpid()
    if not callable(obey):
        return

    def requeue() -> None:
        try:
            obey(signal.SIGUSR2, None)
        except Exception as error:  # submitit's, or scontrol's exit status
            raise NotRequeuedError(f"The job saved and could not be requeued: {error}") from error

    def warned(number: int, frame: FrameType | None) -> None:
        if os.getpid() == process:  # not a forked worker, which inherits this
            save_then(requeue)

    signal.signal(signal.SIGUSR2, warned)


def report_path(reports: str, rank: int) -> Path:
    """Where a rank says how it ended."""
    return Path(f"{reports}_{rank}.json")


def read_reports(reports: str, ranks: int) -> list[Report | None]:
    """What each rank said; None: nothing, or a torn file."""
    found: list[Report | None] = []
    for rank in range(ranks):
        try:
            found.append(Report.model_validate(read_json(report_path(reports, rank))))
        except (DataError, ValidationError):
            found.append(None)
    return found
