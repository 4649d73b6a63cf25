"""Typed configuration: every key of a study, a column, a task and a resolved run lives here.

Unknown keys, wrong types and impossible values are refused before any job starts. Defaults are
the paper's (supplement, Tables A.1 and A.2) or, where it is silent, the released code's; the
description of each field names its source. `docs/options.md` is generated from this package.
"""

from flava.config.base import (
    OBJECTIVES_OF_KIND,
    Arch,
    Domain,
    Fraction,
    Gather,
    ImageInit,
    Kind,
    Metric,
    NonNegativeFloat,
    Objective,
    PositiveFloat,
    Precision,
    Schedule,
    Sharding,
    Strict,
    TextInit,
)
from flava.config.claims import (
    ClaimConfig,
    StatedDifference,
    StatedRatio,
    StatedRows,
    StatementConfig,
)
from flava.config.columns import ColumnConfig, InitConfig, SourceUse
from flava.config.data import (
    CaptionFilterConfig,
    DataConfig,
    SamplingConfig,
    SourceConfig,
    TokenizerConfig,
    ToyWorldConfig,
)
from flava.config.inits import (
    BeitInit,
    BeitInitConfig,
    BeitOptim,
    DinoInit,
    DinoInitConfig,
    DinoOptim,
    InitsConfig,
    Layout,
    MlmInit,
    MlmInitConfig,
    MlmOptim,
    WeightsConfig,
)
from flava.config.leaks import LeakConfig
from flava.config.models import ClipConfig, CodebookConfig, CodebookOptim, FlavaConfig
from flava.config.study import ReleasedClip, SelectionConfig, StudyConfig
from flava.config.tasks import FinetuneConfig, ProbeConfig, TaskConfig, TaskData
from flava.config.training import (
    ContrastiveConfig,
    LoopConfig,
    MaskingConfig,
    OptimConfig,
    PretrainConfig,
)

__all__ = [
    "OBJECTIVES_OF_KIND",
    "Arch",
    "BeitInit",
    "BeitInitConfig",
    "BeitOptim",
    "CaptionFilterConfig",
    "ClaimConfig",
    "ClipConfig",
    "CodebookConfig",
    "CodebookOptim",
    "ColumnConfig",
    "ContrastiveConfig",
    "DataConfig",
    "DinoInit",
    "DinoInitConfig",
    "DinoOptim",
    "Domain",
    "FinetuneConfig",
    "FlavaConfig",
    "Fraction",
    "Gather",
    "ImageInit",
    "InitConfig",
    "InitsConfig",
    "Kind",
    "Layout",
    "LeakConfig",
    "LoopConfig",
    "MaskingConfig",
    "Metric",
    "MlmInit",
    "MlmInitConfig",
    "MlmOptim",
    "NonNegativeFloat",
    "Objective",
    "OptimConfig",
    "PositiveFloat",
    "Precision",
    "PretrainConfig",
    "ProbeConfig",
    "ReleasedClip",
    "SamplingConfig",
    "Schedule",
    "SelectionConfig",
    "Sharding",
    "SourceConfig",
    "SourceUse",
    "StatedDifference",
    "StatedRatio",
    "StatedRows",
    "StatementConfig",
    "Strict",
    "StudyConfig",
    "TaskConfig",
    "TaskData",
    "TextInit",
    "TokenizerConfig",
    "ToyWorldConfig",
    "WeightsConfig",
]
