"""Columns of Table C.1."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveInt

from flava.config.base import Arch, Gather, ImageInit, Kind, Objective, Strict, TextInit


class SourceUse(Strict):
    """What a column does with one kind of data."""

    objectives: list[Objective] = Field(description="losses on this data, each with weight 1")


class InitConfig(Strict):
    """Encoder initialisation before joint pretraining (Section 3.3)."""

    image: ImageInit = "none"
    text: TextInit = "none"


class ColumnConfig(Strict):
    """One column of Table C.1 as data."""

    number: PositiveInt = Field(description="column number in Table C.1; from 15: not the paper's")
    title: str = Field(description="heading in Table C.1")
    paper_data: str = Field(description="pretraining data, as Table C.1 prints it")
    arch: Arch = Field(
        "flava",
        description="`clip_released` and `flava_released`: published weights (`released_clip`, "
        "`released_flava` of the study), evaluated only",
    )
    tokenizer: Literal["wordpiece", "bpe"] = "wordpiece"
    init: InitConfig = Field(default_factory=lambda: InitConfig())
    gather: Gather = "global"
    data: dict[Kind, SourceUse] = Field(description="kinds of data used, with their losses")

    @property
    def released(self) -> bool:
        """Whether its model is a published one, or stands in for it."""
        return self.arch.endswith("_released")
