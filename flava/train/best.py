"""The best weights so far by a recipe's own score (supplement B.1), kept beside the checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from flava.errors import CheckpointError, TrainingError
from flava.io import sha256_file
from flava.train.checkpoint import write_synced
from flava.train.distributed import Ranks
from flava.train.recipe import Recipe
from flava.train.sharding import reshard, whole_state


class Best:
    """Scores the weights now and then and keeps the best of them.

    Weights are written before the checkpoint that names them and removed after it, so that a
    kill in between loses nothing. Ties go to the earlier weights.
    """

    def __init__(self, recipe: Recipe, folder: Path, ranks: Ranks) -> None:
        self.recipe, self.folder, self.ranks = recipe, folder, ranks
        self.keep = recipe.settings.keep_checkpoints
        self.update = 0
        self.score = -float("inf")
        self.sha256 = ""
        self.history: list[list[float]] = []

    def due(self, finished: int, total: int) -> bool:
        """Whether the weights after `finished` updates are scored; the last ones always are."""
        every = self.recipe.select_updates
        return finished == total or (every is not None and finished % every == 0)

    def consider(self, finished: int) -> None:
        """Scores the weights and keeps them where they are the best so far.

        Raises:
            TrainingError: the score is not finite.
        """
        if self.recipe.select_updates is None:
            return
        self.recipe.model.eval()
        with torch.no_grad():
            score = self.recipe.score()
        self.recipe.model.train()
        reshard(self.recipe.modules().values())
        if score != score:  # NaN
            raise TrainingError(
                f"The validation score after update {finished} is NaN. The last checkpoint is "
                "kept; lower the learning rate or look at the validation data."
            )
        self.history.append([finished, score])
        if score <= self.score:
            return
        self.update, self.score = finished, score
        modules = self.recipe.modules().items()
        weights = {name: whole_state(module, self.ranks.first) for name, module in modules}
        if self.ranks.first:
            path = self._path(finished)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_synced(path, lambda temporary: torch.save(weights, temporary))
            self.sha256 = sha256_file(path)

    def load(self) -> None:
        """Puts the best weights into the recipe's modules, which are whole, for the export.

        Raises:
            CheckpointError: their file is missing or damaged.
        """
        if not self.ranks.first or not self.update:
            return
        path = self._path(self.update)
        if not path.is_file() or sha256_file(path) != self.sha256:
            raise CheckpointError(
                f"{path}, the best weights of this run, is missing or damaged. Restore it, or "
                f"delete {self.folder} to train anew."
            )
        weights = torch.load(path, map_location="cpu", weights_only=True)
        for name, module in self.recipe.modules().items():
            module.load_state_dict(weights[name])

    def clean(self) -> None:
        """Removes weights that no kept checkpoint names, and what killed processes half wrote.

        Each of the `keep` checkpoints names the best weights of its time, so that many stay: where
        the newest checkpoint is damaged, an older one and its weights take over.
        """
        ours = [path for path in self.folder.glob("best-*.pt") if path <= self._path(self.update)]
        kept = sorted(ours)[-self.keep :]
        for path in [*self.folder.glob("best-*.pt"), *self.folder.glob(".best-*.tmp")]:
            if path not in kept:
                path.unlink(missing_ok=True)

    def facts(self) -> dict[str, Any]:
        """For the record: the exported update and all scores."""
        if self.recipe.select_updates is None:
            return {}
        return {"selected_update": self.update, "selection_scores": self.history}

    def state(self) -> dict[str, Any]:
        """Plain data for a checkpoint."""
        return {
            "update": self.update,
            "score": self.score,
            "sha256": self.sha256,
            "history": self.history,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Takes over what `state` returned."""
        self.update, self.score = state["update"], state["score"]
        self.sha256, self.history = state["sha256"], [list(row) for row in state["history"]]

    def _path(self, update: int) -> Path:
        return self.folder / f"best-{update:09d}.pt"
