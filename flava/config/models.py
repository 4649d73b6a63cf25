"""Sizes of the models: FLAVA (Table A.1), CLIP (supplement D), the image tokenizer."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from flava.config.base import (
    Fraction,
    NonNegativeFloat,
    PositiveFloat,
    Precision,
    Schedule,
    Strict,
)
from flava.config.training import LoopConfig, OptimConfig

PUBLISHED_DOWNSAMPLE = 8  # pixels a token: three 2 x 2 max-pools (DALL-E)


class FlavaConfig(Strict):
    """FLAVA's three encoders and heads (Table A.1)."""

    hidden_size: PositiveInt = Field(768, description="width of all three encoders (Table A.1)")
    num_attention_heads: PositiveInt = Field(12, description="attention heads (Table A.1)")
    intermediate_size: PositiveInt = Field(3072, description="MLP width (Table A.1)")
    image_layers: PositiveInt = Field(12, description="image encoder layers (Table A.1)")
    text_layers: PositiveInt = Field(12, description="text encoder layers (Table A.1)")
    multimodal_layers: PositiveInt = Field(6, description="multimodal encoder layers (Table A.1)")
    dropout: Annotated[float, Field(ge=0, le=0)] = Field(
        0.0, description="of all three encoders: 0 (Table A.1); the models have no other"
    )
    image_size: PositiveInt = Field(224, description="input pixels a side (Table A.1)")
    patch_size: PositiveInt = Field(16, description="patch pixels a side (Table A.1)")
    vocab_size: PositiveInt = Field(30522, description="BERT WordPiece vocabulary (Table A.1)")
    max_text_length: PositiveInt = Field(
        512, description="text position table (Hugging Face FlavaTextConfig; paper silent)"
    )
    codebook_size: PositiveInt = Field(8192, description="dVAE codes (Table A.1)")
    projection_dim: PositiveInt = Field(
        512, description="contrastive projection (Table A.1; released code has 768)"
    )
    layer_norm_eps: PositiveFloat = Field(1e-12, description="encoder LayerNorm eps (HF and TMM)")
    head_layer_norm_eps: PositiveFloat = Field(
        1e-12, description="prediction head LayerNorm eps (HF; torchmultimodal has 1e-5)"
    )
    initializer_range: PositiveFloat = Field(0.02, description="std of normal init (HF and TMM)")
    logit_scale_init: float = Field(2.6592, description="ln(1/0.07), clamped to [0, ln 100]")

    @model_validator(mode="after")
    def _divisible(self) -> FlavaConfig:
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"hidden_size {self.hidden_size} is not a multiple of "
                f"num_attention_heads {self.num_attention_heads}"
            )
        _check_patches(self.image_size, self.patch_size)
        return self

    @property
    def grid(self) -> int:
        """Patches a side."""
        return self.image_size // self.patch_size


class ClipConfig(Strict):
    """CLIP's dual encoder (supplement D; open_clip ViT-B-16.json)."""

    image_size: PositiveInt = Field(224, description="input pixels a side")
    patch_size: PositiveInt = Field(16, description="patch pixels a side")
    vision_width: PositiveInt = Field(768, description="image encoder width")
    vision_layers: PositiveInt = Field(12, description="image encoder layers")
    vision_heads: PositiveInt = Field(12, description="image encoder heads")
    text_width: PositiveInt = Field(512, description="text encoder width (supplement D)")
    text_layers: PositiveInt = Field(12, description="text encoder layers")
    text_heads: PositiveInt = Field(8, description="text encoder heads")
    vocab_size: PositiveInt = Field(
        49408, description="48,894 BPE merges + 512 bytes + 2 (open_clip)"
    )
    context_length: PositiveInt = Field(77, description="text positions")
    embed_dim: PositiveInt = Field(512, description="joint embedding width")
    quick_gelu: bool = Field(
        False,
        description="x sigmoid(1.702 x) as in OpenAI's weights; open_clip ViT-B-16: exact GELU",
    )
    layer_norm_eps: PositiveFloat = Field(1e-5, description="LayerNorm eps (open_clip)")
    logit_scale_init: float = Field(2.6592, description="ln(1/0.07), clamped to [0, ln 100]")

    @model_validator(mode="after")
    def _divisible(self) -> ClipConfig:
        for part in ("vision", "text"):
            width, heads = getattr(self, f"{part}_width"), getattr(self, f"{part}_heads")
            if width % heads:
                raise ValueError(f"{part}_width {width} is not a multiple of {part}_heads {heads}")
        _check_patches(self.image_size, self.patch_size)
        return self


class CodebookOptim(OptimConfig):
    """Adam at a constant rate."""

    learning_rate: PositiveFloat = Field(1e-3, description="constant")
    weight_decay: NonNegativeFloat = Field(0.0, description="none: plain Adam")
    warmup_updates: NonNegativeInt = Field(0, description="none")
    schedule: Schedule = Field("constant", description="constant")


class PublishedCodebook(Strict):
    """DALL-E's published image encoder, in place of a dVAE trained in the workflow."""

    path: str = Field(
        description="folder of Hugging Face's `FlavaImageCodebook` (facebook/flava-image-codebook) "
        "on this machine; may begin with $FLAVA_DATA"
    )
    sha256: str | None = Field(
        None, pattern="^[0-9a-f]{64}$", description="of the weights file; any other is refused"
    )
    hidden_size: PositiveInt = Field(
        256, multiple_of=4, description="channels of its first group (DALL-E); others are refused"
    )
    num_blocks_per_group: PositiveInt = Field(2, description="likewise (DALL-E)")

    @model_validator(mode="after")
    def _local(self) -> PublishedCodebook:
        if self.path.startswith("hub:"):
            raise ValueError(
                f"path '{self.path}' is no folder: run `hf download facebook/flava-image-codebook "
                "--local-dir <folder>` and give that folder"
            )
        return self


class CodebookConfig(LoopConfig):
    """The image tokenizer: a small discrete VAE trained in the workflow (DALL-E's role in BEiT)."""

    # Left out where it is not set: the settings of studies without it stay as they are.
    published: PublishedCodebook | None = Field(
        None,
        description="DALL-E's encoder, of whose keys see below; nothing is trained then, and of "
        "the keys here only codebook_size, downsample (8) and min_used_fraction are read",
        exclude_if=lambda value: value is None,
    )
    codebook_size: PositiveInt = Field(8192, description="image tokens (Table A.1)")
    downsample: Literal[4, 8] = Field(8, description="pixels a token (DALL-E encoder: 8)")
    width: PositiveInt = Field(256, description="hidden channels (DALL-E encoder: 256)")
    layers: PositiveInt = Field(2, description="residual blocks")
    updates: PositiveInt = Field(3000, description="training updates")
    batch_size: PositiveInt = Field(64, description="images an update")
    precision: Precision = Field("fp32", description="autocast dtype")
    temperature_start: PositiveFloat = Field(1.0, description="Gumbel-softmax temperature")
    temperature_end: PositiveFloat = Field(1 / 16, description="its value at the end (DALL-E)")
    kl_weight: NonNegativeFloat = Field(1e-3, description="weight of KL to the uniform prior")
    min_used_fraction: Fraction = Field(0.05, description="fewer codes in use is an error")
    optim: CodebookOptim = Field(default_factory=lambda: CodebookOptim())

    @model_validator(mode="after")
    def _pools(self) -> CodebookConfig:
        if self.published is not None and self.downsample != PUBLISHED_DOWNSAMPLE:
            raise ValueError(
                f"the published encoder makes one token of {PUBLISHED_DOWNSAMPLE} x "
                f"{PUBLISHED_DOWNSAMPLE} pixels, not of {self.downsample} x {self.downsample}: "
                f"set downsample to {PUBLISHED_DOWNSAMPLE}"
            )
        return self


def _check_patches(image_size: int, patch_size: int) -> None:
    if image_size % patch_size:
        raise ValueError(f"image_size {image_size} is not a multiple of patch_size {patch_size}")
