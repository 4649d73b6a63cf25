"""A study as a whole."""

from __future__ import annotations

from typing import Any

from pydantic import Field, NonNegativeInt, PositiveInt, field_validator, model_validator

from flava.config.base import Strict
from flava.config.data import DataConfig, SamplingConfig, SourceConfig
from flava.config.inits import InitsConfig, WeightsConfig
from flava.config.leaks import LeakConfig
from flava.config.models import ClipConfig, CodebookConfig, FlavaConfig
from flava.config.tasks import TaskData
from flava.config.training import MaskingConfig, PretrainConfig


class SelectionConfig(Strict):
    """Labelled data for scores during training, named by task; none of them enters a loss."""

    zero_shot: str | None = Field(
        None, description="task whose images and prompts choose the checkpoint (B.1: ImageNet)"
    )
    images: str | None = Field(None, description="task for the k-NN score of image encoders")
    texts: str | None = Field(None, description="task for the k-NN score of text encoders")
    limit: PositiveInt = Field(50_000, description="examples of each part at most")


class ReleasedClip(Strict):
    """Column 14: the released CLIP, or a CLIP trained on more pairs that stands in for it."""

    weights: WeightsConfig | None = Field(None, description="the published model, evaluated only")
    clip: ClipConfig = Field(
        default_factory=lambda: ClipConfig(quick_gelu=True),
        description="architecture of the published model (OpenAI's ViT-B/16 has QuickGELU)",
    )
    stand_in: str | None = Field(None, description="label of the CLIP that takes its place")
    pairs: list[SourceConfig] = Field(
        default_factory=list, description="the stand-in's larger set of pairs"
    )
    pair_updates: PositiveInt | None = Field(None, description="the stand-in's updates")

    @model_validator(mode="after")
    def _one(self) -> ReleasedClip:
        trained = (self.stand_in is not None, bool(self.pairs), self.pair_updates is not None)
        if all(trained) == (self.weights is not None) or any(trained) != all(trained):
            raise ValueError("give either weights, or all of stand_in, pairs and pair_updates")
        return self


class ReleasedFlava(Strict):
    """The released FLAVA (Hugging Face `facebook/flava-full`), which the paper does not print."""

    weights: WeightsConfig = Field(description="the published model, evaluated only")
    flava: FlavaConfig = Field(
        default_factory=lambda: FlavaConfig(projection_dim=768),
        description="architecture of the published model: Table A.1, but a projection of 768",
    )

    @model_validator(mode="after")
    def _layout(self) -> ReleasedFlava:
        if self.weights.layout != "flava":
            raise ValueError(
                f"weights of layout '{self.weights.layout}' are no whole FLAVA: give layout 'flava'"
            )
        return self


class StudyConfig(Strict):
    """One study: sizes, budgets, data, columns, seeds and rows."""

    name: str = Field(
        description="as its file is called: of its folders in data/, results/ and checkpoints/"
    )
    title: str = Field(description="of its report")
    scale: str = Field(description="one line on size and data, printed on every table")
    columns: list[str] = Field(description="names of columns.yaml to run")
    seeds: list[NonNegativeInt] = Field(
        min_length=1, description="one run a column and seed; `seeds=N` on the command line: N"
    )
    data: DataConfig
    flava: FlavaConfig
    clip: ClipConfig
    codebook: CodebookConfig
    masking: MaskingConfig
    sampling: SamplingConfig = Field(default_factory=lambda: SamplingConfig())
    contrastive_ranks: PositiveInt = Field(description="ranks of the contrastive batch")
    pretrain: PretrainConfig
    inits: InitsConfig = Field(default_factory=lambda: InitsConfig())
    selection: SelectionConfig = Field(default_factory=lambda: SelectionConfig())
    released_clip: ReleasedClip | None = None
    # Left out where it is not set: the settings of studies without it stay as they are.
    released_flava: ReleasedFlava | None = Field(None, exclude_if=lambda value: value is None)
    tasks: dict[str, TaskData]
    evaluate_jobs: dict[str, list[str]] = Field(description="tasks grouped into jobs")
    leaks: LeakConfig | None = Field(
        default_factory=lambda: LeakConfig(),
        description="search of the test examples in the pretraining data; null: none",
    )
    bootstrap_resamples: PositiveInt = Field(200, description="for standard errors")
    resources: dict[str, dict[str, Any]] = Field(
        default_factory=dict,
        description="rule -> `ranks`, `threads`, `sharding` (`none`, `fsdp`), `nodes`, "
        "`gpus_per_node`, `time`, `mem`, `partition`, `account`, `qos`, `constraint`, and "
        "`columns`: column -> the same (docs/cluster.md); not part of identity",
    )

    @field_validator("columns")
    @classmethod
    def _some_once(cls, columns: list[str]) -> list[str]:
        if not columns:
            raise ValueError("it is empty: name at least one column of columns.yaml")
        if twice := sorted({name for name in columns if columns.count(name) > 1}):
            raise ValueError(f"it names {', '.join(twice)} more than once: keep one")
        return columns

    @field_validator("evaluate_jobs")
    @classmethod
    def _some_tasks(cls, jobs: dict[str, list[str]]) -> dict[str, list[str]]:
        if not jobs or not all(jobs.values()):
            empty = ", ".join(f"job '{name}'" for name, tasks in jobs.items() if not tasks)
            raise ValueError(f"{empty or 'it'} is empty: name tasks, or nothing is scored there")
        return jobs

    @model_validator(mode="after")
    def _no_seed_twice(self) -> StudyConfig:
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds {self.seeds} names a seed twice")
        return self
