"""FLOPs of one sample of each kind of data, for each model and recipe, by the passes it needs.

The passes are those that `flava.models` runs: what the losses asked for read, nothing twice. Not
counted: in a last block, rows that are read at fewer places than others attend as if they had as
many (below 1 % of a step at the paper's sizes).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from flava.config import (
    ClipConfig,
    CodebookConfig,
    DinoInitConfig,
    FlavaConfig,
    Gather,
    PublishedCodebook,
)
from flava.cost.flops import (
    Flops,
    add,
    linear,
    patch_embedding,
    prediction_head,
    transformer,
)

FUSION = {"mmm_image", "mmm_text", "itm"}
ALL_ROWS = {"global_full", "openclip_2021"}  # each process scores the rows of all
Parts = dict[str, Flops]


@dataclass(frozen=True)
class Sample:
    """A sample of any kind of data, in the mean.

    Attributes:
        text_tokens: positions of its text, special tokens (and padding, if any) included.
        masked_patches: patches of its image that are masked.
        masked_tokens: tokens of its text that are masked.
        matching: share of the pairs whose text is their own, which MMM and the contrastive loss
            read.
        columns: rows of the whole contrastive batch.
        gather: of the contrastive loss: 'none' gives no gradient to the columns.
        processes: that train.
        cached: whether pairs are embedded once more, without gradient (`flava.train.grad_cache`).
    """

    text_tokens: float = 0.0
    masked_patches: float = 0.0
    masked_tokens: float = 0.0
    matching: float = 1.0
    columns: int = 0
    gather: Gather = "global"
    processes: int = 1
    cached: bool = False


def flava_sample(config: FlavaConfig, objectives: Collection[str], sample: Sample) -> Parts:
    """Pass -> FLOPs of one sample with these losses (`flava.models.Flava.losses`)."""
    parts: Parts = {}
    if {"mim", "global_contrastive", *FUSION} & set(objectives):
        parts["patch embedding"] = patch_embedding(
            config.grid**2, config.patch_size, config.hidden_size
        )
    if "mim" in objectives:
        parts |= _mim(config, sample)
    if "mlm" in objectives:
        parts |= _mlm(config, sample)
    if "global_contrastive" in objectives:
        parts |= _contrastive(config, sample)
        parts |= _embedded_before(parts, sample)
    if FUSION & set(objectives):
        parts |= _fusion(config, objectives, sample)
    return parts


def _image(config: FlavaConfig, reads: float) -> Flops:
    length, width = 1 + config.grid**2, config.hidden_size
    return transformer(config.image_layers, length, reads, width, config.intermediate_size)


def _text(config: FlavaConfig, tokens: float, reads: float) -> Flops:
    width = config.hidden_size
    return transformer(config.text_layers, tokens, reads, width, config.intermediate_size)


def _mim(config: FlavaConfig, sample: Sample) -> Parts:
    reads = sample.masked_patches
    return {
        "image encoder, masked": _image(config, reads),
        "MIM head": prediction_head(reads, config.hidden_size, config.codebook_size),
    }


def _mlm(config: FlavaConfig, sample: Sample) -> Parts:
    reads = sample.masked_tokens
    return {
        "text encoder, masked": _text(config, sample.text_tokens, reads),
        "MLM head": prediction_head(reads, config.hidden_size, config.vocab_size),
    }


def _contrastive(config: FlavaConfig, sample: Sample) -> Parts:
    projections = linear(1, config.hidden_size, config.projection_dim) * 2
    return {
        "image encoder, unmasked": _image(config, 1),
        "text encoder, unmasked": _text(config, sample.text_tokens, 1),
        "projections": projections,
        "contrastive loss": _cosines(config.projection_dim, sample),
    }


def _cosines(width: int, sample: Sample) -> Flops:
    """A row of image-to-text and one of text-to-image cosines, or one of each a process."""
    rows = 2 * sample.matching * (sample.processes if sample.gather in ALL_ROWS else 1)
    return linear(rows, width, sample.columns, input_grad=sample.gather != "none")


def _embedded_before(parts: Parts, sample: Sample) -> Parts:
    """The pass without gradient whose embeddings the loss of the whole batch is of, if any."""
    read = ("patch embedding", "image encoder", "text encoder", "projections")
    own = add(parts[name] for name in parts if name.removesuffix(", unmasked") in read)
    return {"embeddings, before": own.inference} if sample.cached else {}


def _fusion(config: FlavaConfig, objectives: Collection[str], sample: Sample) -> Parts:
    width, images, tokens = config.hidden_size, 1 + config.grid**2, sample.text_tokens
    patches = sample.masked_patches if "mmm_image" in objectives else 0.0
    words = sample.masked_tokens if "mmm_text" in objectives else 0.0
    length, mlp = 1 + images + tokens, config.intermediate_size
    rows = sample.matching
    parts = {
        "image encoder, masked": _image(config, images),
        "text encoder, masked": _text(config, tokens, tokens),
        "fusion encoder": linear(images + tokens, width, width)
        + transformer(config.multimodal_layers, length, 1 + rows * (patches + words), width, mlp),
    }
    if patches:
        parts["MMM image head"] = prediction_head(rows * patches, width, config.codebook_size)
    if words:
        parts["MMM text head"] = prediction_head(rows * words, width, config.vocab_size)
    if "itm" in objectives:
        parts["ITM head"] = linear(1, width, width) + linear(1, width, 2)
    return parts


def clip_sample(config: ClipConfig, sample: Sample) -> Parts:
    """Pass -> FLOPs of one pair (`flava.models.Clip.losses`)."""
    vision, text = config.vision_width, config.text_width
    patches = (config.image_size // config.patch_size) ** 2
    projections = linear(1, vision, config.embed_dim) + linear(1, text, config.embed_dim)
    parts = {
        "patch embedding": patch_embedding(patches, config.patch_size, vision),
        "image encoder": transformer(config.vision_layers, 1 + patches, 1, vision, 4 * vision),
        "text encoder": transformer(config.text_layers, sample.text_tokens, 1, text, 4 * text),
        "projections": projections,
        "contrastive loss": _cosines(config.embed_dim, sample),
    }
    return parts | _embedded_before(parts, sample)


def dvae_sample(config: CodebookConfig, grid: int) -> Parts:
    """Pass -> FLOPs of one image of grid x downsample pixels a side (`flava.models.DiscreteVAE`).

    The encoder's forward pass is what an image's tokens cost.
    """
    width, cells = config.width, grid**2
    halvings = config.downsample.bit_length() - 1
    sides = [grid * 2**step for step in range(halvings + 1)]
    residual = (linear(cells, 9 * width, width) + linear(cells, width, width)) * config.layers
    down = [
        # 4 x 4 kernels of stride 2; no gradient goes to pixels.
        linear(side**2, 16 * (width if step else 3), width, input_grad=step > 0)
        for step, side in enumerate(reversed(sides[:-1]))
    ]
    up = [linear(side**2, width, 16 * width) for side in sides[:-1]]
    return {
        "encoder": add(down) + residual + linear(cells, width, config.codebook_size),
        "codes": linear(cells, config.codebook_size, width),
        "decoder": residual + add(up) + linear(sides[-1] ** 2, width, 3),
    }


def published_convolutions(
    encoder: PublishedCodebook, codebook_size: int, grid: int
) -> list[tuple[int, int, int]]:
    """(places, values read at each, channels written) of DALL-E's encoder, for one image.

    Source: transformers' `FlavaImageCodebook`: four groups of blocks, a 2 x 2 max-pool after each
    of the first three; in a block three 3 x 3 kernels and a 1 x 1, a quarter as wide inside.
    """
    width, before = encoder.hidden_size, encoder.hidden_size
    found = [((8 * grid) ** 2, 49 * 3, width)]
    for group in range(4):
        cells, after = (8 * grid >> group) ** 2, width << group
        inside = after // 4
        for _ in range(encoder.num_blocks_per_group):
            found += [(cells, before, after)] if before != after else []
            found += [(cells, 9 * before, inside), *[(cells, 9 * inside, inside)] * 2]
            found += [(cells, inside, after)]
            before = after
    return [*found, (grid**2, before, codebook_size)]


def published_parameters(encoder: PublishedCodebook, codebook_size: int) -> int:
    """Weights and biases of DALL-E's encoder."""
    each = published_convolutions(encoder, codebook_size, grid=1)
    return sum((reads + 1) * channels for _, reads, channels in each)


def dino_sample(config: FlavaConfig, recipe: DinoInitConfig) -> Parts:
    """Pass -> FLOPs of one image: all crops through the student, two through the teacher."""
    whole = _crop(config, recipe, config.grid)
    local = _crop(config, recipe, recipe.local_size // config.patch_size)
    crops = 2 + recipe.local_crops
    return {
        "student, global crops": whole * 2,
        "student, local crops": local * recipe.local_crops,
        "teacher": (whole * 2).inference,
        "loss": linear(2, recipe.out_dim, crops, input_grad=False),  # none goes to the teacher
    }


def _crop(config: FlavaConfig, recipe: DinoInitConfig, grid: int) -> Flops:
    width, hidden = config.hidden_size, recipe.head_hidden
    encoder = transformer(config.image_layers, 1 + grid**2, 1, width, config.intermediate_size)
    head = [
        linear(1, width, hidden),
        linear(1, hidden, hidden),
        linear(1, hidden, recipe.head_bottleneck),
        linear(1, recipe.head_bottleneck, recipe.out_dim),
    ]
    return patch_embedding(grid**2, config.patch_size, width) + encoder + add(head)
