"""Near doubles of test images and test texts in one hashed corpus."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from flava.config import LeakConfig
from flava.data.hash_corpus import GOOD, CorpusHashes, small_images
from flava.data.image_hash import Hashes, Near, hash_images, near_hashes, standardised
from flava.data.shards import ShardReader
from flava.data.text_hash import TextHash, contains
from flava.evaluate.features import batches
from flava.evaluate.leak_result import ImageLeaks, ImageMatch, TextLeaks
from flava.evaluate.scored import ScoredImages
from flava.evaluate.taskdata import IntArray, PixelArray
from flava.jobs import HashJob

EXAMPLES = 5  # shown of each task and corpus
CANDIDATES = 32  # nearest hashes of a test image whose pixels are compared


class TaskHashes:
    """Images and texts of one task, the images hashed."""

    def __init__(self, name: str, images: Sequence[ScoredImages], texts: list[str]) -> None:
        self.name, self.images, self.texts = name, images, texts
        self.place = [
            (part, row) for part in range(len(images)) for row in range(len(images[part]))
        ]
        found = [hash_images(part.small(rows)) for part in images for rows in batches(len(part))]
        self.hashes_N = np.concatenate([np.zeros(0, np.uint64), *(h for h, _ in found)])
        self.flat_N = np.concatenate([np.zeros(0, bool), *(flat for _, flat in found)])

    def small(self, positions: IntArray) -> PixelArray:
        """uint8 RGB (B, 32, 32, 3)."""
        return np.concatenate(
            [self.images[p].small(np.array([row])) for p, row in (self.place[i] for i in positions)]
        )

    def image_name(self, position: int) -> str:
        """Name of an image in its set."""
        part, row = self.place[position]
        return self.images[part].name(row)


def image_leaks(
    name: str,
    corpus: HashJob,
    hashed: CorpusHashes,
    tasks: Sequence[TaskHashes],
    config: LeakConfig,
) -> list[ImageLeaks]:
    """Test images of all tasks in one corpus, whose hashes are read once."""
    reader = ShardReader(Path(corpus.corpus))
    usable = np.flatnonzero(hashed.states == GOOD)
    asked = [task.hashes_N[~task.flat_N] for task in tasks]
    queries = np.unique(np.concatenate([np.zeros(0, np.uint64), *asked]))
    near = near_hashes(queries, hashed.hashes[usable], config.max_distance, CANDIDATES)
    near = Near(near.query_P, usable[near.corpus_P], near.distance_P)
    return [
        _image_leaks(name, reader, task, queries, near, config) for task in tasks if task.images
    ]


def _image_leaks(
    name: str,
    reader: ShardReader,
    task: TaskHashes,
    queries: Hashes,
    near: Near,
    config: LeakConfig,
) -> ImageLeaks:
    """Of the candidates by hash, those whose pixels are alike too."""
    query_N = np.searchsorted(queries, task.hashes_N)
    first_N, last_N = (np.searchsorted(near.query_P, query_N, side) for side in ("left", "right"))
    last_N = np.where(task.flat_N, first_N, last_N)
    found: list[ImageMatch] = []
    candidates_N = np.flatnonzero(last_N > first_N)
    for position in candidates_N.tolist():
        pairs = slice(first_N[position], last_N[position])
        match = _confirm(reader, task, position, near, pairs, config.min_correlation)
        found += [match] if match else []
    return ImageLeaks(
        corpus=name,
        task=task.name,
        test=len(task.hashes_N),
        flat=int(task.flat_N.sum()),
        near=len(candidates_N),
        matched=len(found),
        examples=found[:EXAMPLES],
    )


def _confirm(
    reader: ShardReader,
    task: TaskHashes,
    position: int,
    near: Near,
    pairs: slice,
    min_correlation: float,
) -> ImageMatch | None:
    """The first candidate, nearest first, whose 32 x 32 pixels correlate enough."""
    own_D = standardised(task.small(np.array([position])))[0]
    for index, distance in zip(
        near.corpus_P[pairs].tolist(), near.distance_P[pairs].tolist(), strict=True
    ):
        (pixels,) = small_images(reader, [index])
        if pixels is None:
            continue
        correlation = float(own_D @ standardised(pixels[None])[0])
        if correlation >= min_correlation:
            return ImageMatch(
                test=task.image_name(position),
                corpus=reader.key(index),
                distance=distance,
                correlation=round(correlation, 4),
            )
    return None


def text_leaks(
    name: str, digests: Hashes, hasher: TextHash, task: TaskHashes, config: LeakConfig
) -> TextLeaks:
    """Test texts of one task in one corpus; the short ones are counted apart."""
    texts = task.texts
    own_T, usable_T = hasher.texts(texts)
    found_T = contains(digests, own_T) & usable_T
    words_T = np.array([len(re.findall(r"\w+", text)) for text in texts], np.int64)
    short_T = words_T < config.min_words
    return TextLeaks(
        corpus=name,
        task=task.name,
        test=len(texts),
        unknown=int((~usable_T).sum()),
        short=int(short_T.sum()),
        short_matched=int((short_T & found_T).sum()),
        matched=int((found_T & ~short_T).sum()),
        examples=[texts[i] for i in np.flatnonzero(found_T & ~short_T)[:EXAMPLES]],
    )
