"""Times the data and the ranks of a real pretraining run.

    python -m benchmarks.run_speed --config results/toy/runs/flava_no_init-s0/config.json

Its data must be prepared. Reported: batches of each kind from the loader against the updates that
they are for, on one process; then samples a second of `flava.train.pretrain` itself on 1, 2 and 4
local ranks of one thread each, with the same global batch.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from benchmarks.machine import describe
from flava.data.mixture import MixtureLoader
from flava.errors import FlavaError, run_cli
from flava.io import read_json, write_json
from flava.jobs import RunConfig, load_job
from flava.train.distributed import Ranks
from flava.train.optim import make_optimizer
from flava.train.pretrain import PretrainRecipe
from flava.train.step import compute_gradients

WARM_UP = 3
CPU = torch.device("cpu")


def loader_times(run: RunConfig, updates: int) -> dict[str, dict[str, float]]:
    """Medians in seconds, by kind: reading a batch, and the update that it is for.

    Kinds that the run does not reach in `updates` updates of each are left out.
    """
    ranks = Ranks(0, 1, CPU)
    recipe = PretrainRecipe(run, ranks)
    recipe.model.train()
    parameters = [p for p in recipe.model.parameters() if p.requires_grad]
    optimizer = make_optimizer(recipe.model, run.pretrain.optim)
    found: dict[str, dict[str, list[float]]] = {}
    for update, kind in enumerate(MixtureLoader(run).schedule()):
        times = found.setdefault(str(kind), {"batch": [], "update": []})
        if len(times["batch"]) >= updates:
            continue
        started = time.perf_counter()
        batches = [recipe.batch(update, micro) for micro in range(run.pretrain.accumulate)]
        read = time.perf_counter()
        compute_gradients(parameters, recipe, batches, ranks, update, run.pretrain.precision)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        times["batch"].append(read - started)
        times["update"].append(time.perf_counter() - read)
    return {
        kind: {name: statistics.median(values[WARM_UP:]) for name, values in times.items()}
        for kind, times in found.items()
        if len(times["batch"]) > WARM_UP
    }


def samples_a_second(config_path: Path, ranks: int, updates: int) -> float:
    """Of the training command on `ranks` local processes; the first of three windows is left out.

    Raises:
        FlavaError: a rank failed; its last line is shown.
    """
    values = read_json(config_path)
    with tempfile.TemporaryDirectory() as folder:
        values |= {"output": f"{folder}/run", "checkpoints": f"{folder}/checkpoints"}
        values["pretrain"] |= {"pair_updates": 3 * updates, "log_updates": updates}
        values["pretrain"]["checkpoint_updates"] = 10 * updates
        values["pretrain"]["optim"]["warmup_updates"] = 1
        values |= {"selection": None}
        write_json(Path(folder) / "config.json", values)
        processes = _start(Path(folder) / "config.json", ranks)
        for process in processes:
            _, errors = process.communicate()
            if process.returncode:
                raise FlavaError(f"A rank of {ranks} failed: {errors.strip().splitlines()[-1]}")
        log = pd.read_csv(Path(folder) / "run" / "log.csv")
    return float(log["samples_per_second"].iloc[1:].max())


def _start(config: Path, ranks: int) -> list[subprocess.Popen[str]]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "flava.train.pretrain", "--config", str(config)]
    common = {"WORLD_SIZE": str(ranks), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    return [
        subprocess.Popen(
            command,
            env={**os.environ, **common, "RANK": str(rank), "LOCAL_RANK": str(rank)}
            | {"OMP_NUM_THREADS": "1"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(ranks)
    ]


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", type=Path, required=True, help="resolved run configuration")
    parser.add_argument("--updates", type=int, default=20, help="of each kind, and of each window")
    parser.add_argument("--ranks", type=int, nargs="*", default=[1, 2, 4])
    parser.add_argument("--output", type=Path, help="JSON file")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    found: dict[str, Any] = {"machine": describe(CPU) | {"cores": os.cpu_count()}}
    found["loader"] = loader_times(load_job(RunConfig, arguments.config), arguments.updates)
    print("| kind | batch, ms | update, ms | share of the data |\n|---|---|---|---|")
    for kind, each in found["loader"].items():
        share = each["batch"] / (each["batch"] + each["update"])
        cells = [kind, f"{1000 * each['batch']:.1f}", f"{1000 * each['update']:.1f}"]
        print(f"| {' | '.join(cells)} | {100 * share:.0f} % |")
    found["ranks"] = {}
    print("\n| ranks | samples a second | against one |\n|---|---|---|")
    for ranks in arguments.ranks:
        rate = samples_a_second(arguments.config, ranks, arguments.updates)
        found["ranks"][str(ranks)] = rate
        first = next(iter(found["ranks"].values()))
        print(f"| {ranks} | {rate:,.0f} | {rate / first:.2f} |", flush=True)
    print(json.dumps(found["machine"]))
    if arguments.output:
        write_json(arguments.output, found)


if __name__ == "__main__":
    run_cli(main)
