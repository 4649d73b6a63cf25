"""What the paper says of its ablations."""

from __future__ import annotations

from pydantic import Field

from flava.config.base import Strict


class ClaimConfig(Strict):
    """A claim of the paper: in each pair, the first column is compared with the second."""

    claim: str = Field(description="one line")
    source: str = Field(description="section of the paper")
    pairs: list[tuple[str, str]] = Field(min_length=1, description="[column, baseline], ...")
