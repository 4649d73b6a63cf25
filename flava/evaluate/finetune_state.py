"""The state of a fine-tuning run: the best weights so far, and on disk what a killed run needs.

The files are a training run's (flava/train/checkpoint.py). On CPU a run that was killed and goes on
ends with the same weights, bit for bit.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from flava.evaluate.features import device
from flava.fingerprint import training_sha256
from flava.records import Earlier

if TYPE_CHECKING:
    from flava.train.interrupt import SaveRequests


@dataclass(frozen=True)
class Saving:
    """Where a task's fine-tuning, or its probe's fits, are kept until its scores are.

    Attributes:
        config_sha256: of the job's configuration.
        data_sha256: of the model's weights and the task's examples.
        made_of: hash of all that decides the task's scores.
        earlier: where it is told what processes did that this one continues.
    """

    folder: Path
    config_sha256: str
    data_sha256: str
    made_of: str
    earlier: Earlier = field(default_factory=Earlier)


@dataclass
class Best:
    """The weights with the best validation score; none before the first one."""

    score: float = -math.inf
    update: int = 0
    weights: dict[str, Tensor] = field(default_factory=dict)


class FinetuneState:
    """Model, optimiser, random numbers and best weights after some updates.

    Args:
        saving: where to; None: nothing is kept.
        every: updates from one checkpoint to the next.
        total: updates of the whole run.
    """

    def __init__(
        self, saving: Saving | None, model: nn.Module, optimizer: Optimizer, every: int, total: int
    ) -> None:
        # Imported here because probes need none of it, and it takes half a second.
        from flava.train.aside import settle
        from flava.train.checkpoint import Checkpoints

        self.model, self.optimizer, self.every = model, optimizer, every
        self.best = Best()
        # Each task's account of its own: another task's work is in that one's checkpoint.
        self.checkpoints, self.earlier, self.job = None, Earlier(), Earlier()
        self.seconds, self.begun = 0.0, time.monotonic()
        if saving is not None:
            self.job = saving.earlier
            code = training_sha256("flava.evaluate.finetune")
            identity = saving.config_sha256, saving.data_sha256, code
            self.checkpoints = Checkpoints(saving.folder, *identity, keep=1)
            settle(self.checkpoints, total)

    def restore(self) -> int:
        """Takes over the newest whole checkpoint, if any; returns the number of updates done.

        Raises:
            CheckpointError: it is of another job or of other data, or none is readable.
        """
        found = None if self.checkpoints is None else self.checkpoints.load_newest()
        if found is None:
            return 0
        state = found.state
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.best = Best(**state["best"])
        self.seconds = state["seconds"]
        self.earlier.add(self.seconds, state["account"])
        self.job.join(self.earlier)
        torch.set_rng_state(state["random"])
        if device().type == "cuda":
            torch.cuda.set_rng_state(state["random_cuda"])
        print(f"continuing after update {found.update}", file=sys.stderr, flush=True)
        return found.update

    def save(self, update: int) -> None:
        """Writes a checkpoint in the place of the last one."""
        if self.checkpoints is None:
            return
        state: dict[str, Any] = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "best": vars(self.best),
            "random": torch.get_rng_state(),
            "seconds": self.seconds + time.monotonic() - self.begun,
            "account": self.earlier.account(),
        }
        if device().type == "cuda":
            state["random_cuda"] = torch.cuda.get_rng_state()
        self.checkpoints.save(update, state)

    def consider(self, update: int, score: float) -> None:
        """Keeps a copy of the weights after `update` if `score` is the best so far."""
        if score > self.best.score:
            weights = {k: v.detach().clone() for k, v in self.model.state_dict().items()}
            self.best = Best(score, update, weights)

    def after(self, update: int, requests: SaveRequests, last: bool) -> None:
        """Saves where it is due, or where a scheduler's warning asks for it, which it obeys.

        The `last` update is always saved: a task that is done is not trained again while the job's
        other tasks are.
        """
        asked = requests.pending()
        if asked or last or update % self.every == 0:
            self.save(update)
        if asked:
            requests.answer()


@contextmanager
def save_requests() -> Iterator[SaveRequests]:
    """While it lasts, a scheduler's warning waits until the update is done and saved."""
    from flava.train import interrupt
    from flava.train.distributed import Ranks

    with interrupt.save_requests(Ranks(rank=0, world_size=1, device=device())) as requests:
        yield requests
