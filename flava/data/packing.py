"""Packs text lines into samples of nearly full length (RoBERTa's FULL-SENTENCES)."""

from __future__ import annotations

from array import array
from bisect import bisect_right

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Ids = NDArray[np.int64]


def pack(offsets: Ids, capacity: int) -> Ids:
    """Token ranges [S, 2] of samples: whole lines, in order, as many as fit into `capacity`.

    Samples may cross documents, whose ends carry a separator token. A line longer than
    `capacity` is cut into pieces of that length first. Takes about 8 bytes of memory a sample and
    none a line: memory-mapped `offsets` stay where they are.

    Args:
        offsets: int64 [N + 1], line n is tokens offsets[n] to offsets[n + 1].
        capacity: tokens of a sample, special tokens apart.
    """
    lines = np.ascontiguousarray(offsets, np.int64).data  # faster than an array, number by number
    edges, line, last = array("q", [lines[0]]), 0, lines[-1]
    while edges[-1] < last:
        limit = edges[-1] + capacity
        line = _line_at(lines, limit, line, capacity)
        edges.append(_edge(lines, limit, line, capacity))
    if len(edges) == 1:
        return np.zeros((0, 2), np.int64)
    return sliding_window_view(np.frombuffer(edges, np.int64), 2)


def _line_at(lines: memoryview, limit: int, line: int, capacity: int) -> int:
    """The last line, from `line` on, that begins at `limit` or before."""
    near = min(line + 2 * capacity, len(lines))  # looked at first: it is in memory already
    end = near if lines[near - 1] > limit else len(lines)
    return bisect_right(lines, limit, line, end) - 1


def _edge(lines: memoryview, limit: int, line: int, capacity: int) -> int:
    """Where a sample of at most `limit` ends: before `line`, or at a cut of it if it is long."""
    begin = int(lines[line])
    return begin if line == len(lines) - 1 else begin + (limit - begin) // capacity * capacity
