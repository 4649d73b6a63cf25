"""Runs one step on N ranks and waits for its outputs.

    python -m workflow.launch pretrain --config results/toy/runs/flava_c-s0/config.json --ranks 2

Without settings, one rank runs in this process and more run as processes of this machine.
With `--settings workflow/profiles/slurm/cluster.yaml` the step is a job of the cluster.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from flava.config import Sharding
from flava.errors import ConfigError, run_cli, unknown_name
from flava.io import read_json, sha256_json
from flava.params import read_yaml
from workflow.launch import artifact, gpus
from workflow.launch.errors import LaunchError
from workflow.launch.step import Step
from workflow.launch.ticket import TicketFile, refuse_other_cluster
from workflow.modules import MODULES
from workflow.resources import (
    ClusterConfig,
    LaunchSettings,
    Request,
    Resources,
    launch_settings,
    resolve,
)

PR_SET_PDEATHSIG = 1


def launch(
    step: Step,
    request: Request,
    cluster: ClusterConfig,
    outputs: Sequence[str] = (),
    folder: Path = Path("logs/jobs"),
    inputs: Sequence[str] = (),
) -> None:
    """Runs `step` as `request` says and waits for valid outputs.

    A job of an earlier launcher is taken over only if it was started on the same `inputs`.

    Raises:
        ConfigError: an unknown step.
        LaunchError: the job failed; names it, its state, its logs and their last lines.
    """
    if step.name not in MODULES:
        raise ConfigError(unknown_name("step", step.name, list(MODULES), "workflow.launch"))
    if cluster.kind == "local" and request.ranks == 1:
        refuse_other_cluster(TicketFile(step.config), cluster.kind)
        gpus.take(step.name, request)
        from flava.train.interrupt import exit_on_signals  # torch, once it is settled what it sees

        exit_on_signals(f"{step.name} of {step.config} stopped")
        step.run()
        if why := artifact.missing(outputs, step.config):
            raise LaunchError(
                f"{step.name} of {step.config} ran, but {why}. Was the study edited meanwhile? "
                "The same command runs the step again."
            )
        return
    from workflow.launch.clock import Clock
    from workflow.launch.local import Local
    from workflow.launch.slurm import Slurm
    from workflow.launch.supervise import Supervisor

    folder = folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    scheduler = (Slurm if cluster.kind == "slurm" else Local)(cluster, folder)
    Supervisor(step, request, cluster, scheduler, outputs, folder, Clock(), inputs).run()


def _die_with_parent(parent: int | None) -> None:
    """Ends this process when Snakemake dies, so that no second launcher starts beside it (Linux).

    A job on a cluster goes on; one on this machine ends.

    Raises:
        LaunchError: `parent` is not there any more: it died before the kernel was asked.
    """
    if sys.platform != "linux":
        return
    ctypes.CDLL("libc.so.6", use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if parent is not None and os.getppid() != parent and not Path(f"/proc/{parent}").exists():
        raise LaunchError(
            f"The Snakemake that started this step (process {parent}) has ended. "
            "The same command starts both again."
        )


def main() -> None:
    """Command-line entry point."""
    parser = argparse.ArgumentParser(description="Run one step on N ranks and wait.")
    parser.add_argument("step", help=f"one of {', '.join(MODULES)}")
    parser.add_argument("--config", required=True, help="resolved configuration (JSON)")
    parser.add_argument("--code", help="fingerprint of the code that the step was planned with")
    parser.add_argument("--inputs", nargs="*", default=[], help="files that the step rests on")
    parser.add_argument("--outputs", nargs="*", default=[], help="files that the step must leave")
    parser.add_argument("--settings", help="a profile's cluster.yaml; none: this machine")
    parser.add_argument("--parent", type=int, help="process without which this one ends")
    parser.add_argument("--folder", default="logs/jobs", help="the jobs' logs, flat")
    parser.add_argument("--ranks", type=int, help="processes, one a GPU or core")
    parser.add_argument("--threads", type=int, help="cores of each rank")
    parser.add_argument("--sharding", choices=get_args(Sharding), help="of the weights")
    arguments = parser.parse_args()
    _die_with_parent(arguments.parent)
    given = {name: getattr(arguments, name) for name in ("ranks", "threads", "sharding")}
    for name in ("ranks", "threads"):
        if given[name] is not None and given[name] < 1:
            raise ConfigError(f"workflow.launch: --{name} {given[name]} must be at least 1.")
    column = read_json(arguments.config).get("column")
    file = arguments.settings
    settings = launch_settings(read_yaml(Path(file)), file) if file else LaunchSettings()
    request = resolve(arguments.step, column, settings, Resources(**given))
    # Before torch is imported: more threads than cores slow every job on the machine.
    os.environ.update(request.thread_variables)
    step = Step(
        arguments.step,
        arguments.config,
        request.sharding,
        request.ranks,
        request.threads,
        code=arguments.code,
        code_sha256=sha256_json(read_json(arguments.code)) if arguments.code else None,
    )
    os.environ["FLAVA_COMMAND"] = step.command()
    launch(
        step,
        request,
        settings.cluster,
        arguments.outputs,
        Path(arguments.folder),
        arguments.inputs,
    )


if __name__ == "__main__":
    run_cli(main)
