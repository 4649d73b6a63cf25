"""What every protocol needs beside the data: the model, the task and the job's settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from flava.config import TaskConfig
from flava.evaluate.feature_cache import NO_CACHE, FeatureCache
from flava.evaluate.finetune_state import Saving
from flava.models.backbone import Backbone

if TYPE_CHECKING:
    from flava.data.tokenizer import Tokenizer


@dataclass(frozen=True)
class Context:
    """One task of one run.

    Attributes:
        name: key of the task in tasks.yaml.
        seed: of the run: splits, orders and dropout.
        resamples: of the bootstrap.
        cache: of the model's frozen features.
        saving: where fine-tuning is kept for the case that the process is killed.
    """

    name: str
    task: TaskConfig
    model: Backbone
    tokenizer: Tokenizer
    seed: int
    resamples: int
    stand_in: str | None
    cache: FeatureCache = NO_CACHE
    saving: Saving | None = None

    @property
    def what(self) -> str:
        """The task in error messages."""
        return task_called(self.name)


def task_called(name: str) -> str:
    """A task in error messages."""
    return f"task '{name}'"
