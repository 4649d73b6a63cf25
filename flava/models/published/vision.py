"""Layouts of lone image encoders: DINO, BEiT (official and Hugging Face), Hugging Face ViT."""

from __future__ import annotations

import torch

from flava.config import FlavaConfig
from flava.models.hf_names import Entry, encoder_entries, linear
from flava.models.published.adapt import HALF, IMAGENET, PatchNames, adapt_image
from flava.models.published.conversion import Conversion
from flava.models.published.structure import check_encoder_config

OFFICIAL = PatchNames("patch_embed.proj.weight", "patch_embed.proj.bias", "pos_embed")
HUGGING_FACE = PatchNames(
    "embeddings.patch_embeddings.projection.weight",
    "embeddings.patch_embeddings.projection.bias",
    "embeddings.position_embeddings",
)
OFFICIAL_EPS = 1e-6  # DINO's and BEiT's vit_base
BEIT_SCALED = {"gamma_1": "attn.proj", "gamma_2": "mlp.fc2"}
HF_BEIT_SCALED = {"lambda_1": "attention.output.dense", "lambda_2": "output.dense"}


def prepare_dino(c: Conversion, config: FlavaConfig) -> list[Entry]:
    """DINO's ViT: the released backbone, or the teacher of a training checkpoint."""
    c.unprefix("module.")
    c.unprefix("backbone.")
    c.drop(r"head\.", "DINO's projection head")
    c.check_heads(None, config.num_attention_heads)
    c.check_eps(OFFICIAL_EPS, config.layer_norm_eps)
    adapt_image(c, OFFICIAL, config.grid, IMAGENET)
    return _without_mask_token(c, _official_entries(config), "mask_token")


def prepare_beit(c: Conversion, config: FlavaConfig) -> list[Entry]:
    """BEiT's ViT of the official code, pretrained with absolute positions.

    Raises:
        CheckpointError: it has relative position biases, or was fine-tuned.
    """
    _refuse_beit(c, r"(rel_pos_bias|blocks\.\d+\.attn)\.relative_position", r"fc_norm\.")
    c.drop(r"(lm_head|head)\.", "BEiT's prediction head")
    for name in c.names(r"blocks\.\d+\.attn\.q_bias$"):
        attention = name.removesuffix("q_bias")
        if f"{attention}v_bias" in c.tensors:
            query, value = c.tensors[name], c.tensors[f"{attention}v_bias"]
            bias = torch.cat([query, torch.zeros_like(query), value])
            how = "one bias of query, key and value, with zeros for the key"
            c.replace(f"{attention}qkv.bias", bias, how, [name, f"{attention}v_bias"])
    _fold_layer_scale(c, BEIT_SCALED)
    c.check_heads(None, config.num_attention_heads)
    c.check_eps(OFFICIAL_EPS, config.layer_norm_eps)
    adapt_image(c, OFFICIAL, config.grid, HALF)
    return _without_mask_token(c, _official_entries(config), "mask_token")


def prepare_hf_vit(c: Conversion, config: FlavaConfig) -> list[Entry]:
    """Hugging Face's `ViTModel`, which DINO is also published as; heads on top are left out."""
    c.unprefix("vit.")
    c.drop(r"pooler\.", "pooler: no loss reads it")
    c.drop(r"(classifier|decoder)\.", "the ViT's own head")
    check_encoder_config(c, config, "vit")
    adapt_image(c, HUGGING_FACE, config.grid, None)
    return _without_mask_token(c, encoder_entries(config, "image"), "embeddings.mask_token")


def prepare_hf_beit(c: Conversion, config: FlavaConfig) -> list[Entry]:
    """Hugging Face's `BeitModel` or `BeitForMaskedImageModeling` with absolute positions.

    Raises:
        CheckpointError: it has relative position biases, or was fine-tuned.
    """
    c.unprefix("beit.")
    _refuse_beit(c, r".*relative_position_", r"pooler\.layernorm\.")
    c.drop(r"lm_head\.", "BEiT's prediction head")
    for name in c.names(r"encoder\.layer\.\d+\.attention\.attention\.query\.bias$"):
        key = name.replace("query", "key")
        c.tensors[key] = torch.zeros_like(c.tensors[name])
        c.report.add(c.report.converted, "zeros: BEiT's keys have no bias", [key])
    _fold_layer_scale(c, HF_BEIT_SCALED)
    check_encoder_config(c, config, "beit")
    adapt_image(c, HUGGING_FACE, config.grid, HALF)
    return _without_mask_token(c, encoder_entries(config, "image"), "embeddings.mask_token")


def _refuse_beit(c: Conversion, relative: str, fine_tuned: str) -> None:
    if c.names(relative):
        c.refuse(
            "it has relative position biases, which FLAVA's encoder cannot represent (BEiT's "
            "released weights have them). A BEiT pretrained by its official code with "
            "`--disable_rel_pos_bias --abs_pos_emb` fits; or train the column's own `recipe`."
        )
    if c.names(fine_tuned):
        c.refuse(
            "it is a fine-tuned BEiT, whose last norm reads the mean of all patches; FLAVA's norms "
            "every position. Take the self-supervised weights, before fine-tuning."
        )


def _fold_layer_scale(c: Conversion, scaled: dict[str, str]) -> None:
    """x + scale * (W a + b) = x + (scale W) a + scale b: exact."""
    for scale, target in scaled.items():
        for name in c.names(rf".*\.{scale}$"):
            block = name.removesuffix(scale)
            weight, bias = f"{block}{target}.weight", f"{block}{target}.bias"
            if weight not in c.tensors or bias not in c.tensors:
                continue
            c.check_values([name])
            scale_D = c.tensors.pop(name)
            if c.tensors[bias].shape != scale_D.shape:
                c.refuse(f"{name} and {bias} have different shapes. The file is damaged.")
            c.report.add(
                c.report.dropped, "layer scale: its factors are in the Linear before it", [name]
            )
            how = "multiplied by the layer scale after it"
            c.replace(weight, c.tensors[weight] * scale_D[:, None], how)
            c.replace(bias, c.tensors[bias] * scale_D, how)


def _without_mask_token(c: Conversion, entries: list[Entry], theirs: str) -> list[Entry]:
    if theirs in c.tensors:
        return entries
    c.absent(["mask_token"], "the published encoder has no mask token: the initial value stays")
    return [entry for entry in entries if entry.ours != "mask_token"]


def _official_entries(config: FlavaConfig) -> list[Entry]:
    """Names of timm's ViT, which DINO's and BEiT's code share."""
    width, side = config.hidden_size, config.patch_size
    positions = 1 + config.grid**2
    entries = [
        Entry("embedding.projection.weight", (OFFICIAL.weight,), (width, 3, side, side)),
        Entry("embedding.projection.bias", ("patch_embed.proj.bias",)),
        Entry("embedding.cls_token", ("cls_token",), (1, 1, width)),
        Entry("embedding.position_embeddings", ("pos_embed",), (1, positions, width)),
        Entry("mask_token", ("mask_token",), (1, 1, width)),
        *linear("norm", "norm"),
    ]
    names = {
        "norm1": "norm1",
        "qkv": "attn.qkv",
        "out": "attn.proj",
        "norm2": "norm2",
        "fc1": "mlp.fc1",
        "fc2": "mlp.fc2",
    }
    for i in range(config.image_layers):
        for ours, theirs in names.items():
            entries += linear(f"transformer.blocks.{i}.{ours}", f"blocks.{i}.{theirs}")
    return entries
