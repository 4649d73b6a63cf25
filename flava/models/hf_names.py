"""Which of our parameters is which of Hugging Face's, for FLAVA and CLIP."""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

from flava.config import ClipConfig, FlavaConfig


class Entry(NamedTuple):
    """One of our parameters; several Hugging Face parameters are stacked along dimension 0."""

    ours: str
    theirs: tuple[str, ...]
    their_shape: tuple[int, ...] | None = None


HEADS = ("mim_head", "mlm_head", "mmm_image_head", "mmm_text_head")
POOLERS = tuple(f"flava.{part}_model.pooler.dense" for part in ("image", "text", "multimodal"))

# What Hugging Face stores and no loss of ours reads, with the reason.
FLAVA_UNUSED = {
    r"flava\.(image|text|multimodal)_model\.pooler\.": "encoder pooler: no loss reads it",
    r"image_codebook\.": "DALL-E codebook: image tokens are prepared beforehand",
    r".*\.(position_ids|token_type_ids)$": "constant buffer of old releases",
}
CLIP_UNUSED = {r".*\.position_ids$": "constant buffer of old releases"}


def flava_entries(config: FlavaConfig) -> list[Entry]:
    """All parameters of `Flava`."""
    width, side = config.hidden_size, config.patch_size
    image, text, fusion = (f"flava.{part}_model" for part in ("image", "text", "multimodal"))
    embedding, words = "image_encoder.embedding", f"{text}.embeddings"
    entries = [
        Entry(
            f"{embedding}.projection.weight",
            (f"{image}.embeddings.patch_embeddings.projection.weight",),
            (width, 3, side, side),
        ),
        Entry(
            f"{embedding}.projection.bias",
            (f"{image}.embeddings.patch_embeddings.projection.bias",),
        ),
        Entry(f"{embedding}.cls_token", (f"{image}.embeddings.cls_token",), (1, 1, width)),
        Entry("image_encoder.mask_token", (f"{image}.embeddings.mask_token",), (1, 1, width)),
        Entry(
            f"{embedding}.position_embeddings",
            (f"{image}.embeddings.position_embeddings",),
            (1, 1 + config.grid**2, width),
        ),
        Entry("text_encoder.token_embeddings.weight", (f"{words}.word_embeddings.weight",)),
        Entry("text_encoder.position_embeddings.weight", (f"{words}.position_embeddings.weight",)),
        Entry(
            "text_encoder.token_type_embeddings.weight", (f"{words}.token_type_embeddings.weight",)
        ),
        Entry("multimodal_encoder.cls_token", (f"{fusion}.cls_token",), (1, 1, width)),
        Entry("logit_scale", ("flava.logit_scale",)),
        *linear("text_encoder.embedding_norm", f"{words}.LayerNorm"),
        *linear("itm_head.pooler", "itm_head.pooler.dense"),
        *linear("itm_head.classifier", "itm_head.seq_relationship"),
    ]
    for part, layers in (
        ("image", config.image_layers),
        ("text", config.text_layers),
        ("multimodal", config.multimodal_layers),
    ):
        entries += linear(f"{part}_encoder.norm", f"flava.{part}_model.layernorm")
        for i in range(layers):
            entries += _flava_block(
                f"{part}_encoder.transformer.blocks.{i}", f"flava.{part}_model.encoder.layer.{i}"
            )
    for name in ("image", "text", "image_to_mm", "text_to_mm"):
        entries += linear(f"{name}_projection", f"flava.{name}_projection")
    for head in HEADS:
        entries += linear(f"{head}.dense", f"{head}.transform.dense")
        entries += linear(f"{head}.norm", f"{head}.transform.LayerNorm")
        entries += linear(f"{head}.decoder", f"{head}.decoder")
    return entries


def encoder_entries(config: FlavaConfig, part: Literal["image", "text"]) -> list[Entry]:
    """All parameters of FLAVA's image or text encoder, by its own and `Flava*Model`'s names."""
    ours, theirs = f"{part}_encoder.", f"flava.{part}_model."
    return [
        Entry(
            entry.ours.removeprefix(ours),
            tuple(name.removeprefix(theirs) for name in entry.theirs),
            entry.their_shape,
        )
        for entry in flava_entries(config)
        if entry.ours.startswith(ours)
    ]


def clip_entries(config: ClipConfig) -> list[Entry]:
    """All parameters of `Clip`."""
    width, side = config.vision_width, config.patch_size
    vision, text = "vision_model", "text_model"
    entries = [
        Entry(
            "image_encoder.embedding.projection.weight",
            (f"{vision}.embeddings.patch_embedding.weight",),
            (width, 3, side, side),
        ),
        Entry("image_encoder.embedding.cls_token", (f"{vision}.embeddings.class_embedding",)),
        Entry(
            "image_encoder.embedding.position_embeddings",
            (f"{vision}.embeddings.position_embedding.weight",),
        ),
        Entry(
            "text_encoder.token_embeddings.weight", (f"{text}.embeddings.token_embedding.weight",)
        ),
        Entry(
            "text_encoder.position_embeddings.weight",
            (f"{text}.embeddings.position_embedding.weight",),
        ),
        Entry("image_projection.weight", ("visual_projection.weight",)),
        Entry("text_projection.weight", ("text_projection.weight",)),
        Entry("logit_scale", ("logit_scale",)),
        # Hugging Face's spelling.
        *linear("image_encoder.norm_before", f"{vision}.pre_layrnorm"),
        *linear("image_encoder.norm", f"{vision}.post_layernorm"),
        *linear("text_encoder.norm", f"{text}.final_layer_norm"),
    ]
    for part, theirs, layers in (
        ("image", vision, config.vision_layers),
        ("text", text, config.text_layers),
    ):
        for i in range(layers):
            entries += _clip_block(
                f"{part}_encoder.transformer.blocks.{i}", f"{theirs}.encoder.layers.{i}"
            )
    return entries


def unused_reason(name: str, unused: dict[str, str]) -> str | None:
    """Why a Hugging Face parameter is not read; None for one that is not known."""
    return next((why for pattern, why in unused.items() if re.match(pattern, name)), None)


def linear(ours: str, theirs: str) -> list[Entry]:
    """Weight and bias of a Linear or norm."""
    return [Entry(f"{ours}.{kind}", (f"{theirs}.{kind}",)) for kind in ("weight", "bias")]


def qkv(ours: str, theirs: str, names: tuple[str, str, str]) -> list[Entry]:
    """Weight and bias of one Linear that they have as three, stacked."""
    return [
        Entry(f"{ours}.{kind}", tuple(f"{theirs}.{name}.{kind}" for name in names))
        for kind in ("weight", "bias")
    ]


def _flava_block(ours: str, theirs: str) -> list[Entry]:
    attention = f"{theirs}.attention"
    return [
        *linear(f"{ours}.norm1", f"{theirs}.layernorm_before"),
        *qkv(f"{ours}.qkv", f"{attention}.attention", ("query", "key", "value")),
        *linear(f"{ours}.out", f"{attention}.output.dense"),
        *linear(f"{ours}.norm2", f"{theirs}.layernorm_after"),
        *linear(f"{ours}.fc1", f"{theirs}.intermediate.dense"),
        *linear(f"{ours}.fc2", f"{theirs}.output.dense"),
    ]


def _clip_block(ours: str, theirs: str) -> list[Entry]:
    attention = f"{theirs}.self_attn"
    return [
        *linear(f"{ours}.norm1", f"{theirs}.layer_norm1"),
        *qkv(f"{ours}.qkv", attention, ("q_proj", "k_proj", "v_proj")),
        *linear(f"{ours}.out", f"{attention}.out_proj"),
        *linear(f"{ours}.norm2", f"{theirs}.layer_norm2"),
        *linear(f"{ours}.fc1", f"{theirs}.mlp.fc1"),
        *linear(f"{ours}.fc2", f"{theirs}.mlp.fc2"),
    ]
