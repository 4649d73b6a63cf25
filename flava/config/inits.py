"""Encoder initialisation: unimodal pretraining recipes, or published weights (supplement B.1)."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from flava.config.base import Dropout, Fraction, NonNegativeFloat, PositiveFloat, Schedule, Strict
from flava.config.training import LoopConfig, OptimConfig

Layout = Literal[
    "flava", "clip", "openai_clip", "dino", "beit", "hf_vit", "hf_beit", "roberta_prelayernorm"
]
PixelValues = Annotated[list[float], Field(min_length=3, max_length=3)]
HUB_SOURCE = re.compile(
    r"hub:(?P<repository>[\w.-]+/[\w.-]+)(?:/(?P<file>[\w./-]+))?(?:@(?P<revision>[\w./-]+))?"
)


class WeightsConfig(Strict):
    """Published weights of an encoder or a whole model."""

    source: str = Field(
        description="file or folder, may begin with $FLAVA_DATA; or "
        "hub:<owner>/<name>[/<file>][@<revision>]"
    )
    layout: Layout = Field(description="whose parameter names the file has (docs/weights.md)")
    sha256: str | None = Field(
        None, pattern="^[0-9a-f]{64}$", description="of the weights file; any other is refused"
    )
    pixel_mean: PixelValues | None = Field(
        None,
        description="mean that the weights expect pixels normalised by, per channel; default: "
        "preprocessor_config.json beside the file, else the layout's",
    )
    pixel_std: PixelValues | None = Field(None, description="likewise, the standard deviation")

    @model_validator(mode="after")
    def _usable(self) -> WeightsConfig:
        if self.source.startswith("hub:") and not HUB_SOURCE.fullmatch(self.source):
            raise ValueError(
                f"source '{self.source}' is not hub:<owner>/<name>[/<file>][@<revision>]"
            )
        if (self.pixel_mean is None) != (self.pixel_std is None):
            raise ValueError("give both pixel_mean and pixel_std, or neither")
        if self.pixel_std is not None and min(self.pixel_std) <= 0:
            raise ValueError("pixel_std must be positive")
        return self


class MlmOptim(OptimConfig):
    """RoBERTa-base (fairseq `examples/roberta/config/pretraining/base.yaml`)."""

    learning_rate: PositiveFloat = Field(5e-4, description="peak (supplement B.1)")
    weight_decay: NonNegativeFloat = Field(0.01, description="RoBERTa")
    beta2: Fraction = Field(0.98, description="RoBERTa")
    eps: PositiveFloat = Field(1e-6, description="RoBERTa")
    schedule: Schedule = Field("polynomial", description="RoBERTa: linear")


class MlmInitConfig(LoopConfig):
    """Text encoder by RoBERTa's masked language modelling on packed full sentences."""

    updates: PositiveInt = Field(125_000, description="supplement B.1")
    batch_size: PositiveInt = Field(2048, description="samples an update (supplement B.1)")
    text_length: PositiveInt = Field(512, description="tokens of a sample (RoBERTa)")
    dropout: Dropout = Field(0.0, description="Table A.1; RoBERTa has 0.1")
    validation_fraction: Fraction = Field(
        0.01, description="of the samples, held out; their MLM loss chooses the checkpoint (B.1)"
    )
    validation_samples: PositiveInt = Field(4096, description="samples held out at most")
    select_updates: PositiveInt = Field(5000, description="updates between validation losses")
    optim: MlmOptim = Field(default_factory=lambda: MlmOptim())


class BeitOptim(OptimConfig):
    """BEiT-B on ImageNet-1k (unilm `beit/README.md`, and the defaults of its script).

    beta2 is that of BEiT's Appendix; the script's default, which its published command does not
    change, is 0.999 or 0.98 by revision.
    """

    learning_rate: PositiveFloat = Field(1.5e-3, description="peak (BEiT)")
    weight_decay: NonNegativeFloat = Field(0.05, description="BEiT")
    decay_all: bool = Field(False, description="BEiT: none on biases, norms, [CLS], positions")
    warmup_updates: NonNegativeInt = Field(6250, description="10 epochs of 625 updates (BEiT)")
    final_learning_rate_fraction: Fraction = Field(
        1e-5 / 1.5e-3, description="BEiT: min_lr 1e-5 (`run_beit_pretraining.py`)"
    )
    clip_grad_norm: PositiveFloat | None = Field(3.0, description="BEiT")


class BeitInitConfig(LoopConfig):
    """Image encoder by masked image modelling, in the form that fits FLAVA's ViT.

    Absolute positions, no relative position bias, no layer scale (BEiT's
    `--disable_rel_pos_bias --abs_pos_emb --layer_scale_init_value 0`).
    """

    updates: PositiveInt = Field(
        500_000, description="800 epochs of 625 updates, 1,281,167 // 2048 (BEiT)"
    )
    batch_size: PositiveInt = Field(2048, description="images an update (BEiT)")
    drop_path: Fraction = Field(0.1, description="stochastic depth at the last block (BEiT)")
    augment: Literal["fixed", "random"] = Field(
        "random",
        description="random: crop, flip and colour jitter of BEiT, tokens made in the step; "
        "fixed: FLAVA's one crop an image with its cached tokens",
    )
    crop_scale_min: Fraction = Field(0.08, description="random crops' area from here to 1 (BEiT)")
    color_jitter: NonNegativeFloat = Field(0.4, description="BEiT")
    optim: BeitOptim = Field(default_factory=lambda: BeitOptim())


class DinoOptim(OptimConfig):
    """DINO ViT-B/16 (published arguments of the released model)."""

    learning_rate: PositiveFloat = Field(3e-3, description="7.5e-4 x batch 1024 / 256 (DINO)")
    weight_decay: NonNegativeFloat = Field(0.04, description="DINO")
    final_weight_decay: NonNegativeFloat | None = Field(0.4, description="DINO")
    decay_all: bool = Field(False, description="DINO: none on biases and norms")
    warmup_updates: NonNegativeInt = Field(12_510, description="10 epochs of 1,251 (DINO)")
    final_learning_rate_fraction: Fraction = Field(2e-6 / 3e-3, description="min_lr 2e-6 (DINO)")
    clip_grad_norm: PositiveFloat | None = Field(
        None, description="DINO clips each parameter alone: clip_parameter_norm"
    )


class DinoInitConfig(LoopConfig):
    """Image encoder by self-distillation with no labels (DINO, arXiv 2104.14294)."""

    updates: PositiveInt = Field(500_400, description="400 epochs of 1,251 updates (DINO)")
    batch_size: PositiveInt = Field(1024, description="images an update (DINO)")
    global_scale_min: Fraction = Field(0.25, description="two global crops' area from here to 1")
    local_crops: NonNegativeInt = Field(10, description="local crops an image (DINO)")
    local_scale_min: Fraction = Field(0.05, description="local crops' least area (DINO)")
    local_scale_max: Fraction = Field(0.25, description="local crops' largest area (DINO)")
    local_size: PositiveInt = Field(96, description="pixels a side of local crops (DINO)")
    out_dim: PositiveInt = Field(65_536, description="prototypes of the head (DINO)")
    head_hidden: PositiveInt = Field(2048, description="hidden width of the head (DINO)")
    head_bottleneck: PositiveInt = Field(256, description="width before the prototypes (DINO)")
    norm_last_layer: bool = Field(True, description="prototypes keep norm 1 (DINO ViT-B)")
    freeze_last_layer_updates: NonNegativeInt = Field(
        3753, description="prototypes fixed at first: 3 epochs (DINO ViT-B)"
    )
    student_temperature: PositiveFloat = Field(0.1, description="DINO")
    teacher_temperature_start: PositiveFloat = Field(0.04, description="DINO")
    teacher_temperature: PositiveFloat = Field(0.07, description="after its warm-up (DINO ViT-B)")
    teacher_temperature_updates: NonNegativeInt = Field(
        62_550, description="linear warm-up of the teacher's temperature: 50 epochs (DINO ViT-B)"
    )
    centering: Literal["mean", "sinkhorn"] = Field(
        "mean", description="running mean (DINO) or Sinkhorn-Knopp (DINOv2, its successor)"
    )
    center_momentum: Fraction = Field(0.9, description="DINO")
    teacher_momentum: Fraction = Field(0.996, description="rises to 1 along half a cosine (DINO)")
    drop_path: Fraction = Field(
        0.1, lt=1, description="stochastic depth of the student at the last block (DINO)"
    )
    clip_parameter_norm: PositiveFloat | None = Field(
        0.3,
        description="largest L2 norm of each parameter's gradient (DINO, `utils.clip_gradients`); "
        "optim.clip_grad_norm limits the norm over all parameters",
    )
    color_jitter: NonNegativeFloat = Field(
        1.0, description="strength; 1: brightness .4, contrast .4, saturation .2, hue .1 (DINO)"
    )
    gray_probability: Fraction = Field(0.2, description="crops turned gray (DINO)")
    solarise_probability: Fraction = Field(
        0.2, description="second global crops whose bright pixels are inverted (DINO)"
    )
    blur_sigma_max: PositiveFloat = Field(
        2.0, description="widest blur in pixels; the narrowest is a twentieth (DINO: 0.1 to 2)"
    )
    collapse_grace_updates: NonNegativeInt = Field(
        12_510, description="updates before a collapse is an error; its measures are logged always"
    )
    min_entropy_fraction: Fraction = Field(
        0.02,
        description="collapse to a few prototypes: the entropy of the teacher's mean output, as a "
        "share of ln out_dim, below this is an error",
    )
    max_teacher_entropy_fraction: Fraction = Field(
        0.995,
        description="collapse to uniform: the mean entropy of the teacher's outputs, as a share "
        "of ln out_dim, above this is an error",
    )
    knn_updates: PositiveInt | None = Field(
        None,
        description="updates between k-NN accuracies in the log, a multiple of log_updates; the "
        "record has the one at the end in any case",
    )
    optim: DinoOptim = Field(default_factory=lambda: DinoOptim())

    @model_validator(mode="after")
    def _consistent(self) -> DinoInitConfig:
        if self.local_scale_min > self.local_scale_max:
            raise ValueError(
                f"local_scale_min {self.local_scale_min} exceeds local_scale_max "
                f"{self.local_scale_max}"
            )
        if self.out_dim < 2:
            raise ValueError("out_dim must be at least 2: one prototype cannot tell images apart")
        if self.knn_updates is not None and self.knn_updates % self.log_updates:
            raise ValueError(
                f"knn_updates {self.knn_updates} is not a multiple of log_updates "
                f"{self.log_updates}"
            )
        return self


class Init(Strict):
    """Where an encoder's initial weights come from: a recipe or published ones."""

    recipe: LoopConfig | None = Field(None, description="train them in the workflow")
    weights: WeightsConfig | None = Field(None, description="take published ones")

    @model_validator(mode="after")
    def _one(self) -> Self:
        return self.require_one("recipe", "weights")


class MlmInit(Init):
    """Where column settings `text: mlm` come from."""

    recipe: MlmInitConfig | None = Field(None, description="train them in the workflow")


class BeitInit(Init):
    """Where column settings `image: beit` come from."""

    recipe: BeitInitConfig | None = Field(None, description="train them in the workflow")


class DinoInit(Init):
    """Where column settings `image: dino` come from."""

    recipe: DinoInitConfig | None = Field(None, description="train them in the workflow")


class InitsConfig(Strict):
    """Where each encoder initialisation of the columns comes from."""

    mlm: MlmInit | None = None
    beit: BeitInit | None = None
    dino: DinoInit | None = None
