"""Image encoder by BEiT's recipe (supplement B.1): dVAE tokens of masked patches.

python -m flava.train.init_beit --config results/<study>/inits/beit-s<seed>/config.json
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from flava.config import Sharding
from flava.data.batch import Batch
from flava.data.corpus import ImageCorpus
from flava.data.kinds import ImageBatches
from flava.data.masking import BlockMasker
from flava.data.schedule import Order, Share
from flava.errors import DataError, run_cli
from flava.jobs import BeitJob, load_job
from flava.models.encoders import ImageEncoder
from flava.models.transformer import set_drop_path
from flava.models.unimodal import MaskedImageModel
from flava.objectives import mim_loss
from flava.train import identity, loop
from flava.train.command import train_command
from flava.train.distributed import Ranks
from flava.train.encoder_recipe import EncoderRecipe, Predictions
from flava.train.selection import SelectionSet, image_knn
from flava.train.tokenized_views import TokenizedViews

CACHE_BYTES = 512_000_000  # fixed crops are kept in memory up to this size


def pretrain_image(config_path: str, sharding: Sharding = "none") -> None:
    """Trains to the end on this process's rank: what a launcher starts.

    Raises:
        ConfigError, DataError, TrainingError, CheckpointError: as their messages say.
    """
    job = load_job(BeitJob, config_path)
    loop.run(lambda ranks: BeitRecipe(job, ranks), sharding)


class BeitRecipe(EncoderRecipe):
    """MIM on images alone, with BEiT's augmentation or on FLAVA's fixed crops."""

    step, part = "init_beit", "image"
    job: BeitJob
    model: MaskedImageModel

    def __init__(self, job: BeitJob, ranks: Ranks) -> None:
        super().__init__(job, ranks)
        options = self.settings = job.recipe
        self.objectives = {"images": ["mim"]}
        self.model = MaskedImageModel(job.flava)
        set_drop_path(self.model.image_encoder, options.drop_path)
        self.share = Share(options.batch_size, options.accumulate, ranks.rank, ranks.world_size)
        masker = BlockMasker(job.masking, job.flava.grid)
        self.corpus = ImageCorpus(job.images, job.image_tokens, options.bad_image_fraction)
        if self.corpus.tokens_per_image != job.flava.grid**2:
            raise DataError(
                f"{job.image_tokens} has {self.corpus.tokens_per_image} tokens an image, the model "
                f"{job.flava.grid**2} patches. Run the codebook step again."
            )
        self.batches: ImageBatches | TokenizedViews
        if options.augment == "fixed":
            size = job.flava.image_size
            self.batches = ImageBatches(
                "images", self.corpus, job.seed, masker, size, job.crop_scale_min
            )
            self.corpus.cache_crops(size, job.crop_scale_min, CACHE_BYTES)
        else:
            dvae = Path(job.image_tokens).with_name("model")
            self.batches = TokenizedViews(job, self.corpus, masker, dvae, ranks.device)
        self.order = Order(job.seed, "images", len(self.corpus))
        self.predictions = Predictions(job.flava.codebook_size)

    def schedule(self) -> NDArray[np.str_]:
        """All updates read images."""
        return np.full(self.job.recipe.updates, "images")

    def batch(self, update: int, micro: int) -> Batch:
        """This rank's rows of a micro-batch."""
        return self.batches.batch(self.share.rows(self.order, update, update, micro))

    def losses(self, batch: Batch, update: int) -> Mapping[str, Tensor]:
        """MIM."""
        logits_NV, tokens_N = self.model(batch)
        self.predictions.add(logits_NV, tokens_N)
        return {"mim": mim_loss(logits_NV, tokens_N)}

    def encoder(self) -> ImageEncoder:
        """The image encoder, without its head."""
        return self.model.image_encoder

    def knn(self) -> float | None:
        """Of [CLS_I] after the final norm."""
        if self.job.selection is None:
            return None
        data = SelectionSet(Path(self.job.selection))
        return image_knn(self.model.image_encoder.cls, data, self.ranks.device)

    def inputs(self) -> dict[str, Any]:
        """Hashes of the manifest and the image tokens."""
        hashes: dict[str, Any] = identity.file_hashes(self.manifests())
        return hashes | identity.token_hashes({"images": self.job.image_tokens})

    def parents(self) -> list[Path]:
        """Records of the codebook and the selection set."""
        return [*super().parents(), *identity.token_records({"images": self.job.image_tokens})]

    def manifests(self) -> list[Path]:
        """Manifest of the images."""
        return identity.manifests({"images": self.job.images})

    def report(self) -> dict[str, Any]:
        """Images and corrupt ones."""
        return self.corpus.report()


def main() -> None:
    """Command line."""
    train_command("flava.train.init_beit", __doc__, BeitJob, pretrain_image)


if __name__ == "__main__":
    run_cli(main)
