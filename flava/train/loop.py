"""The training loop of every recipe.

Killed at any moment and started again with the same command, it continues from its newest
checkpoint and, on CPU, ends with bit-equal weights (docs/training.md).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import AdamW
from tqdm import tqdm

from flava.errors import TrainingError
from flava.io import sha256_json
from flava.train.best import Best
from flava.train.checkpoint import Checkpoints
from flava.train.distributed import Ranks, gather_objects, joined_ranks
from flava.train.finish import finish_run
from flava.train.log import TrainingLog
from flava.train.optim import check_warmup, make_optimizer, set_rates
from flava.train.prefetch import prefetched
from flava.train.recipe import Recipe
from flava.train.step import Step, compute_gradients


def run(make_recipe: Callable[[Ranks], Recipe]) -> None:
    """Trains one run to its end on this process's rank; rank 0 writes the results.

    Args:
        make_recipe: called once the ranks have met and before any other draw of random numbers.

    Raises:
        ConfigError, DataError, TrainingError, CheckpointError: as their messages say.
    """
    with joined_ranks() as ranks:
        torch.use_deterministic_algorithms(ranks.device.type == "cpu")
        recipe = make_recipe(ranks)
        checkpoints = Checkpoints(
            recipe.checkpoints,
            sha256_json(recipe.job.model_dump(mode="json")),
            sha256_json(recipe.inputs()),
            recipe.settings.keep_checkpoints,
        )
        with checkpoints.locked(ranks.first):
            train(recipe, ranks, checkpoints)


def train(recipe: Recipe, ranks: Ranks, checkpoints: Checkpoints) -> None:
    """The run on one rank: restore, loop over updates, export."""
    started = time.time()
    options = recipe.settings
    recipe.to(ranks.device)
    recipe.model.train()
    parameters = [p for p in recipe.model.parameters() if p.requires_grad]
    optimizer = make_optimizer(recipe.model, options.optim)
    kinds = recipe.schedule()
    total = len(kinds)
    check_warmup(total, options.optim)
    log = TrainingLog(recipe.objectives, options.log_updates, recipe.diagnostics)
    best = Best(recipe, checkpoints.folder, ranks)

    done = restore(checkpoints, recipe, optimizer, log, best, ranks)
    earlier_seconds = log.seconds
    log_path = recipe.output / "log.csv"
    if ranks.first:
        log_path.with_name("record.json").unlink(missing_ok=True)  # until it is true again
        checkpoints.clean()
        log.write(log_path)

    clock = time.perf_counter()
    ahead = 2 if ranks.device.type == "cuda" else 0  # on CPU, data and model share the cores
    updates = progress(done, total, recipe.step, ranks)
    for update, batches in prefetched(recipe.batch, updates, options.accumulate, ahead):
        kind, finished = str(kinds[update]), update + 1
        rate = recipe.learning_rate(update, total)
        set_rates(optimizer, rate, recipe.weight_decay(update, total))
        with random_numbers(recipe.seed, update, ranks):
            step = compute_gradients(
                parameters,
                partial(recipe.losses, update=update),
                batches,
                ranks,
                bf16=options.precision == "bf16",
                update=update,
            )
        recipe.after_backward(update)
        clip(parameters, step, options.optim.clip_grad_norm, ranks)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        recipe.after_update(update, total)

        now = time.perf_counter()
        log.add(kind, step, seconds=now - clock)
        clock = now
        if best.due(finished, total):
            best.consider(finished)
        if finished % options.log_updates == 0 or finished == total:
            row = log.close_window(finished, rate, recipe.diagnose())
            updates.set_postfix(loss=f"{row['loss']:.4f}", lr=f"{rate:.2e}")
            if ranks.first:
                log.append_last(log_path)
        if ranks.first and (
            finished % options.checkpoint_updates == 0 or best.due(finished, total)
        ):
            checkpoints.save(finished, snapshot(recipe, optimizer, log, best))
            best.clean()
    reports = gather_objects(recipe.report())
    best.load()
    if ranks.first:
        finish_run(recipe, log, started, earlier_seconds, {"data_of_rank": reports, **best.facts()})


@contextmanager
def random_numbers(seed: int, update: int, ranks: Ranks) -> Iterator[None]:
    """Dropout and stochastic depth draw from a state that (seed, update, rank) alone decides."""
    mixed = (seed * 1_000_003 + update) * 4099 + ranks.rank + 1
    torch.manual_seed(mixed % (1 << 63))
    yield


def clip(parameters: list[nn.Parameter], step: Step, limit: float | None, ranks: Ranks) -> None:
    """Scales the gradient down to the norm `limit`, if it is longer."""
    if limit is not None:
        norm = torch.tensor(step.grad_norm, device=ranks.device)
        nn.utils.clip_grads_with_norm_(parameters, limit, norm)


def snapshot(recipe: Recipe, optimizer: AdamW, log: TrainingLog, best: Best) -> dict[str, Any]:
    """Everything that `restore` needs: tensors and plain numbers only."""
    return {
        "modules": {name: module.state_dict() for name, module in recipe.modules().items()},
        "recipe": recipe.state(),
        "optimizer": optimizer.state_dict(),
        "log": log.state(),
        "best": best.state(),
    }


def restore(
    checkpoints: Checkpoints,
    recipe: Recipe,
    optimizer: AdamW,
    log: TrainingLog,
    best: Best,
    ranks: Ranks,
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
        for name, module in recipe.modules().items():
            module.load_state_dict(state["modules"][name])
        recipe.load_state(state["recipe"])
        optimizer.load_state_dict(state["optimizer"])
        log.load_state(state["log"])
        best.load_state(state["best"])
        if ranks.first:
            print(f"continuing after update {done} from {checkpoints.folder}", file=sys.stderr)
    return done


def progress(done: int, total: int, name: str, ranks: Ranks) -> tqdm[int]:
    """Numbers of the updates to come, with a progress bar on rank 0."""
    seconds = 0.5 if sys.stderr.isatty() else 30.0  # log files get a line twice a minute
    return tqdm(
        range(done, total),
        initial=done,
        total=total,
        desc=name,
        unit="update",
        mininterval=seconds,
        disable=not ranks.first,
    )


def exported(recipe: Recipe) -> Path:
    """Where the model is written."""
    return recipe.output / "model"
