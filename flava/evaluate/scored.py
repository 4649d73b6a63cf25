"""The images and texts that a task is scored on, whatever its family."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from flava.data.image_hash import SIDE
from flava.evaluate.images import EncodedImages
from flava.evaluate.taskdata import (
    Images,
    IntArray,
    LabelledTask,
    PixelArray,
    RetrievalTask,
    Split,
    TaskSet,
    ZeroShotTask,
)


@dataclass(frozen=True)
class ScoredImages:
    """Distinct images of one scored split."""

    images: Images
    rows: IntArray

    def __len__(self) -> int:
        return len(self.rows)

    def small(self, positions: IntArray) -> PixelArray:
        """uint8 RGB (B, 32, 32, 3).

        Raises:
            DataError: an image cannot be decoded.
        """
        return self.images.pixels(self.rows[positions], SIDE)

    def name(self, position: int) -> str:
        """File of an image, or its number where the set is one array."""
        row = int(self.rows[position])
        return self.images.names[row] if isinstance(self.images, EncodedImages) else f"image {row}"


def scored_images(data: TaskSet) -> list[ScoredImages]:
    """Images that the task is scored on, one entry a split; none for tasks of text alone."""
    if isinstance(data, RetrievalTask):
        return [ScoredImages(data.images, np.arange(len(data.images)))]
    return [
        ScoredImages(split.images, np.unique(split.image_N))
        for split in _splits(data)
        if split.images is not None and split.image_N is not None
    ]


def scored_texts(data: TaskSet) -> list[str]:
    """Distinct texts that the task is scored on, both of a pair; no prompts and class names."""
    if isinstance(data, RetrievalTask):
        return list(dict.fromkeys(data.captions))
    pairs = [pair for split in _splits(data) for pair in split.texts or []]
    return list(dict.fromkeys(text for pair in pairs for text in pair if text is not None))


def _splits(data: LabelledTask | ZeroShotTask) -> list[Split]:
    return [data.test] if isinstance(data, ZeroShotTask) else list(data.tests.values())
