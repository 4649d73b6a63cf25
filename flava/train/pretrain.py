"""The pretraining loop: `python -m flava.train.pretrain --config <run>/config.json`.

Killed at any moment and started again with the same command, it continues from its newest
checkpoint and, on CPU, ends with bit-equal weights (docs/training.md).
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import AdamW
from tqdm import tqdm

from flava.config import Objective
from flava.data.mixture import MixtureLoader
from flava.errors import ConfigError, TrainingError, run_cli
from flava.jobs import RunConfig, load_job
from flava.models import Clip, Flava, build
from flava.train.checkpoint import Checkpoints
from flava.train.distributed import Ranks, gather_objects, joined_ranks
from flava.train.finish import finish_run
from flava.train.identity import config_sha256, data_sha256
from flava.train.interrupt import exit_on_signals
from flava.train.log import TrainingLog
from flava.train.optim import check_warmup, learning_rate, make_optimizer, set_learning_rate
from flava.train.prefetch import prefetched
from flava.train.step import compute_gradients


def pretrain(config_path: str) -> None:
    """Trains one run to its end on this process's rank; rank 0 writes the results.

    Args:
        config_path: a resolved `RunConfig` as JSON. Ranks come from the environment (RANK,
            WORLD_SIZE, LOCAL_RANK, MASTER_ADDR, MASTER_PORT), so a launcher can run this function
            as it is on every rank.

    Raises:
        ConfigError, DataError, TrainingError, CheckpointError: as their messages say.
    """
    run = load_job(RunConfig, config_path)
    with joined_ranks() as ranks:
        checkpoints = Checkpoints(
            Path(run.checkpoints),
            config_sha256(run),
            data_sha256(run),
            run.pretrain.keep_checkpoints,
        )
        with checkpoints.locked(ranks.first):
            train(run, ranks, checkpoints)


def train(run: RunConfig, ranks: Ranks, checkpoints: Checkpoints) -> None:
    """The run on one rank: restore, loop over updates, export."""
    started = time.time()
    options = run.pretrain
    make_deterministic(run.seed, ranks.device)
    model = build_model(run).to(ranks.device).train()
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = make_optimizer(model, options.optim)
    loader = MixtureLoader(run, ranks.rank, ranks.world_size)
    kinds = loader.schedule()
    total = len(kinds)
    check_warmup(total, options.optim)
    objectives: dict[str, list[Objective]] = {str(k): v for k, v in run.objectives.items()}
    log = TrainingLog(objectives, options.log_updates)

    done = restore(checkpoints, model, optimizer, log, ranks)
    earlier_seconds = log.seconds
    log_path = Path(run.output) / "log.csv"
    if ranks.first:
        log_path.with_name("record.json").unlink(missing_ok=True)  # until it is true again
        checkpoints.clean()
        log.write(log_path)

    clock = time.perf_counter()
    ahead = 2 if ranks.device.type == "cuda" else 0  # on CPU, data and model share the cores
    updates = progress(done, total, ranks)
    for update, batches in prefetched(loader.batch, updates, options.accumulate, ahead):
        kind = str(kinds[update])
        rate = learning_rate(update, total, options.optim)
        set_learning_rate(optimizer, rate)
        step = compute_gradients(
            parameters,
            lambda batch: model.losses(batch, objectives[batch.kind], run.contrastive),
            batches,
            ranks,
            bf16=options.precision == "bf16",
            update=update,
        )
        if options.optim.clip_grad_norm is not None:
            norm = torch.tensor(step.grad_norm, device=ranks.device)
            nn.utils.clip_grads_with_norm_(parameters, options.optim.clip_grad_norm, norm)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

        now = time.perf_counter()
        log.add(kind, step, seconds=now - clock)
        clock = now
        finished = update + 1
        if finished % options.log_updates == 0 or finished == total:
            row = log.close_window(finished, rate, logit_scale(model))
            updates.set_postfix(loss=f"{row['loss']:.4f}", lr=f"{rate:.2e}")
            if ranks.first:
                log.append_last(log_path)
        if ranks.first and (finished % options.checkpoint_updates == 0 or finished == total):
            checkpoints.save(finished, snapshot(model, optimizer, log))
    reports = gather_objects(loader.report())
    if ranks.first:
        finish_run(run, model, log, started, earlier_seconds, {"data_of_rank": reports})


def make_deterministic(seed: int, device: torch.device) -> None:
    """Seeds the initialisation; on CPU, refuses operations that are not reproducible."""
    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(device.type == "cpu")


def build_model(run: RunConfig) -> Flava | Clip:
    """The run's model with its initial weights, the same on every rank.

    Raises:
        ConfigError: the run asks for a part that this version does not train.
    """
    if (run.init.image, run.init.text) != ("none", "none"):
        raise ConfigError(
            f"Column '{run.column}' starts from initialised encoders (image: {run.init.image}, "
            f"text: {run.init.text}), which this version cannot make yet. Choose a column whose "
            "init is none."
        )
    config = run.flava if run.arch == "flava" else run.clip
    if config is None:
        raise ConfigError(f"Column '{run.column}' has arch '{run.arch}' but no settings for it.")
    return build(run.arch, config)


def snapshot(model: nn.Module, optimizer: AdamW, log: TrainingLog) -> dict[str, Any]:
    """Everything that `restore` needs: tensors and plain numbers only."""
    return {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "log": log.state(),
    }


def restore(
    checkpoints: Checkpoints, model: nn.Module, optimizer: AdamW, log: TrainingLog, ranks: Ranks
) -> int:
    """Takes over the newest whole checkpoint, if any; returns the number of updates done.

    Raises:
        CheckpointError: it is of another run, or none is readable.
        TrainingError: the ranks do not see the same files.
    """
    found = checkpoints.load_newest(warn=ranks.first)
    done = 0 if found is None else found[0]
    seen = gather_objects(done)
    if len(set(seen)) > 1:
        raise TrainingError(
            f"The ranks see different newest checkpoints in {checkpoints.folder} (updates {seen}). "
            "The folder must be on a file system that all nodes share."
        )
    if found is not None:
        state = found[1]
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        log.load_state(state["log"])
        if ranks.first:
            print(f"continuing after update {done} from {checkpoints.folder}", file=sys.stderr)
    return done


def progress(done: int, total: int, ranks: Ranks) -> tqdm[int]:
    """Numbers of the updates to come, with a progress bar on rank 0."""
    seconds = 0.5 if sys.stderr.isatty() else 30.0  # log files get a line twice a minute
    return tqdm(
        range(done, total),
        initial=done,
        total=total,
        unit="update",
        mininterval=seconds,
        disable=not ranks.first,
    )


def logit_scale(model: nn.Module) -> float | None:
    """The contrastive temperature's parameter, ln(1 / temperature)."""
    scale = getattr(model, "logit_scale", None)
    return float(scale.detach()) if isinstance(scale, torch.Tensor) else None


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m flava.train.pretrain", description=__doc__)
    parser.add_argument("--config", required=True, help="resolved run configuration (JSON)")
    config_path = parser.parse_args().config
    run = load_job(RunConfig, config_path)
    exit_on_signals(f"training stopped; checkpoints are in {run.checkpoints}")
    pretrain(config_path)
    if os.environ.get("RANK", "0") == "0":
        print(f"model: {Path(run.output) / 'model'}")


if __name__ == "__main__":
    run_cli(main)
