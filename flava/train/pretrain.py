"""Joint pretraining, one column of Table C.1: `python -m flava.train.pretrain --config <file>`."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from flava.config import Sharding
from flava.data.batch import Batch
from flava.data.mixture import MixtureLoader
from flava.errors import ConfigError, run_cli
from flava.jobs import RunConfig, load_job
from flava.models import Clip, Flava, build, load_model, save_model
from flava.objectives import EmbeddingGradients
from flava.splits import check_run
from flava.train import identity, loop
from flava.train.command import train_command
from flava.train.distributed import Ranks
from flava.train.finish import check_equal
from flava.train.grad_cache import cache_contrastive
from flava.train.initial import check_unchanged, init_records, initialise
from flava.train.recipe import Recipe
from flava.train.selection import SelectionSet, zero_shot_accuracy


def pretrain(config_path: str, sharding: Sharding = "none") -> None:
    """Trains one run to its end on this process's rank; rank 0 writes the results.

    Args:
        sharding: "fsdp" shards weights and optimiser over the ranks.
        config_path: a resolved `RunConfig` as JSON. Ranks come from the environment (RANK,
            WORLD_SIZE, LOCAL_RANK, MASTER_ADDR, MASTER_PORT), so a launcher can run this function
            as it is on every rank.

    Raises:
        ConfigError, DataError, TrainingError, CheckpointError: as their messages say.
    """
    config = load_job(RunConfig, config_path)
    loop.run(lambda ranks: PretrainRecipe(config, ranks), sharding)


class PretrainRecipe(Recipe):
    """FLAVA or CLIP on the mixture of a column's data."""

    step = "pretrain"
    model: Flava | Clip

    def __init__(self, run: RunConfig, ranks: Ranks) -> None:
        self.job = self.run = run
        self.seed, self.settings = run.seed, run.pretrain
        self.objectives = {str(kind): list(names) for kind, names in run.objectives.items()}
        self.output, self.checkpoints = Path(run.output), Path(run.checkpoints)
        torch.manual_seed(run.seed)
        self.model = build_model(run)
        self.init_report: dict[str, Any] = {}
        check_run(run, ranks.world_size)
        self.loader = MixtureLoader(run, ranks.rank, ranks.world_size)
        self.ranks = ranks
        self._selection: SelectionSet | None = None

    def initialise(self) -> None:
        """Puts the initial weights into the encoders."""
        self.init_report = initialise(self.model, self.run.init)

    def state(self) -> dict[str, Any]:
        """What initialised the encoders."""
        return {"init": self.init_report}

    def load_state(self, state: dict[str, Any]) -> None:
        """Takes over what `state` returned; older checkpoints do not have it.

        Raises:
            CheckpointError: published weights have changed since.
        """
        if "init" in state:
            self.init_report = state["init"]
            check_unchanged(self.run.init, self.init_report)
        else:
            self.init_report = initialise(build_model(self.run), self.run.init)

    def schedule(self) -> NDArray[np.str_]:
        """Kind of each update."""
        return self.loader.schedule()

    def batch(self, update: int, micro: int) -> Batch:
        """This rank's rows of a micro-batch."""
        return self.loader.batch(update, micro)

    def losses(self, batch: Batch, update: int) -> Mapping[str, Tensor]:
        """The losses that the column asks for on this kind of data, each with weight 1."""
        gradients = batch.embedding_gradients_2BD
        contrastive = self.run.contrastive if gradients is None else EmbeddingGradients(*gradients)
        losses: dict[str, Tensor] = self.model(batch, self.objectives[batch.kind], contrastive)
        return losses

    def prepare(
        self, batches: Sequence[Batch], update: int, scale: float
    ) -> tuple[Sequence[Batch], Mapping[str, Tensor]]:
        """The contrastive loss of the whole batch, where it comes in several micro-batches."""
        whole = len(batches) > 1 and self.run.pretrain.contrastive_batch == "whole"
        if not whole or "global_contrastive" not in self.objectives[batches[0].kind]:
            return batches, {}
        cached, loss = cache_contrastive(self.model, batches, self.run.contrastive, scale)
        return cached, {"global_contrastive": loss}

    @property
    def select_updates(self) -> int | None:
        """Columns with a contrastive loss are selected by zero-shot accuracy (supplement B.1)."""
        return self.run.pretrain.select_updates if self.run.selection else None

    def score(self) -> float:
        """Zero-shot accuracy on the selection set, in [0, 1]."""
        if self._selection is None:
            assert self.run.selection is not None
            self._selection = SelectionSet(Path(self.run.selection), self.run.tokenizer)
        return zero_shot_accuracy(self.model, self._selection, self.ranks)

    @property
    def diagnostics(self) -> Sequence[str]:
        """The contrastive temperature."""
        return ["logit_scale"]

    def diagnose(self) -> dict[str, float | None]:
        """ln(1 / temperature) after the last update."""
        return {"logit_scale": float(self.model.logit_scale.detach())}

    def export(self, directory: Path) -> None:
        """The model in Hugging Face's layout, and its tokenizer."""
        save_model(self.model, directory)
        shutil.copyfile(self.run.tokenizer_path, directory / "tokenizer.json")
        check_equal(self.model.state_dict(), load_model(directory).state_dict(), directory)

    def inputs(self) -> dict[str, Any]:
        """Hashes of manifests, tokenizer, image tokens, initial encoders and the selection set."""
        run = self.run
        files = [*identity.manifests(run.corpora), Path(run.tokenizer_path)]
        hashes: dict[str, Any] = identity.file_hashes(files)
        hashes |= identity.token_hashes(run.image_tokens)
        if self.select_updates:
            hashes |= identity.selection_hashes(run.selection)
        return hashes | identity.model_hashes(init_records(run.init))

    def parents(self) -> list[Path]:
        """Records of the codebook, the initial encoders and the selection set."""
        tokens = identity.token_records(self.run.image_tokens)
        chosen_by = identity.selection_records(self.run.selection)
        return [*tokens, *init_records(self.run.init), *chosen_by]

    def manifests(self) -> list[Path]:
        """Manifests of the corpora in use."""
        return identity.manifests(self.run.corpora)

    def facts(self) -> dict[str, Any]:
        """What initialised the encoders."""
        return {"init": self.init_report} if self.init_report else {}

    def report(self) -> dict[str, Any]:
        """Samples and corrupt images of each corpus."""
        return self.loader.report()

    def title(self) -> str:
        """Heading of the curves."""
        return f"{self.run.study}: {self.run.column}, seed {self.run.seed}"


def build_model(run: RunConfig) -> Flava | Clip:
    """The run's model with random weights, the same on every rank.

    Raises:
        ConfigError: the run has no settings for its architecture.
    """
    config = run.flava if run.arch == "flava" else run.clip
    if config is None:
        raise ConfigError(f"Column '{run.column}' has arch '{run.arch}' but no settings for it.")
    return build(run.arch, config)


def main() -> None:
    """Command line."""
    train_command("flava.train.pretrain", __doc__, RunConfig, pretrain)


if __name__ == "__main__":
    run_cli(main)
