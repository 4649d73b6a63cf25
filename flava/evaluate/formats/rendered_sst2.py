"""`rendered_sst2`: GLUE's SST-2 as pictures of its sentences, drawn as they are needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from flava.config import TaskData
from flava.data.draw_text import draw_text
from flava.data.transforms import resize_square
from flava.evaluate.content import Hashed
from flava.evaluate.formats import glue_tsv
from flava.evaluate.taskdata import IntArray, LabelledTask, PixelArray, Split

CLASSES = ["negative", "positive"]


class DrawnTexts(Hashed):
    """A picture of each text (`flava.data.draw_text`)."""

    def __init__(self, texts: Sequence[str]) -> None:
        self.texts = list(texts)

    def __len__(self) -> int:
        return len(self.texts)

    def pixels(self, indices: IntArray, size: int) -> PixelArray:
        """uint8 RGB (B, size, size, 3).

        Raises:
            DataError: a text cannot be drawn.
        """
        out_BHWC = np.empty((len(indices), size, size, 3), np.uint8)
        for row, index in enumerate(indices):
            picture = draw_text(self.texts[index]).convert("RGB")
            out_BHWC[row] = np.asarray(resize_square(picture, size))
        return out_BHWC

    def content(self, indices: IntArray) -> bytes:
        """Pixels of a drawn picture."""
        (index,) = indices
        return draw_text(self.texts[index]).tobytes()

    def take(self, indices: IntArray) -> DrawnTexts:
        """The pictures at `indices`."""
        return DrawnTexts([self.texts[i] for i in indices])


def load(path: Path, data: TaskData) -> LabelledTask:
    """GLUE's train.tsv and dev.tsv of SST-2.

    Not OpenAI's set: GLUE trains on 67,349 phrases, not on 6,920 whole sentences, and its dev set
    is scored, since the labels of its test set are not published.

    Raises:
        DataError: a file is missing or malformed.
    """
    glue = glue_tsv.load(path, data, "sst2")
    tests = {"test": _drawn(next(iter(glue.tests.values())))}
    return replace(glue, train=_drawn(glue.train), tests=tests, classes=CLASSES)


def _drawn(split: Split) -> Split:
    assert split.texts is not None
    texts = [first for first, _ in split.texts]
    return Split(split.labels(), DrawnTexts(texts), np.arange(len(texts)))
