"""Masks, optimiser, length and precision of a training run."""

from __future__ import annotations

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from flava.config.base import (
    ContrastiveBatch,
    Fraction,
    Gather,
    NonNegativeFloat,
    PositiveFloat,
    Precision,
    Schedule,
    Strict,
)


class MaskingConfig(Strict):
    """BEiT block masks and BERT text masks (Sections 3.2, 3.3; protocol of BEiT and BERT)."""

    image_patches: PositiveInt = Field(75, description="patches to mask (of 14 x 14, BEiT)")
    min_block_patches: PositiveInt = Field(16, description="smallest block (BEiT)")
    min_aspect: PositiveFloat = Field(0.3, description="block aspect in [a, 1/a] (BEiT)")
    text_probability: Fraction = Field(0.15, description="masked text tokens (Section 3.2)")
    mask_fraction: Fraction = Field(0.8, description="of them [MASK] (BERT)")
    random_fraction: Fraction = Field(0.1, description="of them a random token (BERT)")
    whole_word: bool = Field(
        False, description="mask whole words (torchmultimodal for pairs; paper: 'following BERT')"
    )
    itm_negative_probability: Fraction = Field(
        0.1, description="captions replaced for ITM (torchmultimodal; paper silent)"
    )


class OptimConfig(Strict):
    """AdamW with linear warm-up and decay (Table A.1)."""

    learning_rate: PositiveFloat = Field(1e-3, description="peak (Table A.1)")
    weight_decay: NonNegativeFloat = Field(0.1, description="AdamW weight decay (Table A.1)")
    final_weight_decay: NonNegativeFloat | None = Field(
        None, description="weight decay goes there along half a cosine (DINO); none: constant"
    )
    decay_all: bool = Field(
        True, description="decay biases, norms, embeddings too (torchmultimodal; paper silent)"
    )
    beta1: Fraction = Field(0.9, description="Table A.1")
    beta2: Fraction = Field(0.999, description="Table A.1")
    eps: PositiveFloat = Field(1e-8, description="torchmultimodal; paper silent")
    warmup_updates: NonNegativeInt = Field(10000, description="Table A.1")
    schedule: Schedule = Field(
        "cosine",
        description="after warm-up: half a cosine (Table A.1) or a line (RoBERTa)",
    )
    final_learning_rate_fraction: Fraction = Field(
        0.0, description="share of the peak at the end (HF schedule: 0)"
    )
    clip_grad_norm: PositiveFloat | None = Field(
        None, description="null: the gradient is not clipped (torchmultimodal)"
    )


class LossScaleConfig(Strict):
    """Dynamic loss scaling, with precision fp16 alone."""

    initial: PositiveFloat = Field(65536.0, description="factor on the loss at first (GradScaler)")
    growth_updates: PositiveInt = Field(
        2000, description="updates in a row without overflow that double it (GradScaler)"
    )
    max_skipped: PositiveInt = Field(
        20, description="overflows in a row, each of which skips its update, that are an error"
    )


class LoopConfig(Strict):
    """What every training run has: batch, precision, checkpoints, log."""

    batch_size: PositiveInt = Field(8192, description="samples an update over all ranks (A.1)")
    accumulate: PositiveInt = Field(1, description="micro-batches an update, one after another")
    precision: Precision = Field("bf16", description="autocast dtype (paper: fp16)")
    loss_scale: LossScaleConfig = Field(default_factory=lambda: LossScaleConfig())
    checkpoint_updates: PositiveInt = Field(1000, description="updates between checkpoints")
    keep_checkpoints: PositiveInt = Field(2, description="newest checkpoints kept")
    log_updates: PositiveInt = Field(50, description="updates between log lines")
    bad_image_fraction: Fraction = Field(
        0.01, description="undecodable images are skipped and counted; above this share: an error"
    )
    optim: OptimConfig = Field(default_factory=lambda: OptimConfig())

    @model_validator(mode="after")
    def _whole(self) -> LoopConfig:
        if self.batch_size % self.accumulate:
            raise ValueError(
                f"batch_size {self.batch_size} is not a multiple of accumulate {self.accumulate}"
            )
        return self


class PretrainConfig(LoopConfig):
    """Length, batch and precision of pretraining (Table A.1, Section 3.4, supplement B.1)."""

    pair_updates: PositiveInt = Field(
        150_000, description="updates on multimodal data; other updates come on top (B.1)"
    )
    text_batch_length: PositiveInt = Field(512, description="tokens of a text-only sample (TMM)")
    pair_text_length: PositiveInt = Field(77, description="tokens of a caption (TMM)")
    crop_scale_min: Fraction = Field(0.9, description="crop area from here to 1 (TMM)")
    contrastive_batch: ContrastiveBatch = Field(
        "whole",
        description="with accumulate > 1, compare the pairs of the whole batch, at the cost of a "
        "second forward pass of the encoders, or of each micro-batch by itself",
    )
    select_updates: PositiveInt | None = Field(
        None,
        description="updates between zero-shot ImageNet scores of columns with a contrastive loss; "
        "the best checkpoint is exported (supplement B.1: 8,000). None: the last one",
    )


class ContrastiveConfig(Strict):
    """How image-text embeddings and their gradients cross ranks (Section 3.2, supplement C)."""

    gather: Gather = Field("global", description="'global' is the paper's; see docs/objectives.md")
    ranks: PositiveInt = Field(
        1,
        description="ranks the contrastive batch is split into; on fewer processes each holds "
        "several, so that local and global differ on one process as on many GPUs",
    )
