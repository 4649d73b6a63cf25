"""What the paper says of its ablations."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from flava.config.base import Strict

Average = Literal["nlp", "vision", "multimodal", "macro"]


class ClaimConfig(Strict):
    """A claim of the paper: in each pair, the first column is compared with the second."""

    claim: str = Field(description="one line")
    source: str = Field(description="section of the paper")
    pairs: list[tuple[str, str]] = Field(min_length=1, description="[column, baseline], ...")
    claimed: dict[Average, Literal[-1, 1]] = Field(
        default_factory=dict,
        description="average that the text speaks of -> 1: said to be higher, -1: lower",
    )


class StatedDifference(Strict):
    """A difference of two columns' averages, as the text states it."""

    average: Average
    first: str = Field(description="column of Table C.1")
    second: str = Field(description="column that it is compared with")
    points: str | None = Field(default=None, description="as printed, percentage points")
    sign: Literal[-1, 1] | None = Field(default=None, description="where no number is stated")

    @model_validator(mode="after")
    def _one(self) -> Self:
        return self.require_one("points", "sign")


class StatedRows(Strict):
    """A column is said to be better than another on every row."""

    first: str
    second: str


class StatedRatio(Strict):
    """A number is said to be smaller than others."""

    small: float = Field(gt=0)
    large: dict[str, float] = Field(min_length=1, description="name -> number")
    times: float | None = Field(default=None, description="large / small as printed")
    orders: int | None = Field(default=None, description="least powers of ten between them")

    @model_validator(mode="after")
    def _one(self) -> Self:
        return self.require_one("times", "orders")


class StatementConfig(Strict):
    """What the paper's text says of its numbers; one of the last four keys."""

    source: str = Field(description="section or caption of the paper")
    says: str = Field(description="in this project's words")
    difference: StatedDifference | None = None
    every_row: StatedRows | None = None
    ratio: StatedRatio | None = None
    metrics: dict[str, str] | None = Field(default=None, description="task -> metric")

    @model_validator(mode="after")
    def _one(self) -> Self:
        return self.require_one("difference", "every_row", "ratio", "metrics")
