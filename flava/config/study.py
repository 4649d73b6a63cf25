"""A study as a whole."""

from __future__ import annotations

from pydantic import Field, NonNegativeInt, PositiveInt

from flava.config.base import Strict
from flava.config.data import DataConfig, SamplingConfig
from flava.config.models import ClipConfig, CodebookConfig, FlavaConfig
from flava.config.tasks import TaskData
from flava.config.training import MaskingConfig, PretrainConfig


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
