"""Small models with every parameter randomised, and batches, for the tests of this folder."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn

from flava.config import ClipConfig, ContrastiveConfig, FlavaConfig
from flava.data.batch import Batch

ONE_RANK = ContrastiveConfig(gather="global", ranks=1)
PAIR_OBJECTIVES = ["global_contrastive", "mmm_image", "mmm_text", "itm"]

SMALL = FlavaConfig(
    hidden_size=48,
    num_attention_heads=4,
    intermediate_size=96,
    image_layers=3,
    text_layers=2,
    multimodal_layers=2,
    image_size=32,
    patch_size=8,
    vocab_size=120,
    max_text_length=24,
    codebook_size=64,
    projection_dim=20,
)
BASE = FlavaConfig()
SMALL_CLIP = ClipConfig(
    image_size=32,
    patch_size=8,
    vision_width=48,
    vision_layers=3,
    vision_heads=4,
    text_width=32,
    text_layers=2,
    text_heads=2,
    vocab_size=120,
    context_length=16,
    embed_dim=20,
)


def randomise(model: nn.Module, seed: int = 0) -> nn.Module:
    """Adds noise to constant parameters: zeros and ones would hide a wrong use of them."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.min() == parameter.max():
                parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    return model


def pair_batch(
    config: FlavaConfig, rows: int, length: int, itm_labels: list[int] | None = None, seed: int = 1
) -> Batch:
    """A pair batch whose texts have different lengths; every sample has masked positions."""
    generator = torch.Generator().manual_seed(seed)
    patches = config.grid**2
    text = torch.randint(5, config.vocab_size, (rows, length), generator=generator)
    lengths = torch.linspace(4, length, rows).long()
    attention = torch.arange(length) < lengths[:, None]
    text = text.masked_fill(~attention, 0)
    masked = (torch.rand(rows, length, generator=generator) < 0.2) & attention
    masked[:, 2] = True
    patch_mask = torch.rand(rows, patches, generator=generator) < 0.4
    patch_mask[:, 1] = True
    side = config.image_size
    return Batch(
        kind="pairs",
        pixels_BCHW=torch.randn(rows, 3, side, side, generator=generator),
        patch_mask_BP=patch_mask,
        image_tokens_BP=torch.randint(config.codebook_size, (rows, patches), generator=generator),
        text_BL=text,
        text_masked_BL=text.masked_fill(masked, 4),
        text_labels_BL=text.masked_fill(~masked, -100),
        text_attention_BL=attention,
        itm_labels_B=None if itm_labels is None else torch.tensor(itm_labels),
        keys=[f"row{i}" for i in range(rows)],
    )


def image_batch(pairs: Batch) -> Batch:
    """The images of a pair batch alone."""
    return Batch(
        kind="images",
        pixels_BCHW=pairs.pixels_BCHW,
        patch_mask_BP=pairs.patch_mask_BP,
        image_tokens_BP=pairs.image_tokens_BP,
    )


def text_batch(pairs: Batch) -> Batch:
    """The texts of a pair batch alone."""
    return replace(
        pairs, kind="texts", pixels_BCHW=None, patch_mask_BP=None, image_tokens_BP=None,
        itm_labels_B=None,
    )  # fmt: skip


def gradient_norm(model: nn.Module) -> float:
    """L2 norm over all parameters that have a gradient."""
    squares = [p.grad.double().square().sum() for p in model.parameters() if p.grad is not None]
    return float(torch.stack(squares).sum().sqrt())
