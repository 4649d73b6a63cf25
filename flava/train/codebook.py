"""Trains the image tokenizer, or takes a published one, and caches the tokens of all images.

    python -m flava.train.codebook --config results/<study>/configs/codebook.json

The tokens depend on an image's fixed crop alone, so they are computed once here and not in every
training step, where they would cost 12 % (base size) to 85 % (small) of all work.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor

from flava.config import Sharding
from flava.data.batch import Batch
from flava.errors import run_cli
from flava.io import sha256_file, write_json
from flava.jobs import CodebookJob, load_job
from flava.models import DiscreteVAE
from flava.train import identity, loop
from flava.train.code_usage import encode_corpora
from flava.train.command import train_command
from flava.train.distributed import Ranks
from flava.train.image_tokens import ENCODE_BATCH, Crops
from flava.train.published_codebook import encode_published
from flava.train.recipe import Recipe


class CodebookRecipe(Recipe):
    """The dVAE on images of all corpora; its export encodes them.

    Files of `job.output`: log.csv, curves.png, model/ (model.safetensors, config.json),
    <corpus>.npy (uint16 or int32 [images, grid x grid], row-major) for each corpus, record.json.
    """

    step = "codebook"
    job: CodebookJob
    model: DiscreteVAE

    def __init__(self, job: CodebookJob, ranks: Ranks) -> None:
        self.job = job
        self.seed, self.settings = job.seed, job.codebook
        self.objectives = {"images": ["reconstruction", "kl"]}
        self.output, self.checkpoints = Path(job.output), Path(job.checkpoints)
        torch.manual_seed(job.seed)
        self.model = DiscreteVAE(job.codebook)
        self.crops = Crops(job)
        self.ranks = ranks
        self._facts: dict[str, Any] = {}

    def schedule(self) -> NDArray[np.str_]:
        """All updates read images."""
        return np.full(self.job.codebook.updates, "images")

    def batch(self, update: int, micro: int) -> Batch:
        """This rank's images of the update: crops in [0, 1], drawn uniformly from all corpora."""
        options = self.settings
        drawn = np.random.default_rng([self.seed, 0, update]).integers(
            len(self.crops), size=options.batch_size
        )
        size = options.batch_size // options.accumulate // self.ranks.world_size
        start = (micro * self.ranks.world_size + self.ranks.rank) * size
        own = drawn[start : start + size]
        keys = [f"image {index}" for index in own.tolist()]
        return Batch(kind="images", pixels_BCHW=self.crops.sample(own), keys=keys)

    def losses(self, batch: Batch, update: int) -> Mapping[str, Tensor]:
        """Reconstruction error and weighted KL to the uniform prior."""
        config = self.job.codebook
        heat = temperature(update, config.updates, config.temperature_start, config.temperature_end)
        assert batch.pixels_BCHW is not None
        terms: dict[str, Tensor] = self.model(batch.pixels_BCHW, heat)
        return {"reconstruction": terms["reconstruction"], "kl": config.kl_weight * terms["kl"]}

    def export(self, directory: Path) -> None:
        """Weights and configuration; then the tokens of all images, beside `directory`.

        Raises:
            TrainingError: too few codes are in use.
        """
        model = self.model.to(self.ranks.device).eval()
        files, used = encode_corpora(model, self.crops, self.job, self.ranks.device)
        self._facts = {
            "tokens_sha256": {name: sha256_file(file.path) for name, file in files.items()},
            "images": self.report(),
            "reconstruction_mse": reconstruction_mse(model, self.crops, self.job),
            **used,
        }
        model.cpu()
        save_file(
            {k: v.contiguous() for k, v in model.state_dict().items()},
            directory / "model.safetensors",
        )
        write_json(directory / "config.json", self.job.codebook.model_dump(mode="json"))
        for name, file in files.items():
            file.move_to(self.output / f"{name}.npy")

    def inputs(self) -> dict[str, Any]:
        """Hashes of the manifests."""
        return dict(identity.file_hashes(self.manifests()))

    def manifests(self) -> list[Path]:
        """Manifests of the image corpora."""
        return identity.manifests(self.job.corpora)

    def facts(self) -> dict[str, Any]:
        """Hashes of the tokens, and how good the codebook is."""
        return self._facts

    def report(self) -> dict[str, Any]:
        """Images and corrupt ones of each corpus."""
        return {name: corpus.report() for name, corpus in self.crops.corpora.items()}

    def title(self) -> str:
        """Heading of the curves."""
        return f"{self.job.study}: image tokenizer"


def codebook(config_path: str, sharding: Sharding = "none") -> None:
    """What a launcher starts on every rank: the image tokens of a resolved job's file.

    Raises:
        ConfigError, DataError, TrainingError, CheckpointError: as their messages say.
    """
    job = load_job(CodebookJob, config_path)
    make = train_codebook if job.codebook.published is None else encode_published
    make(job, sharding)


def train_codebook(job: CodebookJob, sharding: Sharding = "none") -> None:
    """Trains the dVAE, or continues its training, and writes `job.output`, record.json last.

    Raises:
        DataError: a corpus is missing or damaged.
        TrainingError: the loss is not finite, or too few codes are in use.
    """
    loop.run(lambda ranks: CodebookRecipe(job, ranks), sharding)


def temperature(update: int, updates: int, start: float, end: float) -> float:
    """Gumbel-softmax temperature: half a cosine from `start` to `end` (DALL-E, appendix A.2)."""
    progress = update / max(1, updates - 1)
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * progress))


def reconstruction_mse(model: DiscreteVAE, crops: Crops, job: CodebookJob) -> float:
    """Mean squared error, over pixels in [0, 1], of images decoded from their tokens."""
    drawn = np.random.default_rng([job.seed, 1]).integers(len(crops), size=ENCODE_BATCH)
    pixels_BCHW = crops.sample(drawn).to(model.codebook.weight.device)
    tokens_BHW = model.encode_tokens(pixels_BCHW).view(-1, job.grid, job.grid)
    return float((model.decode_tokens(tokens_BHW) - pixels_BCHW).square().mean())


def main() -> None:
    """Command line."""
    train_command("flava.train.codebook", __doc__, CodebookJob, codebook)


if __name__ == "__main__":
    run_cli(main)
