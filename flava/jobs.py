"""Resolved configurations: the small JSON file that is each step's identity and its input."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import Field, NonNegativeInt, PositiveInt, ValidationError, model_validator

from flava.config import (
    Arch,
    BeitInitConfig,
    ClipConfig,
    CodebookConfig,
    ColumnConfig,
    ContrastiveConfig,
    DinoInitConfig,
    FinetuneConfig,
    FlavaConfig,
    Fraction,
    Kind,
    LeakConfig,
    MaskingConfig,
    MlmInitConfig,
    Objective,
    PretrainConfig,
    ProbeConfig,
    SourceConfig,
    Strict,
    TaskConfig,
    TaskData,
    TokenizerConfig,
    ToyWorldConfig,
    WeightsConfig,
)
from flava.errors import ConfigError
from flava.io import read_json, sha256_json

JobT = TypeVar("JobT", bound=Strict)


class EvaluateTask(Strict):
    """A task with the study's data and the resolved hyper-parameters."""

    task: TaskConfig
    data: TaskData
    finetune: FinetuneConfig | None = None
    probe: ProbeConfig | None = None


class ToyWorldJob(Strict):
    """Generate the toy world's raw files."""

    study: str
    toy_world: ToyWorldConfig
    output: str = Field(description="folder of raw files: data/<study>/raw")


class TokenizerJob(Strict):
    """Train or convert the study's tokenizers."""

    study: str
    tokenizers: dict[str, TokenizerConfig]
    pairs: list[SourceConfig] = Field(description="captions to train on")
    texts: list[SourceConfig] = Field(description="texts to train on")
    output: str = Field(description="folder: data/<study>/tokenizers")


class PrepareJob(Strict):
    """Prepare one corpus to shards or token arrays."""

    study: str
    kind: str = Field(description="pairs, images or texts")
    sources: list[SourceConfig]
    tokenizers: dict[str, str] = Field(description="name -> tokenizer JSON; empty for images")
    shard_bytes: PositiveInt
    output: str = Field(description="folder: data/<study>/<kind>")


class CodebookJob(Strict):
    """Train the dVAE and cache the image tokens of the image corpora."""

    study: str
    seed: NonNegativeInt
    codebook: CodebookConfig
    grid: PositiveInt = Field(description="tokens a side; input is grid x downsample pixels")
    crop_scale_min: Fraction
    bad_image_fraction: Fraction
    corpora: dict[str, str] = Field(description="pairs and images -> prepared folder")
    output: str = Field(description="folder: data/<study>/codebook")
    checkpoints: str = Field(description="folder: checkpoints/<study>/codebook-<hash>")


class SelectionJob(Strict):
    """Write the labelled arrays that scores during training read."""

    study: str
    zero_shot: EvaluateTask | None = Field(description="images, class names and templates")
    images: EvaluateTask | None = Field(description="labelled images for k-NN")
    texts: EvaluateTask | None = Field(description="labelled texts for k-NN")
    names: dict[str, str] = Field(description="zero_shot, images, texts -> name of its task")
    tokenizers: dict[str, str] = Field(description="name -> tokenizer JSON")
    max_text_length: dict[str, int] = Field(description="name -> tokens of a text at most")
    image_size: PositiveInt
    limit: PositiveInt = Field(description="examples of each part at most")
    output: str = Field(description="folder: data/<study>/selection")


class EncoderSource(Strict):
    """Where an encoder's initial weights come from."""

    kind: str = Field(description="beit, dino or mlm")
    directory: str | None = Field(None, description="model folder of a recipe of this study")
    weights: WeightsConfig | None = Field(None, description="published weights")


class RunInit(Strict):
    """Initial weights of a run's encoders; none: random."""

    image: EncoderSource | None = None
    text: EncoderSource | None = None


class EncoderJob(Strict):
    """What the three encoder recipes share: (study, init, seed)."""

    study: str
    seed: NonNegativeInt
    flava: FlavaConfig
    selection: str | None = Field(description="folder of the selection set, for the k-NN score")
    output: str = Field(description="folder: results/<study>/inits/<init>-s<seed>")
    checkpoints: str = Field(description="folder: checkpoints/<study>/inits/<init>-s<seed>-<hash>")


class MlmJob(EncoderJob):
    """Pretrain the text encoder by masked language modelling."""

    recipe: MlmInitConfig
    masking: MaskingConfig
    tokenizer_path: str
    texts: str = Field(description="prepared corpus of texts")


class BeitJob(EncoderJob):
    """Pretrain the image encoder by masked image modelling."""

    recipe: BeitInitConfig
    masking: MaskingConfig
    images: str = Field(description="prepared corpus of images")
    image_tokens: str = Field(description="its token array; the dVAE lies beside it")
    crop_scale_min: Fraction = Field(description="of the fixed crops that the tokens belong to")


class DinoJob(EncoderJob):
    """Pretrain the image encoder by self-distillation."""

    recipe: DinoInitConfig
    images: str = Field(description="prepared corpus of images")


class RunConfig(Strict):
    """One pretraining run: (study, column, seed)."""

    study: str
    column: str
    seed: NonNegativeInt
    arch: Arch
    flava: FlavaConfig | None = Field(description="set for arch 'flava'")
    clip: ClipConfig | None = Field(description="set for arch 'clip'")
    init: RunInit
    selection: str | None = Field(
        None, description="folder of the selection set, for columns with a contrastive loss"
    )
    objectives: dict[Kind, list[Objective]]
    sampling: dict[Kind, Fraction] = Field(description="normalised over the kinds in use")
    contrastive: ContrastiveConfig
    masking: MaskingConfig
    pretrain: PretrainConfig
    tokenizer: str = Field(description="wordpiece or bpe")
    tokenizer_path: str
    corpora: dict[str, str] = Field(description="pairs, images, texts in use -> prepared folder")
    image_tokens: dict[str, str] = Field(description="pairs, images -> token array, where needed")
    output: str = Field(description="folder: results/<study>/runs/<column>-s<seed>")
    checkpoints: str = Field(description="folder: checkpoints/<study>/<column>-s<seed>-<hash>")


class ImportJob(Strict):
    """A column that is evaluated only: published weights in the place of a trained run."""

    study: str
    column: str
    seed: NonNegativeInt
    weights: WeightsConfig
    clip: ClipConfig | None = Field(
        None, description="architecture of a published CLIP", exclude_if=lambda value: value is None
    )
    flava: FlavaConfig | None = Field(
        None, description="of a published FLAVA", exclude_if=lambda value: value is None
    )
    tokenizer: str = Field(description="wordpiece or bpe")
    tokenizer_path: str
    output: str = Field(description="folder: results/<study>/runs/<column>-s<seed>")

    @model_validator(mode="after")
    def _one(self) -> ImportJob:
        return self.require_one("clip", "flava")

    @property
    def part(self) -> Literal["clip", "flava"]:
        """Which model is published."""
        return "clip" if self.flava is None else "flava"

    @property
    def architecture(self) -> ClipConfig | FlavaConfig:
        """Of the published model."""
        found = self.flava or self.clip
        assert found is not None  # _one checks it
        return found


class EvaluateJob(Strict):
    """Some tasks of one run, evaluated in one process."""

    study: str
    column: str
    seed: NonNegativeInt
    job: str
    model: str = Field(description="exported model folder")
    parent_record: str = Field(description="record of the run")
    tokenizer_path: str
    tasks: dict[str, EvaluateTask]
    bootstrap_resamples: PositiveInt
    features: str | None = Field(
        None, description="cache of frozen features: cache/<study>/features; none: not kept"
    )
    checkpoints: str = Field(
        description="folder, while it runs: checkpoints/<study>/evaluate/<run>.<job>-<hash>"
    )
    output: str = Field(description="results/<study>/runs/<run>/evaluate/<job>.json")


class HashJob(Strict):
    """Hash one prepared corpus for the leak check."""

    study: str
    corpus: str = Field(description="prepared folder: data/<study>/<kind>")
    images: bool = Field(description="whether the corpus has images")
    tokenizer: str | None = Field(description="whose token lists of the corpus are read")
    tokenizer_path: str | None
    output: str = Field(description="data/<study>/hashes/<kind>.npz")


class LeaksJob(Strict):
    """Search the test examples of all tasks in the hashed corpora."""

    study: str
    settings: LeakConfig
    corpora: dict[str, HashJob]
    tasks: dict[str, EvaluateTask]
    output: str = Field(description="results/<study>/leaks.json")


class CollectJob(Strict):
    """All scores of a study into one table."""

    study: str
    scores: list[str] = Field(description="outputs of the evaluate jobs")
    output: str = Field(description="results/<study>/results.parquet")


class ReportSettings(Strict):
    """What pages show of a study's settings; tables read them, nothing runs by them."""

    study: dict[str, Any] = Field(description="the study file, resolved, its tasks' recipes too")
    columns: dict[str, ColumnConfig] = Field(description="all columns, resolved")
    bases: dict[str, str] = Field(description="column -> the one that its entry builds on")


class ReportJob(Strict):
    """Tables and the report site of a study."""

    study: str
    title: str
    scale: str
    columns: dict[str, int] = Field(description="column -> its number, those of this study")
    titles: dict[str, str] = Field(
        default_factory=dict, description="column -> heading; the column's name where it has none"
    )
    tasks: dict[str, str] = Field(
        default_factory=dict, description="task -> heading; the task's name where it has none"
    )
    seeds: list[NonNegativeInt]
    not_run: dict[str, str] = Field(description="column -> why this study has no run of it")
    results: str
    runs: dict[str, str] = Field(description="<column>-s<seed> -> run folder")
    imported: list[str] = Field(
        default_factory=list, description="those of `runs` that have published weights"
    )
    stand_ins: dict[str, str] = Field(
        default_factory=dict, description="column -> the model that takes the place of the paper's"
    )
    other_splits: dict[str, str] = Field(
        default_factory=dict,
        description="row of a real set -> how the split that is scored differs from the paper's",
    )
    earlier: dict[str, str] = Field(
        default_factory=dict,
        description="training that runs start from, encoders and image tokenizer -> its record",
    )
    leaks: str | None = Field(None, description="result of the leak check; none: it was not run")
    release: bool = Field(
        False, description="refuse results from a dirty working tree or of several commits"
    )
    published: str = Field(description="folder of the paper's tables")
    settings: str = Field(description="the study's settings: results/<study>/configs/settings.json")
    dag: str = Field(description="the study's plan: results/<study>/configs/dag.json")
    output: str = Field(description="folder: results/<study>/report")

    @property
    def trains_nothing(self) -> bool:
        """Whether all models of the study are published ones."""
        return bool(self.imported) and set(self.imported) == set(self.runs)


class PlanStage(Strict):
    """A stage of a study's plan."""

    name: str
    jobs: list[tuple[str, PositiveInt]] = Field(description="rule, how many jobs of it")
    after: list[str] = Field(description="stages whose files its jobs read")

    @property
    def total(self) -> int:
        """Jobs of all its rules."""
        return sum(count for _, count in self.jobs)


class PlanGraph(Strict):
    """A study's plan by stages, upstream first: what the index page draws."""

    stages: list[PlanStage]

    def named(self) -> dict[str, PlanStage]:
        """Stages by name, upstream first."""
        return {stage.name: stage for stage in self.stages}


def parse(cls: type[JobT], value: object, where: str) -> JobT:
    """Validates plain data as `cls`.

    Raises:
        ConfigError: names `where`, each bad key, what is wrong and the nearest valid key.
    """
    try:
        return cls.model_validate_json(json.dumps(value))
    except ValidationError as error:
        from flava.explain import describe

        raise ConfigError(describe(error, cls, where)) from None


def load_job(cls: type[JobT], path: Path | str) -> JobT:
    """Reads a resolved configuration."""
    return parse(cls, read_json(path), str(path))


def with_own_checkpoints(job: JobT) -> JobT:
    """The training job with a checkpoint folder that no other configuration has.

    An edited run begins anew and loses nothing: undo the edit and it goes on where it was.
    """
    rest = job.model_dump(mode="json")
    folder = rest.pop("checkpoints")
    return job.model_copy(update={"checkpoints": f"{folder}-{sha256_json(rest)[:8]}"})
