"""The search for test examples in the pretraining data."""

from __future__ import annotations

from pydantic import Field, NonNegativeInt

from flava.config.base import Fraction, Strict


class LeakConfig(Strict):
    """When a test image or text counts as found in a pretraining corpus (docs/evaluation.md)."""

    max_distance: NonNegativeInt = Field(
        6, le=15, description="bits of 64 in which perceptual hashes of one picture may differ"
    )
    min_correlation: Fraction = Field(
        0.95, description="of the two pictures' 32 x 32 pixels, which confirms an equal hash"
    )
    min_words: NonNegativeInt = Field(
        5, description="shorter test texts are common: counted apart, not as leaks"
    )
