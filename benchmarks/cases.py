"""What is timed: model sizes, and batches with the caption lengths of real captions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from flava.config import FlavaConfig, MaskingConfig
from flava.data.batch import Batch
from flava.data.masking import IGNORE, BlockMasker, TextMasker

# A caption has 12 words on average, 1.25 word pieces a word, [CLS] and [SEP]: 17 tokens.
WORDS_SHAPE, WORDS_SCALE = 4.0, 3.0  # gamma distribution: mean 12 words, standard deviation 6
PIECES_A_WORD = 1.25
PADDED_LENGTH = 77  # what Hugging Face's FLAVA processor pads to
PAD, CLS, SEP, MASK, FIRST_WORD = 0, 101, 102, 103, 999  # bert-base-uncased
NO_MATCH_SHARE = 0.1

OBJECTIVES: dict[str, list[str]] = {
    "multimodal": ["global_contrastive", "mmm_image", "mmm_text", "itm"],
    "mim": ["mim"],
    "mlm": ["mlm"],
}


@dataclass(frozen=True)
class Size:
    """A model, its batch size, and the most that our step may take of Hugging Face's time.

    The targets are the reference's ms over Hugging Face's, minima on one machine: a step written
    for this project that does only what the losses need (docs/performance.md).
    """

    config: FlavaConfig
    batch_size: int
    targets: Mapping[str, float]


SIZES = {
    "tiny": Size(
        FlavaConfig(
            hidden_size=32, num_attention_heads=2, intermediate_size=64, image_layers=2,
            text_layers=2, multimodal_layers=2, image_size=32, patch_size=8, vocab_size=1200,
            max_text_length=PADDED_LENGTH, codebook_size=64, projection_dim=16,
        ),
        4,
        {},
    ),
    "small": Size(
        FlavaConfig(
            hidden_size=192, num_attention_heads=3, intermediate_size=768, image_layers=4,
            text_layers=4, multimodal_layers=2,
        ),
        16,
        {"multimodal": 721 / 5301, "mim": 308 / 4281, "mlm": 53 / 182},
    ),
    "base": Size(
        FlavaConfig(), 4, {"multimodal": 6797 / 9876, "mim": 2338 / 3976, "mlm": 387 / 1516}
    ),
}  # fmt: skip


def caption_lengths(rows: int, random: np.random.Generator) -> list[int]:
    """Tokens of `rows` captions, special tokens included; none is longer than the padding."""
    words = np.maximum(1, np.rint(random.gamma(WORDS_SHAPE, WORDS_SCALE, rows)))
    return np.minimum(np.rint(PIECES_A_WORD * words) + 2, PADDED_LENGTH).astype(int).tolist()


def multimodal_batch(size: Size, seed: int, length: int | None = None) -> Batch:
    """Random pixels and word pieces; masks, labels and padding as in training.

    Image tokens are missing: `contestants` takes them from Hugging Face's dVAE.

    Args:
        length: tokens of every caption; None: as real captions have.
    """
    random, config, rows = np.random.default_rng(seed), size.config, size.batch_size
    lengths = [length] * rows if length else caption_lengths(rows, random)
    shape_BL = (rows, max(lengths))
    text_BL = np.full(shape_BL, PAD)
    masked_BL, labels_BL = text_BL.copy(), np.full(shape_BL, IGNORE)
    masker = TextMasker(MaskingConfig(), MASK, np.arange(config.vocab_size) < FIRST_WORD)
    for row, length in enumerate(lengths):
        words = random.integers(FIRST_WORD, config.vocab_size, length - 2)
        text_BL[row, :length] = [CLS, *words, SEP]
        masked_BL[row, :length], labels_BL[row, :length] = masker.mask(
            text_BL[row, :length], random
        )
    masking = MaskingConfig(image_patches=min(75, config.grid**2 // 2), min_block_patches=4)
    patches = BlockMasker(masking, config.grid)
    side = config.image_size
    matches = (random.random(rows) >= NO_MATCH_SHARE).astype(np.int64)
    matches[0] = 1
    return Batch(
        kind="pairs",
        pixels_BCHW=torch.from_numpy(random.standard_normal((rows, 3, side, side), np.float32)),
        patch_mask_BP=torch.from_numpy(patches.unpack([patches.bits(random) for _ in lengths])),
        text_BL=torch.from_numpy(text_BL),
        text_masked_BL=torch.from_numpy(masked_BL),
        text_labels_BL=torch.from_numpy(labels_BL),
        text_attention_BL=torch.arange(shape_BL[1]) < torch.tensor(lengths)[:, None],
        itm_labels_B=torch.from_numpy(matches),
        keys=[f"row{row}" for row in range(rows)],
    )


def codebook_pixels(size: Size, seed: int) -> Tensor:
    """Input of the dVAE, whose encoder halves its side three times."""
    side = 8 * size.config.grid
    return torch.rand(size.batch_size, 3, side, side, generator=torch.Generator().manual_seed(seed))
