"""What a training run is about; `flava.train.loop` does the rest."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from flava.config import LoopConfig, Strict
from flava.data.batch import Batch
from flava.train.optim import learning_rate, weight_decay
from flava.train.terms import count_terms


class AnyBatch(Protocol):
    """What the loop asks of a batch."""

    @property
    def kind(self) -> str:
        """Kind of data, a key of `Recipe.objectives`."""

    @property
    def keys(self) -> list[str]:
        """Names of the samples, for error messages."""

    def to(self, device: torch.device) -> Self:
        """The same batch on `device`."""


class Recipe(ABC):
    """One kind of training: model, data, losses, and what it leaves behind.

    Everything that a batch or a loss draws at random must be a function of the seed and the
    update's number, so that a killed run continues bit-equal.

    Attributes:
        step: name of the step in records.
        job: resolved configuration, the run's identity.
        seed: of initial weights, data order, masks and dropout.
        settings: batch, precision, checkpoints, log, optimiser.
        objectives: kind of data -> names of its losses.
        model: what the optimiser trains.
        output: folder of results.
        checkpoints: folder of checkpoints.
    """

    step: str
    job: Strict
    seed: int
    settings: LoopConfig
    objectives: Mapping[str, Sequence[str]]
    model: nn.Module
    output: Path
    checkpoints: Path

    def initialise(self) -> None:  # noqa: B027 - optional
        """Takes over weights of other models, before the first update and in no continued run.

        `state` must keep what the record says of them.
        """

    @abstractmethod
    def schedule(self) -> NDArray[np.str_]:
        """Kind of each update, [updates]."""

    @abstractmethod
    def batch(self, update: int, micro: int) -> AnyBatch:
        """This rank's rows of a micro-batch; may be called from another thread."""

    @abstractmethod
    def losses(self, batch: Any, update: int) -> Mapping[str, Tensor]:
        """Losses of a batch by name, float32 scalars; their sum is minimised."""

    def terms(self, batch: Any) -> Mapping[str, int]:
        """How many terms each loss of a batch is the mean of; it weighs the batch's losses.

        Masked positions where a loss reads them, else samples; equal shares for any other batch.
        """
        names = self.objectives[batch.kind]
        if isinstance(batch, Batch):
            return count_terms(batch, names)
        return dict.fromkeys(names, len(batch.keys))

    def prepare(
        self, batches: Sequence[Any], update: int, scale: float
    ) -> tuple[Sequence[Any], Mapping[str, Tensor]]:
        """Batches ready for `losses`, and losses of the whole update that are known beforehand.

        A loss of the second kind leaves gradients, multiplied by `scale`, in parameters that it
        alone reaches; what `losses` returns under its name then only carries the others.
        """
        return batches, {}

    @abstractmethod
    def export(self, directory: Path) -> None:
        """Writes the trained model into an empty folder and reads it back to check it."""

    @abstractmethod
    def inputs(self) -> dict[str, Any]:
        """Hashes of all that the run reads: its checkpoints belong to these data alone."""

    @property
    def select_updates(self) -> int | None:
        """Updates between calls of `score`; None: the last weights are exported."""
        return None

    def score(self) -> float:
        """How good the weights are now, higher is better; asked on every rank.

        A recipe with `select_updates` has its own.
        """
        raise NotImplementedError(f"{type(self).__name__} has select_updates but no score.")

    def to(self, device: torch.device) -> None:
        """Moves all modules."""
        for module in self.modules().values():
            module.to(device)

    def modules(self) -> dict[str, nn.Module]:
        """Modules whose tensors belong to the state, the trained one under "model"."""
        return {"model": self.model}

    def replace(self, modules: Mapping[str, nn.Module]) -> None:
        """Puts other modules in the place of those that `modules` names."""
        own = self.modules()
        for name, module in modules.items():
            for attribute, value in list(vars(self).items()):
                if value is own[name]:
                    setattr(self, attribute, module)

    def state(self) -> dict[str, Any]:
        """Further state: plain numbers and tensors."""
        return {}

    def load_state(self, state: dict[str, Any]) -> None:  # noqa: B027 - optional
        """Takes over what `state` returned."""

    def learning_rate(self, update: int, total: int) -> float:
        """Of update number `update` (from 0) of `total`."""
        return learning_rate(update, total, self.settings.optim)

    def weight_decay(self, update: int, total: int) -> float:
        """Of the groups that decay."""
        return weight_decay(update, total, self.settings.optim)

    def after_backward(self, update: int) -> None:  # noqa: B027 - optional
        """Between the averaged gradient and the optimiser."""

    def after_update(self, update: int, total: int) -> None:  # noqa: B027 - optional
        """After the optimiser, e.g. the teacher's moving average."""

    def after_skipped(self, update: int) -> None:  # noqa: B027 - optional
        """In place of the last two where fp16 overflowed: drops what the update's batches left."""

    @property
    def diagnostics(self) -> Sequence[str]:
        """Names of further columns of log.csv."""
        return []

    def diagnose(self) -> dict[str, float | None]:
        """Their values at the end of a window of the log.

        Raises:
            TrainingError: training has collapsed.
        """
        return {}

    def parents(self) -> list[Path]:
        """Records of the steps whose outputs are read."""
        return []

    def manifests(self) -> list[Path]:
        """Manifests of the corpora that are read."""
        return []

    def facts(self) -> dict[str, Any]:
        """What the record says beyond the loop's own facts; asked once, at the end."""
        return {}

    def report(self) -> dict[str, Any]:
        """What this rank's loader met: corrupt images and the like."""
        return {}

    def title(self) -> str:
        """Heading of the curves."""
        return f"{self.step}, seed {self.seed}"
