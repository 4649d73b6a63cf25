"""The command line that all recipes share."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Protocol

from flava.config import Sharding, Strict
from flava.jobs import load_job
from flava.train.interrupt import exit_on_signals
from flava.train.sharding import SHARDINGS


class Train(Protocol):
    """What a launcher starts on every rank."""

    def __call__(self, config_path: str, sharding: Sharding = "none") -> None: ...


def train_command(
    module: str, description: str | None, job_class: type[Strict], train: Train
) -> None:
    """Runs `python -m <module> --config <resolved job> [--sharding fsdp]`.

    Args:
        module: the recipe's full name.
        description: its docstring, for the help.
        job_class: of the configuration; it has `output` and `checkpoints`.
        train: called with the path of the configuration.
    """
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=description)
    parser.add_argument("--config", required=True, help=f"resolved {job_class.__name__} (JSON)")
    parser.add_argument("--sharding", choices=SHARDINGS, default="none", help="of the weights")
    arguments = parser.parse_args()
    folders = load_job(job_class, arguments.config).model_dump(include={"output", "checkpoints"})
    exit_on_signals(f"training stopped; checkpoints are in {folders['checkpoints']}")
    train(arguments.config, arguments.sharding)
    if os.environ.get("RANK", "0") == "0":
        print(f"model: {Path(folders['output']) / 'model'}")
