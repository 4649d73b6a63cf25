"""Runs one step on N ranks: in this process, or through submitit.

    python -m workflow.launch pretrain --config results/toy/runs/flava_c-s0/config.json --ranks 2

One rank runs in this process. More run as one submitit job whose callable is started once a rank;
`cluster` picks the executor.
"""

from __future__ import annotations

import argparse
import ctypes
import importlib
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, get_args

from flava.config import Sharding
from flava.errors import ConfigError, FlavaError, run_cli, unknown_name
from flava.train.interrupt import exit_on_signals

STEPS = {
    "codebook": ("flava.train.codebook", "codebook"),
    "init_mlm": ("flava.train.init_mlm", "pretrain_text"),
    "init_beit": ("flava.train.init_beit", "pretrain_image"),
    "init_dino": ("flava.train.init_dino", "pretrain_image"),
    "pretrain": ("flava.train.pretrain", "pretrain"),
    "evaluate": ("flava.evaluate.run", "evaluate"),
}
CLUSTERS = ("local",)
SHARDINGS = get_args(Sharding)
PR_SET_PDEATHSIG = 1


class LaunchError(FlavaError):
    """A launched job did not end well."""

    exit_code = 6


@dataclass(frozen=True)
class Step:
    """One picklable callable for every rank."""

    name: str
    config: str
    sharding: str = "none"

    def __call__(self) -> None:
        """Runs the step on this rank; submitit's environment tells which one it is."""
        if "SUBMITIT_EXECUTOR" in os.environ:
            from submitit.helpers import TorchDistributedEnvironment

            # Setting CUDA_VISIBLE_DEVICES here would take another job's GPUs on a shared node.
            TorchDistributedEnvironment().export(set_cuda_visible_devices=False)
        options = {} if self.sharding == "none" else {"sharding": self.sharding}
        self.function()(self.config, **options)

    def function(self) -> Callable[..., None]:
        """The step's function, imported only on the rank that runs it."""
        if self.name not in STEPS:
            raise ConfigError(unknown_name("step", self.name, list(STEPS), "workflow.launch"))
        module, function = STEPS[self.name]
        return getattr(importlib.import_module(module), function)  # type: ignore[no-any-return]


def launch(step: Step, ranks: int, folder: Path, cluster: str = "local") -> None:
    """Runs `step` on `ranks` ranks and waits.

    Raises:
        ConfigError: an unknown cluster or a number of ranks below 1.
        LaunchError: a rank failed; names its log.
    """
    if ranks < 1:
        raise ConfigError(f"workflow.launch: --ranks {ranks} must be at least 1.")
    if cluster not in CLUSTERS:
        raise ConfigError(unknown_name("cluster", cluster, list(CLUSTERS), "workflow.launch"))
    if ranks == 1:
        step()
        return
    _submit(step, ranks, folder, cluster)


def _submit(step: Step, ranks: int, folder: Path, cluster: str) -> None:
    import submitit

    # A flat folder: submitit makes '%j' folders only after the job may have started.
    executor = submitit.AutoExecutor(folder=folder, cluster=cluster)
    executor.update_parameters(
        nodes=1, tasks_per_node=ranks, timeout_min=60 * 24 * 365, name=step.name
    )
    job = executor.submit(step)
    print(f"{cluster} job {job.job_id}: {step.name} on {ranks} ranks, logs in {folder}", flush=True)
    _cancel_on_signal(job)
    try:
        job.results()
    except submitit.core.utils.UncompletedJobError as error:
        raise LaunchError(_failure(job, ranks, error)) from None
    except submitit.core.utils.FailedJobError as error:
        raise LaunchError(_failure(job, ranks, error)) from None


def _cancel_on_signal(job: Any) -> None:
    def cancel(number: int, frame: FrameType | None) -> None:
        print(f"signal {number}: cancelling job {job.job_id}", file=sys.stderr, flush=True)
        job.cancel()
        raise SystemExit(128 + number)

    signal.signal(signal.SIGINT, cancel)
    signal.signal(signal.SIGTERM, cancel)


def _failure(job: Any, ranks: int, error: Exception) -> str:
    """Says which job failed, where its logs are, and their last lines."""
    for rank in range(ranks):
        log = Path(str(job.task(rank).paths.stderr))
        lines = log.read_text(errors="replace").strip().splitlines() if log.is_file() else []
        told = [line for line in lines if "Error" in line]
        if told:
            tail = "\n".join(lines[-15:])
            return f"job {job.job_id}, rank {rank} failed: {told[-1]}\nLog: {log}\n{tail}"
    return f"job {job.job_id} failed: {error}"


def _die_with_parent() -> None:
    """Ends this process when Snakemake dies, so that no second waiter starts beside it (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL("libc.so.6", use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def main() -> None:
    """Command-line entry point."""
    parser = argparse.ArgumentParser(description="Run one step on N ranks and wait.")
    parser.add_argument("step", help=f"one of {', '.join(STEPS)}")
    parser.add_argument("--config", required=True, help="resolved configuration (JSON)")
    parser.add_argument("--ranks", type=int, default=1, help="processes, one a GPU or core")
    parser.add_argument("--threads", type=int, default=1, help="cores of all ranks together")
    parser.add_argument("--sharding", default="none", choices=SHARDINGS, help="of the weights")
    parser.add_argument("--cluster", default="local", help=f"one of {', '.join(CLUSTERS)}")
    parser.add_argument("--folder", default="logs/submitit", help="submitit's flat folder")
    arguments = parser.parse_args()
    _die_with_parent()
    # Before torch is imported: more threads than cores slow every job on the machine.
    os.environ["OMP_NUM_THREADS"] = str(max(1, arguments.threads // arguments.ranks))
    step = Step(arguments.step, arguments.config, arguments.sharding)
    if arguments.ranks == 1:
        exit_on_signals(f"{step.name} of {step.config} stopped")
    launch(step, arguments.ranks, Path(arguments.folder), arguments.cluster)


if __name__ == "__main__":
    run_cli(main)
