"""Random streams: one for arrays and one for words, both from one seed sequence."""

from __future__ import annotations

from random import Random

import numpy as np

Seed = np.random.SeedSequence


def generators(seed: Seed) -> tuple[np.random.Generator, Random]:
    """A numpy generator and a Random of its own (ten times faster for single choices)."""
    numbers, words = seed.spawn(2)
    return np.random.default_rng(numbers), Random(int(words.generate_state(1)[0]))
