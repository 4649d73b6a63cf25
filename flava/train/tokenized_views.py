"""BEiT's augmentation: a random view of each image, its dVAE tokens made in the step."""

from __future__ import annotations

from pathlib import Path

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file

from flava.config import CodebookConfig
from flava.data.augment import beit_views
from flava.data.batch import Batch
from flava.data.corpus import ImageCorpus
from flava.data.kinds import patch_masks
from flava.data.masking import BlockMasker
from flava.data.schedule import Rows
from flava.errors import CheckpointError
from flava.io import read_json
from flava.jobs import BeitJob
from flava.models import DiscreteVAE
from flava.models.dalle import ImageTokenizer, load_encoder

CACHE_BYTES = 512_000_000  # decoded images are kept in memory up to this size


class TokenizedViews:
    """Random crops with flip and colour jitter, shared by the encoder and the dVAE.

    Args:
        job: its augmentation, sizes and seed.
        corpus: of images; its cached tokens, which belong to other crops, are not read.
        masker: of block masks.
        dvae: folder of the image tokenizer.
        device: where the dVAE runs.

    Raises:
        CheckpointError: the image tokenizer is missing or damaged.
    """

    def __init__(
        self,
        job: BeitJob,
        corpus: ImageCorpus,
        masker: BlockMasker,
        dvae: Path,
        device: torch.device,
    ) -> None:
        self.job, self.corpus, self.masker, self.device = job, corpus, masker, device
        self.dvae = load_codebook(dvae).to(device)
        self.token_size = job.flava.grid * self.dvae.config.downsample
        corpus.cache_images(CACHE_BYTES)

    def batch(self, rows: Rows) -> Batch:
        """Encoder pixels, block masks and tokens of the same view."""
        recipe = self.job.recipe
        found = [self.corpus.good_image(index) for index in rows.samples.tolist()]
        pixels_BCHW, unit_BCHW = beit_views(
            [image for _, image in found],
            self.job.seed,
            rows.update,
            rows.numbers,
            image_size=self.job.flava.image_size,
            token_size=self.token_size,
            scale_min=recipe.crop_scale_min,
            color_jitter=recipe.color_jitter,
        )
        return Batch(
            kind="images",
            pixels_BCHW=pixels_BCHW,
            patch_mask_BP=patch_masks(self.job.seed, self.masker, rows),
            image_tokens_BP=self.dvae.encode_tokens(unit_BCHW.to(self.device)).cpu(),
            keys=[self.corpus.key(index) for index, _ in found],
        )


def load_codebook(folder: Path) -> ImageTokenizer:
    """The image tokenizer, trained or published, in evaluation mode.

    Raises:
        CheckpointError: a file is missing or damaged.
        ConfigError: it is the published one, and transformers is not installed.
    """
    try:
        values = read_json(folder / "config.json")
        if "model_type" in values:  # Hugging Face's
            return load_encoder(folder)
        config = CodebookConfig.model_validate(values)
        model = DiscreteVAE(config)
        model.load_state_dict(load_file(folder / "model.safetensors"))
    except (ValidationError, SafetensorError, OSError, RuntimeError) as error:
        first = str(error).splitlines()[0]
        raise CheckpointError(
            f"The image tokenizer in {folder} cannot be read: {first}. Run the codebook step again."
        ) from None
    return model.eval()
