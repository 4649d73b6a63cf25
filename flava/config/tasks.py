"""Evaluation tasks and their protocols."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from flava.config.base import (
    Domain,
    Dropout,
    Fraction,
    Metric,
    NonNegativeFloat,
    PositiveFloat,
    Strict,
)

CARD = ("title", "source", "obtain", "licence")  # what every task says of itself


class FinetuneConfig(Strict):
    """Fine-tuning hyper-parameters of one task (fairseq's GLUE settings; supplement B.2)."""

    learning_rate: PositiveFloat = Field(description="largest, after the warm-up")
    batch_size: PositiveInt = Field(description="examples an update")
    updates: PositiveInt = Field(description="of the optimiser")
    warmup_updates: NonNegativeInt = Field(description="of `updates`, the rate rising linearly")
    weight_decay: NonNegativeFloat = Field(0.1, description="of AdamW")
    beta2: Fraction = Field(0.98, description="of AdamW")
    eps: PositiveFloat = Field(1e-6, description="of AdamW")
    dropout: Dropout = Field(0.1, description="of the head")
    encoder_dropout: Dropout = Field(
        0.0, description="attention and residual dropout of the encoders (fairseq's GLUE: 0.1)"
    )
    schedule: Literal["polynomial", "cosine"] = "polynomial"
    head_hidden: PositiveInt | None = Field(None, description="hidden width of a 2-layer head")
    image_size: PositiveInt | None = Field(None, description="input pixels, if not the model's")
    segment_types: bool = Field(
        True,
        description="the second text of a pair has BERT's token type 1; false: 0, as in "
        "torchmultimodal and RoBERTa. Text encoders with token types only",
    )
    validation_fraction: Fraction = Field(
        0.1, description="of train, to choose the checkpoint, where no validation set is published"
    )
    evaluations: PositiveInt = Field(
        10, description="validation scores on the way; the best counts"
    )
    accumulate: PositiveInt = Field(
        1,
        description="micro-batches an update, one after another: less memory, the same gradient; "
        "divides the batches of prediction too",
    )
    precision: Literal["fp32", "bf16"] = Field(
        "fp32", description="autocast dtype of training and prediction (paper silent)"
    )

    checkpoint_updates: PositiveInt = Field(
        1000, description="updates after which a killed run goes on; fewer are begun anew"
    )

    @model_validator(mode="after")
    def _whole(self) -> FinetuneConfig:
        if self.batch_size % self.accumulate:
            raise ValueError(
                f"batch_size {self.batch_size} is not a multiple of accumulate {self.accumulate}"
            )
        if self.warmup_updates >= self.updates:
            raise ValueError(
                f"warmup_updates {self.warmup_updates} are not fewer than updates {self.updates}: "
                "the learning rate would never come to its peak"
            )
        return self


class ProbeConfig(Strict):
    """Linear probe: CLIP's protocol (supplement B.2)."""

    lambda_min: PositiveFloat = Field(1e-6, description="weakest L2 penalty of the sweep")
    lambda_max: PositiveFloat = Field(1e6, description="strongest L2 penalty of the sweep")
    steps: PositiveInt = Field(96, description="points of the log grid (CLIP App. A.3)")
    max_iterations: PositiveInt = Field(1000, description="steps of the optimiser (supplement B.2)")
    validation_fraction: Fraction = Field(0.2, description="carved out where none is published")


class TaskConfig(Strict):
    """One of the 35 tasks: what it measures and by which protocol."""

    domain: Domain
    family: Literal["linear_probe", "glue", "multimodal", "retrieval", "zero_shot"]
    rows: list[str] = Field(description="row names of table_c1.csv it fills")
    metric: Metric = Field(description="the metric printed in Table C.1, in per cent")
    printed: str = Field(
        "",
        exclude=True,
        description="which number Table C.1 prints, where the task has several metrics",
    )
    finetune: FinetuneConfig | None = None
    probe: ProbeConfig | None = None
    counts: dict[str, PositiveInt] = Field(
        default_factory=dict,
        description="split -> official number of examples; refused where a real set has others",
    )
    split_counts: dict[str, dict[str, PositiveInt]] = Field(
        default_factory=dict,
        description="counts by the `split` that a study names, where a set has several releases",
    )
    drawn_from: dict[str, PositiveInt] = Field(
        default_factory=dict,
        description="part of a release -> its official number of examples, where the splits are "
        "drawn from them; refused where a real set has others",
    )
    # Read by people only: left out of a job's configuration, so that no edit re-plans a job. Those
    # of CARD must be in tasks.yaml all the same.
    title: str = Field("", exclude=True, description="as the paper names it; must be given")
    source: str = Field("", exclude=True, description="where the protocol is stated; must be given")
    obtain: str = Field(
        "", exclude=True, description="where the real data set comes from; must be given"
    )
    licence: str = Field("", exclude=True, description="of the real data set; must be given")
    splits: str = Field(
        "", exclude=True, description="which official splits are trained on and scored"
    )
    other_split: str = Field(
        "",
        exclude=True,
        description="how the real set's scored split differs, or may, from the paper's; pages say "
        "so, and grey the difference to the paper; empty: it is the paper's",
    )
    chance: str = Field(
        "", exclude=True, description="what the best constant or random prediction reaches"
    )
    toy: str = Field("", exclude=True, description="what the toy world's stand-in asks for")
    checksums: dict[str, str] = Field(
        default_factory=dict,
        exclude=True,
        description="file of the official release -> `md5:` or `sha256:` as published",
    )

    @model_validator(mode="before")
    @classmethod
    def _probe_by_default(cls, value: object) -> object:
        """A linear probe follows CLIP's sweep unless its task says otherwise."""
        if isinstance(value, dict) and value.get("family") == "linear_probe":
            return {"probe": {}, **value}
        return value


class TaskData(Strict):
    """Where a study takes a task's data from."""

    adapter: str = Field(description="a name of flava.evaluate.adapters")
    path: str = Field(description="file or folder; may begin with $FLAVA_DATA")
    stand_in: str | None = Field(None, description="what takes the row's place; none: the real set")
    train_limit: PositiveInt | None = Field(None, description="of a stand-in: at most so many")
    test_limit: PositiveInt | None = Field(None, description="of a stand-in: at most so many")
    prompts: str | None = Field(None, description="zero-shot: file of class names and templates")
    images: str | None = Field(None, description="image zip, tar or folder, where apart from path")
    split: str | None = Field(
        None,
        description="retrieval from Karpathy's JSON or web datasets: the split that is scored, if "
        "not test; Hateful Memes: unseen (MMF's default), seen or original",
    )
    answers: Literal["train_val", "train"] = Field(
        "train_val",
        description="VQAv2: files whose answers make the vocabulary; the paper does not say, both "
        "is usual (Bottom-up, MMF)",
    )
    finetune: dict[str, bool | int | float | str | None] = Field(
        default_factory=dict, description="keys of the task's fine-tuning settings to replace"
    )
    probe: dict[str, bool | int | float | str | None] = Field(
        default_factory=dict, description="keys of the task's probe settings to replace"
    )
