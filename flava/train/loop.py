"""The training loop of every recipe.

Killed at any moment and started again with the same command, it continues from its newest
checkpoint and, on CPU, ends with bit-equal weights (docs/training.md).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from tqdm import tqdm

from flava.config import LoopConfig, Sharding
from flava.errors import TrainingError
from flava.fingerprint import training_sha256
from flava.io import sha256_json
from flava.prefetch import prefetched, reading_threads
from flava.splits import check_split
from flava.train.aside import settle
from flava.train.best import Best
from flava.train.checkpoint import Checkpoints
from flava.train.distributed import Ranks, gather_objects, joined_ranks, scale_gradients
from flava.train.finish import finish_run
from flava.train.interrupt import save_requests
from flava.train.log import TrainingLog
from flava.train.optim import check_warmup, make_optimizer, set_rates
from flava.train.precision import LossScale
from flava.train.recipe import AnyBatch, Recipe
from flava.train.sharding import reshard, shard, skeleton, whole_state
from flava.train.state import RunState
from flava.train.step import Step, compute_gradients


def run(make_recipe: Callable[[Ranks], Recipe], sharding: Sharding = "none") -> None:
    """Trains one run to its end on this process's rank; rank 0 writes the results.

    Args:
        make_recipe: called once the ranks have met and before any other draw of random numbers.
        sharding: whether FSDP2 deals the weights out to the ranks; not part of the run's identity.

    Raises:
        ConfigError, DataError, TrainingError, CheckpointError: as their messages say.
    """
    with joined_ranks(sharding) as ranks, _told_when_full(ranks):
        torch.use_deterministic_algorithms(ranks.device.type == "cpu")
        recipe = make_recipe(ranks)
        check_split(recipe.settings.batch_size, recipe.settings.accumulate, ranks.world_size)
        checkpoints = Checkpoints(
            recipe.checkpoints,
            sha256_json(recipe.job.model_dump(mode="json")),
            sha256_json(recipe.inputs()),
            training_sha256(f"flava.train.{recipe.step}"),
            recipe.settings.keep_checkpoints,
        )
        with checkpoints.locked(ranks.first):
            if ranks.first:
                settle(checkpoints, len(recipe.schedule()))
            gather_objects(None)  # no rank looks before
            if not checkpoints.present():
                recipe.initialise()
            Training(recipe, ranks, checkpoints).run()


class Training:
    """The run on one rank: restore, loop over updates, export."""

    def __init__(self, recipe: Recipe, ranks: Ranks, checkpoints: Checkpoints) -> None:
        self.started = time.time()
        self.recipe, self.ranks, self.checkpoints = recipe, ranks, checkpoints
        self.options = options = recipe.settings
        self.skeletons = {
            name: skeleton(module)
            for name, module in recipe.modules().items()
            if ranks.sharded and next(module.parameters(), None) is not None
        }
        recipe.to(ranks.device)
        for name in self.skeletons:
            shard(recipe.modules()[name], ranks.device)
        recipe.model.train()
        self.parameters = [p for p in recipe.model.parameters() if p.requires_grad]
        self.optimizer = make_optimizer(recipe.model, options.optim)
        self.kinds = recipe.schedule()
        self.total = len(self.kinds)
        check_warmup(self.total, options.optim)
        self.scale = LossScale(options)
        diagnostics = [*recipe.diagnostics, *self.scale.columns()]
        skips = ["skipped"] if self.scale.active else []
        self.log = TrainingLog(recipe.objectives, options.log_updates, diagnostics, skips)
        self.log_path = recipe.output / "log.csv"
        self.best = Best(recipe, checkpoints.folder, ranks)
        self.state = RunState(recipe, self.optimizer, self.log, self.best, self.scale)

    def run(self) -> None:
        """From the newest checkpoint to the record."""
        done = self.state.restore(self.checkpoints, self.ranks)
        if self.ranks.first:
            # until it is true again
            self.log_path.with_name("record.json").unlink(missing_ok=True)
            self.checkpoints.clean()
            self.best.clean()
            self.log.write(self.log_path)
        ahead = reading_threads(self.ranks.device, self.ranks.world_size)
        updates = progress(done, self.total, self.recipe.step, self.ranks)
        clock = time.perf_counter()
        with save_requests(self.ranks) as requests:
            for update, batches in prefetched(self._read, updates, ahead):
                try:
                    step = self._update(update, batches)
                except torch.OutOfMemoryError as error:
                    raise _full(update, batches, self.options, self.ranks, error) from error
                now = time.perf_counter()
                self.log.add(str(self.kinds[update]), step, seconds=now - clock)
                clock = now
                saved = self._after(update + 1, updates)
                if requests.pending():
                    if not saved:
                        self.state.save(self.checkpoints, update + 1, self.ranks)
                    requests.answer()
        self._finish()

    def _read(self, update: int) -> list[AnyBatch]:
        micro_batches = range(self.options.accumulate)
        return [self.recipe.batch(update, micro) for micro in micro_batches]

    def _update(self, update: int, batches: list[AnyBatch]) -> Step:
        """Changes the weights, unless fp16 overflowed."""
        recipe = self.recipe
        self._set_rates(update)
        seed_update(recipe.seed, update, self.ranks)
        step = compute_gradients(
            self.parameters,
            recipe,
            batches,
            self.ranks,
            update,
            self.options.precision,
            self.scale.value,
        )
        reshard(recipe.modules().values())
        if not step.overflow:
            recipe.after_backward(update)
            limit = self.options.optim.clip_grad_norm
            if limit is not None:
                scale_gradients(self.parameters, min(1.0, limit / (step.grad_norm + 1e-6)))
            self.optimizer.step()
            recipe.after_update(update, self.total)
        else:
            recipe.after_skipped(update)
        self.optimizer.zero_grad(set_to_none=True)
        self.scale.update(step.overflow, update)
        return step

    def _set_rates(self, update: int) -> float:
        rate = self.recipe.learning_rate(update, self.total)
        set_rates(self.optimizer, rate, self.recipe.weight_decay(update, self.total))
        return rate

    def _after(self, finished: int, updates: tqdm[int]) -> bool:
        """Scores, log and checkpoint after `finished` updates; whether there is a checkpoint."""
        due = self.best.due(finished, self.total)
        if due:
            self.best.consider(finished)
        if finished % self.options.log_updates == 0 or finished == self.total:
            rate = self.recipe.learning_rate(finished - 1, self.total)
            diagnosed = {**self.recipe.diagnose(), **self.scale.columns()}
            reshard(self.recipe.modules().values())
            row = self.log.close_window(finished, rate, diagnosed)
            if row["loss"] is not None:
                updates.set_postfix(loss=f"{row['loss']:.4f}", lr=f"{rate:.2e}")
            if self.ranks.first:
                self.log.append_last(self.log_path)
        save = due or finished % self.options.checkpoint_updates == 0
        if save:
            self.state.save(self.checkpoints, finished, self.ranks)
            if self.ranks.first:
                self.best.clean()
        return save

    def _finish(self) -> None:
        facts: dict[str, Any] = {"data_of_rank": gather_objects(self.recipe.report())}
        facts["sharding"] = "fsdp" if self.ranks.sharded else "none"
        for name, plain in self.skeletons.items():
            state = whole_state(self.recipe.modules()[name], self.ranks.first)
            if self.ranks.first:
                plain.load_state_dict(state, assign=True)
        if self.ranks.first:
            self.recipe.replace(self.skeletons)
            self.best.load()
            self.log.write(self.log_path)  # who waits for the run may have removed it meanwhile
            facts |= {**self.scale.facts(), **self.best.facts()}
            finish_run(self.recipe, self.log, self.started, self.state.earlier, facts)


def _full(
    update: int, batches: list[AnyBatch], options: LoopConfig, ranks: Ranks, error: Exception
) -> TrainingError:
    fsdp = "" if ranks.sharded else " `sharding: fsdp` (docs/cluster.md) deals out the weights."
    return TrainingError(
        f"At update {update + 1} ({batches[0].kind}): the GPU of rank {ranks.rank} is full, with "
        f"{len(batches[0].keys)} samples at one time. Use more ranks, or raise `accumulate` (now "
        f"{options.accumulate}), which begins the run anew: more micro-batches of fewer samples."
        f"{fsdp} docs/performance.md counts what fits. {str(error).splitlines()[0]}"
    )


@contextmanager
def _told_when_full(ranks: Ranks) -> Iterator[None]:
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise TrainingError(
            f"The GPU of rank {ranks.rank} is full, not within an update: with the weights, or as "
            "a checkpoint was scored. See that nothing else uses it, or take one with more memory. "
            f"{str(error).splitlines()[0]}"
        ) from error


def seed_update(seed: int, update: int, ranks: Ranks) -> None:
    """Dropout and stochastic depth draw from a state that (seed, update, rank) alone decides."""
    mixed = (seed * 1_000_003 + update) * 4099 + ranks.rank + 1
    torch.manual_seed(mixed % (1 << 63))


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
