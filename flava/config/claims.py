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
    values: tuple[str, str] | None = Field(
        default=None, description="averages of second and first as printed"
    )

    @model_validator(mode="after")
    def _one(self) -> Self:
        return self.require_one("points", "values")


class StatedHigher(Strict):
    """In each pair, the first column is said to be above the second; dashes are not compared."""

    pairs: list[tuple[str, str]] = Field(min_length=1, description="columns of Table C.1")
    averages: list[Average] = Field(default_factory=list)
    rows: list[str] | Literal["all"] = Field(
        default_factory=list, description="of Table C.1, or all"
    )

    @model_validator(mode="after")
    def _some(self) -> Self:
        if not self.averages and not self.rows:
            raise ValueError("give averages, rows or both")
        return self


class StatedRatio(Strict):
    """The data of a model are said to be smaller than those of others."""

    small: str = Field(description="method of Table 1")
    large: list[str] = Field(min_length=1, description="methods of Table 1")
    times: float | None = Field(default=None, description="large / small as printed")
    orders: int | None = Field(default=None, description="least powers of ten between them")

    @model_validator(mode="after")
    def _one(self) -> Self:
        return self.require_one("times", "orders")


class StatedLines(Strict):
    """A line of Table 5 is said to be above others; dashes are not compared."""

    line: int = Field(description="number of the line, as printed")
    over: list[int] = Field(min_length=1, description="the other lines")
    headings: list[str] = Field(min_length=1, description="columns that are compared")


class StatementConfig(Strict):
    """What the paper's text says of its numbers; one of the last six keys."""

    source: str = Field(description="section or caption of the paper")
    says: str = Field(description="in this project's words")
    difference: StatedDifference | None = None
    higher: StatedHigher | None = None
    ratio: StatedRatio | None = None
    sizes: dict[str, str] | None = Field(default=None, description="method of Table 1 -> pairs")
    table_5: StatedLines | None = None
    metrics: dict[str, str] | None = Field(default=None, description="task -> metric")

    @model_validator(mode="after")
    def _one(self) -> Self:
        return self.require_one("difference", "higher", "ratio", "sizes", "table_5", "metrics")
