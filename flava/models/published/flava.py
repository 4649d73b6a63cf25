"""Layout of FLAVA as Hugging Face has it: whole, without heads, or a lone encoder."""

from __future__ import annotations

from typing import Literal

from flava.config import FlavaConfig
from flava.models.hf import untie
from flava.models.hf_config import from_hf_config
from flava.models.hf_names import FLAVA_UNUSED, Entry, encoder_entries, flava_entries
from flava.models.published.adapt import OURS, PatchNames, adapt_image, adapt_text_positions
from flava.models.published.conversion import Conversion
from flava.models.published.structure import check_encoder_config

HEAD_ENTRIES = ("mim_head.", "mlm_head.", "mmm_image_head.", "mmm_text_head.", "itm_head.")
ENCODERS = r"(image|text|multimodal)_model\."


def prepare_flava(
    c: Conversion, config: FlavaConfig, part: Literal["image", "text", "flava"]
) -> list[Entry]:
    """`FlavaForPreTraining`, `FlavaModel`, or a lone encoder as `save_encoder` writes it."""
    lone = _add_prefix(c, part)
    for pattern, reason in FLAVA_UNUSED.items():
        c.drop(pattern, reason)
    if part == "flava":
        untie(c.tensors, c.where)
        _check_whole(c, config)
        entries = _with_or_without_heads(c, flava_entries(config))
    else:
        c.drop(rf"(?!flava\.{part}_model\.)", f"not of the {part} encoder")
        c.unprefix(f"flava.{part}_model.")
        _check_part(c, config, part, lone)
        entries = encoder_entries(config, part)
    prefix = "flava.image_model." if part == "flava" else ""
    if part != "text":
        patches = "embeddings.patch_embeddings.projection"
        names = [f"{patches}.weight", f"{patches}.bias", "embeddings.position_embeddings"]
        adapt_image(c, PatchNames(*(prefix + name for name in names)), config.grid, OURS)
    if part != "image":
        name = "embeddings.position_embeddings.weight"
        if part == "flava":
            name = f"flava.text_model.{name}"
        adapt_text_positions(c, name, config.max_text_length)
    return entries


def _add_prefix(c: Conversion, part: str) -> bool:
    """Gives all files `FlavaForPreTraining`'s names; True for a lone encoder."""
    if c.names(r"flava\."):
        return False
    lone = not c.names(ENCODERS)
    if lone:
        kind = "image" if c.names(r"embeddings\.patch_embeddings\.") else "text"
        if part != kind or not c.names(r"embeddings\."):
            c.refuse(f"it is no FLAVA or {part} encoder. Set `source` to the folder of one.")
        prefix = f"flava.{kind}_model."
    else:
        prefix = "flava."
    c.tensors = {
        name if name.startswith(("image_codebook.", *HEAD_ENTRIES)) else prefix + name: value
        for name, value in c.tensors.items()
    }
    return lone


def _with_or_without_heads(c: Conversion, entries: list[Entry]) -> list[Entry]:
    """`FlavaModel` has no prediction head at all; a file with some of them is damaged."""
    heads = [entry for entry in entries if entry.ours.startswith(HEAD_ENTRIES)]
    if any(name in c.tensors for entry in heads for name in entry.theirs):
        return entries
    c.absent([entry.ours for entry in heads], "FlavaModel has no prediction heads")
    return [entry for entry in entries if entry not in heads]


def _check_whole(c: Conversion, config: FlavaConfig) -> None:
    if c.located.config is None:
        c.check_heads(None, config.num_attention_heads)
        c.differs("LayerNorm eps is not in the file: no config.json is beside it")
        return
    theirs = from_hf_config(c.located.config, str(c.located.file.with_name("config.json")))
    if not isinstance(theirs, FlavaConfig):
        c.refuse("config.json beside it is of a CLIP. Set `layout` to 'clip'.")
    c.check_heads(theirs.num_attention_heads, config.num_attention_heads)
    c.check_eps(theirs.layer_norm_eps, config.layer_norm_eps)
    c.check_eps(theirs.head_layer_norm_eps, config.head_layer_norm_eps, "the heads' LayerNorm")


def _check_part(c: Conversion, config: FlavaConfig, part: str, lone: bool) -> None:
    if lone or c.located.config is None:
        check_encoder_config(c, config, f"flava_{part}_model")
        return
    theirs = from_hf_config(c.located.config, str(c.located.file.with_name("config.json")))
    if not isinstance(theirs, FlavaConfig):
        c.refuse("config.json beside it is of a CLIP, whose encoders have other blocks.")
    c.check_heads(theirs.num_attention_heads, config.num_attention_heads)
    c.check_eps(theirs.layer_norm_eps, config.layer_norm_eps)
