"""Typed configuration: every key of a study, a column, a task and a resolved run lives here.

Unknown keys, wrong types and impossible values are refused before any job starts. Defaults are
the paper's (supplement, Tables A.1 and A.2) or, where it is silent, the released code's; the
description of each field names its source. `docs/options.md` is generated from this file.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt, model_validator

PositiveFloat = Annotated[float, Field(gt=0)]
NonNegativeFloat = Annotated[float, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]

Arch = Literal["flava", "clip", "clip_released"]
Objective = Literal["mim", "mlm", "global_contrastive", "mmm_image", "mmm_text", "itm"]
Kind = Literal["pairs", "images", "texts", "pair_images", "pair_texts"]
Gather = Literal["global", "global_full", "local", "none", "openclip_2021"]
ImageInit = Literal["none", "beit", "dino"]
TextInit = Literal["none", "mlm"]
Domain = Literal["vision", "nlp", "multimodal"]
Metric = Literal[
    "accuracy",
    "mean_per_class",
    "matthews",
    "pearson",
    "accuracy_f1",
    "auroc",
    "vqa_score",
    "recall",
]

OBJECTIVES_OF_KIND: dict[str, frozenset[str]] = {
    "pairs": frozenset({"global_contrastive", "mmm_image", "mmm_text", "itm"}),
    "images": frozenset({"mim"}),
    "pair_images": frozenset({"mim"}),
    "texts": frozenset({"mlm"}),
    "pair_texts": frozenset({"mlm"}),
}


class Strict(BaseModel):
    """Base of all configuration: unknown keys and lossy type conversions are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class FlavaConfig(Strict):
    """FLAVA's three encoders and heads (Table A.1)."""

    hidden_size: PositiveInt = Field(768, description="width of all three encoders (Table A.1)")
    num_attention_heads: PositiveInt = Field(12, description="attention heads (Table A.1)")
    intermediate_size: PositiveInt = Field(3072, description="MLP width (Table A.1)")
    image_layers: PositiveInt = Field(12, description="image encoder layers (Table A.1)")
    text_layers: PositiveInt = Field(12, description="text encoder layers (Table A.1)")
    multimodal_layers: PositiveInt = Field(6, description="multimodal encoder layers (Table A.1)")
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
    vocab_size: PositiveInt = Field(49408, description="49152 BPE merges + bytes + 2 (open_clip)")
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


class CodebookConfig(Strict):
    """The image tokenizer: a small discrete VAE trained in the workflow (DALL-E's role in BEiT)."""

    codebook_size: PositiveInt = Field(8192, description="image tokens (Table A.1)")
    downsample: Literal[4, 8] = Field(8, description="pixels a token (DALL-E encoder: 8)")
    width: PositiveInt = Field(256, description="hidden channels (DALL-E encoder: 256)")
    layers: PositiveInt = Field(2, description="residual blocks")
    updates: PositiveInt = Field(3000, description="training updates")
    batch_size: PositiveInt = Field(64, description="images an update")
    learning_rate: PositiveFloat = Field(1e-3, description="Adam learning rate")
    temperature_start: PositiveFloat = Field(1.0, description="Gumbel-softmax temperature")
    temperature_end: PositiveFloat = Field(1 / 16, description="its value at the end (DALL-E)")
    kl_weight: NonNegativeFloat = Field(1e-3, description="weight of KL to the uniform prior")
    min_used_fraction: Fraction = Field(0.05, description="fewer codes in use is an error")


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
    """AdamW with linear warm-up and cosine decay (Table A.1)."""

    learning_rate: PositiveFloat = Field(1e-3, description="peak (Table A.1)")
    weight_decay: NonNegativeFloat = Field(0.1, description="AdamW weight decay (Table A.1)")
    decay_all: bool = Field(
        True, description="decay biases, norms, embeddings too (torchmultimodal; paper silent)"
    )
    beta1: Fraction = Field(0.9, description="Table A.1")
    beta2: Fraction = Field(0.999, description="Table A.1")
    eps: PositiveFloat = Field(1e-8, description="torchmultimodal; paper silent")
    warmup_updates: NonNegativeInt = Field(10000, description="Table A.1")
    final_learning_rate_fraction: Fraction = Field(0.0, description="cosine floor (HF schedule)")
    clip_grad_norm: PositiveFloat | None = Field(None, description="none in torchmultimodal")


class PretrainConfig(Strict):
    """Length, batch and precision of pretraining (Table A.1, supplement B.1)."""

    pair_updates: PositiveInt = Field(
        150_000, description="updates on multimodal data; other updates come on top (B.1)"
    )
    batch_size: PositiveInt = Field(8192, description="samples an update over all ranks (A.1)")
    accumulate: PositiveInt = Field(
        1,
        description="micro-batches an update; contrastive batches are batch_size / accumulate",
    )
    text_batch_length: PositiveInt = Field(512, description="tokens of a text-only sample (TMM)")
    pair_text_length: PositiveInt = Field(77, description="tokens of a caption (TMM)")
    crop_scale_min: Fraction = Field(0.9, description="crop area from here to 1 (TMM)")
    precision: Literal["fp32", "bf16"] = Field("bf16", description="autocast dtype (paper: fp16)")
    checkpoint_updates: PositiveInt = Field(1000, description="updates between checkpoints")
    keep_checkpoints: PositiveInt = Field(2, description="newest checkpoints kept")
    log_updates: PositiveInt = Field(50, description="updates between log lines")
    bad_image_fraction: Fraction = Field(
        0.01, description="undecodable images are skipped and counted; above this share: an error"
    )
    optim: OptimConfig = Field(default_factory=lambda: OptimConfig())

    @model_validator(mode="after")
    def _whole(self) -> PretrainConfig:
        if self.batch_size % self.accumulate:
            raise ValueError(
                f"batch_size {self.batch_size} is not a multiple of accumulate {self.accumulate}"
            )
        return self


class ContrastiveConfig(Strict):
    """How image-text embeddings and their gradients cross ranks (Section 3.2, supplement C)."""

    gather: Gather = Field("global", description="'global' is the paper's; see docs/objectives.md")
    ranks: PositiveInt = Field(
        1,
        description="ranks the contrastive batch is split into; on fewer processes each holds "
        "several, so that local and global differ on one process as on many GPUs",
    )


class SourceConfig(Strict):
    """One source of a corpus in its official format."""

    adapter: str = Field(description="a name of flava.data.sources")
    path: str = Field(description="file or folder; may begin with $FLAVA_DATA")
    split: str = Field("train", description="the source's own split name")
    limit: PositiveInt | None = Field(None, description="first N items only")
    name: str = Field(description="name in manifests and Table 2")
    licence: str = Field(description="licence, for the manifest")
    version: str = Field(description="release or commit, for the manifest")
    stand_in_for: str | None = Field(None, description="the paper's source it takes the place of")


class TokenizerConfig(Strict):
    """A tokenizer: a published vocabulary file or one trained on the study's text."""

    kind: Literal["wordpiece", "bpe"] = Field(description="BERT WordPiece or CLIP's lower-case BPE")
    vocab_file: str | None = Field(None, description="published vocabulary; none: train one")
    vocab_size: PositiveInt | None = Field(None, description="size to train to")

    @model_validator(mode="after")
    def _one(self) -> TokenizerConfig:
        if (self.vocab_file is None) == (self.vocab_size is None):
            raise ValueError("give either vocab_file or vocab_size")
        return self


class ToyWorldConfig(Strict):
    """Sizes of the generated toy world."""

    seed: NonNegativeInt = 0
    image_size: PositiveInt = Field(32, description="pixels a side")
    pairs: PositiveInt = Field(20000, description="captioned scenes for pretraining")
    images: PositiveInt = Field(5000, description="image-only scenes")
    sentences: PositiveInt = Field(20000, description="text-only sentences")
    task_train: PositiveInt = Field(2000, description="training examples a task")
    task_test: PositiveInt = Field(1000, description="test examples a task")


class DataConfig(Strict):
    """Corpora of a study: pairs (PMD), images (ImageNet-1k) and texts (CCNews, BookCorpus)."""

    toy_world: ToyWorldConfig | None = None
    tokenizers: dict[Literal["wordpiece", "bpe"], TokenizerConfig]
    pairs: list[SourceConfig]
    images: list[SourceConfig]
    texts: list[SourceConfig]
    shard_bytes: PositiveInt = Field(100_000_000, description="a tar shard's size at most")


class SamplingConfig(Strict):
    """Sampling probabilities of the three corpora (Table A.2)."""

    pairs: Fraction = 0.70
    images: Fraction = 0.15
    texts: Fraction = 0.15


class SourceUse(Strict):
    """What a column does with one kind of data."""

    objectives: list[Objective] = Field(description="losses on this data, each with weight 1")


class InitConfig(Strict):
    """Encoder initialisation before joint pretraining (Section 3.3)."""

    image: ImageInit = "none"
    text: TextInit = "none"


class ColumnConfig(Strict):
    """One column of Table C.1 as data."""

    number: PositiveInt = Field(description="column number in Table C.1")
    title: str = Field(description="heading in Table C.1")
    paper_data: str = Field(description="pretraining data printed in Table C.1")
    arch: Arch = "flava"
    tokenizer: Literal["wordpiece", "bpe"] = "wordpiece"
    init: InitConfig = Field(default_factory=lambda: InitConfig())
    gather: Gather = "global"
    data: dict[Kind, SourceUse] = Field(description="kinds of data used, with their losses")


class FinetuneConfig(Strict):
    """Fine-tuning hyper-parameters of one task (fairseq's GLUE settings; supplement B.2)."""

    learning_rate: PositiveFloat
    batch_size: PositiveInt
    updates: PositiveInt
    warmup_updates: NonNegativeInt
    weight_decay: NonNegativeFloat = 0.1
    beta2: Fraction = 0.98
    eps: PositiveFloat = 1e-6
    dropout: Fraction = 0.1
    schedule: Literal["polynomial", "cosine"] = "polynomial"
    head_hidden: PositiveInt | None = Field(None, description="hidden width of a 2-layer head")
    image_size: PositiveInt | None = Field(None, description="input pixels, if not the model's")
    validation_fraction: Fraction = Field(
        0.1, description="of train, to choose the checkpoint, where no validation set is published"
    )
    evaluations: PositiveInt = Field(
        10, description="validation scores on the way; the best counts"
    )


class ProbeConfig(Strict):
    """Linear probe: CLIP's protocol (supplement B.2)."""

    lambda_min: PositiveFloat = Field(1e-6, description="weakest L2 penalty of the sweep")
    lambda_max: PositiveFloat = Field(1e6, description="strongest L2 penalty of the sweep")
    steps: PositiveInt = Field(96, description="points of the log grid (CLIP App. A.3)")
    max_iterations: PositiveInt = Field(1000, description="L-BFGS iterations (supplement B.2)")
    validation_fraction: Fraction = Field(0.2, description="carved out where none is published")


class TaskConfig(Strict):
    """One of the 35 tasks: what it measures and by which protocol."""

    title: str
    domain: Domain
    family: Literal["linear_probe", "glue", "multimodal", "retrieval", "zero_shot"]
    rows: list[str] = Field(description="row names of table_c1.csv it fills")
    metric: Metric = Field(description="the metric printed in Table C.1, in per cent")
    finetune: FinetuneConfig | None = None
    probe: ProbeConfig | None = None
    source: str = Field(description="where the protocol is stated")
    obtain: str = Field(description="where the real data set comes from")
    licence: str = Field(description="terms of the real data set")


class TaskData(Strict):
    """Where a study takes a task's data from."""

    adapter: str = Field(description="a name of flava.evaluate.datasets")
    path: str = Field(description="file or folder; may begin with $FLAVA_DATA")
    stand_in: str | None = Field(None, description="what takes the row's place; none: the real set")
    train_limit: PositiveInt | None = None
    test_limit: PositiveInt | None = None
    prompts: str | None = Field(None, description="zero-shot: file of class names and templates")
    images: str | None = Field(None, description="image zip or folder, where apart from path")
    finetune: dict[str, float | int | str] = Field(
        default_factory=dict, description="keys of the task's fine-tuning settings to replace"
    )
    probe: dict[str, float | int] = Field(
        default_factory=dict, description="keys of the task's probe settings to replace"
    )


class StudyConfig(Strict):
    """One study: sizes, budgets, data, columns, seeds and rows."""

    name: str
    title: str
    scale: str = Field(description="one line on size and data, printed on every table")
    columns: list[str]
    seeds: list[NonNegativeInt]
    data: DataConfig
    flava: FlavaConfig
    clip: ClipConfig
    codebook: CodebookConfig
    masking: MaskingConfig
    sampling: SamplingConfig = Field(default_factory=lambda: SamplingConfig())
    contrastive_ranks: PositiveInt = Field(description="ranks of the contrastive batch")
    pretrain: PretrainConfig
    tasks: dict[str, TaskData]
    evaluate_jobs: dict[str, list[str]] = Field(description="tasks grouped into jobs")
    bootstrap_resamples: PositiveInt = Field(200, description="for standard errors")
    resources: dict[str, dict[str, int | str]] = Field(
        default_factory=dict, description="a rule's ranks, threads, memory: not part of identity"
    )


def _check_patches(image_size: int, patch_size: int) -> None:
    if image_size % patch_size:
        raise ValueError(f"image_size {image_size} is not a multiple of patch_size {patch_size}")
