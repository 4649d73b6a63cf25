"""Packs text lines into samples of nearly full length (RoBERTa's FULL-SENTENCES)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]


def pack(offsets: Ids, capacity: int) -> Ids:
    """Token ranges [S, 2] of samples: whole lines, in order, as many as fit into `capacity`.

    Samples may cross documents, whose ends carry a separator token. A line longer than
    `capacity` is cut into pieces of that length first.

    Args:
        offsets: int64 [N + 1], line n is tokens offsets[n] to offsets[n + 1].
        capacity: tokens of a sample, special tokens apart.
    """
    cuts = _cut_long(offsets, capacity)
    starts, position, last = [0], 0, len(cuts) - 1
    while position < last:
        limit = cuts[position] + capacity
        position = int(np.searchsorted(cuts, limit, side="right")) - 1
        starts.append(position)
    edges = cuts[np.array(starts)]
    ranges = np.stack([edges[:-1], edges[1:]], axis=1)
    return ranges[ranges[:, 1] > ranges[:, 0]]


def _cut_long(offsets: Ids, capacity: int) -> Ids:
    """Offsets with a further one every `capacity` tokens inside long lines."""
    lengths = np.diff(offsets)
    long = np.flatnonzero(lengths > capacity)
    extra = [np.arange(offsets[i] + capacity, offsets[i + 1], capacity) for i in long]
    return np.unique(np.concatenate([offsets, *extra]))
