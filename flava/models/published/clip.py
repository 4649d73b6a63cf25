"""Layouts of CLIP: Hugging Face's, and the one of OpenAI and open_clip."""

from __future__ import annotations

from flava.config import ClipConfig
from flava.models.hf_config import from_hf_config
from flava.models.hf_names import CLIP_UNUSED, Entry, clip_entries, linear
from flava.models.published.adapt import OURS, PatchNames, adapt_image, adapt_text_positions
from flava.models.published.conversion import Conversion

CLIP_PATCHES = PatchNames(
    "vision_model.embeddings.patch_embedding.weight",
    None,
    "vision_model.embeddings.position_embedding.weight",
)
OPENAI_PATCHES = PatchNames("visual.conv1.weight", None, "visual.positional_embedding")


def prepare_clip(c: Conversion, config: ClipConfig) -> list[Entry]:
    """Hugging Face's `CLIPModel`.

    Raises:
        CheckpointError: other heads or another activation than the run's.
    """
    for pattern, reason in CLIP_UNUSED.items():
        c.drop(pattern, reason)
    if c.located.config is None:
        _not_in_state_dict(c, config)
    else:
        theirs = from_hf_config(c.located.config, str(c.located.file.with_name("config.json")))
        if not isinstance(theirs, ClipConfig):
            c.refuse("config.json beside it is of a FLAVA. Set `layout` to 'flava'.")
        c.check_heads(theirs.vision_heads, config.vision_heads)
        c.check_heads(theirs.text_heads, config.text_heads)
        c.check_eps(theirs.layer_norm_eps, config.layer_norm_eps)
        _check_activation(c, theirs.quick_gelu, config)
    adapt_image(c, CLIP_PATCHES, config.image_size // config.patch_size, OURS)
    adapt_text_positions(
        c, "text_model.embeddings.position_embedding.weight", config.context_length
    )
    return clip_entries(config)


def prepare_openai_clip(c: Conversion, config: ClipConfig) -> list[Entry]:
    """State dict of OpenAI's CLIP or open_clip's, ViT only.

    Raises:
        CheckpointError: a ResNet, or OpenAI's archive where the run's activation is exact GELU.
    """
    c.unprefix("module.")
    if c.names(r"visual\.layer1\."):
        c.refuse("its image encoder is a ResNet; only CLIPs with a ViT can be loaded.")
    archive = bool(c.names("input_resolution$"))
    c.drop(r"(input_resolution|context_length|vocab_size)$", "constant of OpenAI's archive")
    c.drop(r"(.*\.)?attn_mask$", "constant: the causal mask")
    if archive:
        _check_activation(c, True, config)
    _not_in_state_dict(c, config, activation=not archive)
    for name in ("visual.proj", "text_projection"):
        if name in c.tensors and c.tensors[name].dim() == 2:
            c.replace(name, c.tensors[name].T, "transposed into a Linear's weight")
    adapt_image(c, OPENAI_PATCHES, config.image_size // config.patch_size, OURS)
    adapt_text_positions(c, "positional_embedding", config.context_length)
    return _openai_entries(config)


def _check_activation(c: Conversion, quick: bool, config: ClipConfig) -> None:
    if quick != config.quick_gelu:
        name = "x sigmoid(1.702 x)" if quick else "the exact GELU"
        c.refuse(
            f"its activation is {name}, this run's is not. Set the run's `quick_gelu` to "
            f"{str(quick).lower()}."
        )


def _not_in_state_dict(c: Conversion, config: ClipConfig, activation: bool = True) -> None:
    c.differs(
        f"attention heads are not in the file; {config.vision_heads} and {config.text_heads} are "
        "assumed, as in this run"
    )
    if activation:
        quick = str(config.quick_gelu).lower()
        c.differs(f"activation is not in the file; this run has quick_gelu {quick}")
    c.check_eps(1e-5, config.layer_norm_eps)


def _openai_entries(config: ClipConfig) -> list[Entry]:
    width, side = config.vision_width, config.patch_size
    entries = [
        Entry(
            "image_encoder.embedding.projection.weight",
            (OPENAI_PATCHES.weight,),
            (width, 3, side, side),
        ),
        Entry("image_encoder.embedding.cls_token", ("visual.class_embedding",)),
        Entry("image_encoder.embedding.position_embeddings", (OPENAI_PATCHES.positions,)),
        Entry("image_projection.weight", ("visual.proj",)),
        Entry("text_encoder.token_embeddings.weight", ("token_embedding.weight",)),
        Entry("text_encoder.position_embeddings.weight", ("positional_embedding",)),
        Entry("text_projection.weight", ("text_projection",)),
        Entry("logit_scale", ("logit_scale",)),
        *linear("image_encoder.norm_before", "visual.ln_pre"),
        *linear("image_encoder.norm", "visual.ln_post"),
        *linear("text_encoder.norm", "ln_final"),
    ]
    for part, prefix, layers in (
        ("image", "visual.", config.vision_layers),
        ("text", "", config.text_layers),
    ):
        for i in range(layers):
            ours = f"{part}_encoder.transformer.blocks.{i}"
            entries += _openai_block(ours, f"{prefix}transformer.resblocks.{i}")
    return entries


def _openai_block(ours: str, theirs: str) -> list[Entry]:
    return [
        *linear(f"{ours}.norm1", f"{theirs}.ln_1"),
        Entry(f"{ours}.qkv.weight", (f"{theirs}.attn.in_proj_weight",)),
        Entry(f"{ours}.qkv.bias", (f"{theirs}.attn.in_proj_bias",)),
        *linear(f"{ours}.out", f"{theirs}.attn.out_proj"),
        *linear(f"{ours}.norm2", f"{theirs}.ln_2"),
        *linear(f"{ours}.fc1", f"{theirs}.mlp.c_fc"),
        *linear(f"{ours}.fc2", f"{theirs}.mlp.c_proj"),
    ]
