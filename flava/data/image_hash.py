"""Perceptual hashes of images, and the search for near ones among millions.

A hash has 64 bits: which of the 8 x 8 lowest frequencies (the constant row and column left out) of
the picture's 32 x 32 grey values, by a DCT-II, exceed their median. Scale, compression and
brightness move few bits (Zauner 2010, "Implementation and benchmarking of perceptual image hash
functions").
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flava.data.transforms import Pixels

Hashes = NDArray[np.uint64]
Ints = NDArray[np.int64]

SIDE = 32
FLAT = 4.0  # grey levels of standard deviation, of 255, below which a picture has no structure
BITS = 64
CHUNK = 2**20  # corpus images compared at once
PAIRS = 2**24  # pairs of hashes compared at once
_GREY = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601


def _frequencies() -> NDArray[np.float64]:
    k_K1, n_1S = np.arange(1, 9)[:, None], np.arange(SIDE)[None, :]
    return np.cos(np.pi * (2 * n_1S + 1) * k_K1 / (2 * SIDE))


_DCT_KS = _frequencies()


def hash_images(pixels_BHWC: Pixels) -> tuple[Hashes, NDArray[np.bool_]]:
    """Hashes (B,) of uint8 RGB pictures (B, 32, 32, 3), and which are flat: theirs mean nothing."""
    grey_BHW = pixels_BHWC.astype(np.float64) @ _GREY
    low_BF = (_DCT_KS @ grey_BHW @ _DCT_KS.T).reshape(len(grey_BHW), BITS)
    set_BF = low_BF > np.median(low_BF, axis=1, keepdims=True)
    hashes_B = np.packbits(set_BF, axis=1).view(">u8")[:, 0].astype(np.uint64)
    return hashes_B, grey_BHW.reshape(len(grey_BHW), -1).std(axis=1) < FLAT


def standardised(pixels_BHWC: Pixels) -> NDArray[np.float32]:
    """Pictures as unit vectors of mean 0, all channels together: their dot is a correlation."""
    x_BD = pixels_BHWC.reshape(len(pixels_BHWC), -1).astype(np.float32)
    x_BD -= x_BD.mean(axis=1, keepdims=True)
    unit_BD: NDArray[np.float32] = x_BD / np.maximum(
        np.linalg.norm(x_BD, axis=1, keepdims=True), 1e-6
    )
    return unit_BD


@dataclass(frozen=True)
class Near:
    """Pairs of near hashes, by query, then distance, then place in the corpus."""

    query_P: Ints
    corpus_P: Ints
    distance_P: Ints

    def nearest(self, keep: int) -> Near:
        """At most the `keep` nearest of each query."""
        order_P = np.lexsort((self.corpus_P, self.distance_P, self.query_P))
        query_P = self.query_P[order_P]
        rank_P = np.arange(len(query_P)) - np.searchsorted(query_P, query_P)
        kept = order_P[rank_P < keep]
        return Near(self.query_P[kept], self.corpus_P[kept], self.distance_P[kept])


def near_hashes(queries_Q: Hashes, corpus_N: Hashes, max_distance: int, keep: int) -> Near:
    """Pairs within `max_distance` bits, the `keep` nearest of each query.

    Of `max_distance` + 1 bands of bits one at least is equal in both (pigeonhole), so only pairs
    with an equal band are compared; the corpus is read once, in chunks.
    """
    found = Near(*(np.zeros(0, np.int64) for _ in range(3)))
    cuts = np.linspace(0, BITS, max_distance + 2).round().astype(int).tolist()
    for start in range(0, len(corpus_N), CHUNK):
        part = np.asarray(corpus_N[start : start + CHUNK])
        keys = [
            key
            for low, high in itertools.pairwise(cuts)
            for key in _equal_band(queries_Q, part, low, high - low, max_distance)
        ]
        key_P = np.unique(np.concatenate(keys)) if keys else np.zeros(0, np.int64)
        query_P, corpus_P = key_P // CHUNK, key_P % CHUNK
        distance_P = np.bitwise_count(queries_Q[query_P] ^ part[corpus_P]).astype(np.int64)
        found = Near(
            np.concatenate([found.query_P, query_P]),
            np.concatenate([found.corpus_P, corpus_P + start]),
            np.concatenate([found.distance_P, distance_P]),
        ).nearest(keep)
    return found


def _equal_band(
    queries_Q: Hashes, part_N: Hashes, low: int, width: int, max_distance: int
) -> list[Ints]:
    """query * CHUNK + place of the near pairs whose bits low to low + width are equal."""
    mask = np.uint64(2**width - 1)
    band_Q, band_N = ((h >> np.uint64(low)) & mask for h in (queries_Q, part_N))
    order_Q = np.argsort(band_Q, kind="stable")
    left_N, right_N = (np.searchsorted(band_Q[order_Q], band_N, side) for side in ("left", "right"))
    total_N1 = np.concatenate([[0], np.cumsum(right_N - left_N)])
    found, first = [], 0
    while first < len(part_N):
        reach = np.searchsorted(total_N1, total_N1[first] + PAIRS, side="right") - 1
        last = max(first + 1, int(reach))
        count = (right_N - left_N)[first:last]
        corpus_P = np.repeat(np.arange(first, last), count)
        shift = np.repeat(left_N[first:last] - total_N1[first:last], count)
        query_P = order_Q[np.arange(total_N1[first], total_N1[last]) + shift]
        near_P = np.bitwise_count(queries_Q[query_P] ^ part_N[corpus_P]) <= max_distance
        found.append(query_P[near_P] * CHUNK + corpus_P[near_P])
        first = last
    return found
