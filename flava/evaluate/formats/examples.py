"""Collects (image, text, label) examples that share images, as multimodal sets have them."""

from __future__ import annotations

import numpy as np

from flava.errors import DataError
from flava.evaluate.images import EncodedImages, ImageSource
from flava.evaluate.taskdata import Split, Targets, require


def found_at(source: ImageSource, image: str, where: str) -> str:
    """The member that an image's name stands for.

    Raises:
        DataError: it is not in the source; names `where`.
    """
    try:
        return source.find(image)
    except DataError as error:
        raise DataError(f"{where}: {error}") from None


class ImageTexts:
    """Grows by `add`; `split` turns it into a split with each distinct image once."""

    def __init__(self, source: ImageSource, where: str) -> None:
        self.source, self.where = source, where
        self._members: dict[str, int] = {}
        self._image: list[int] = []
        self._texts: list[tuple[str, str | None]] = []
        self._labels: list[int] = []

    def add(self, image: str, text: str, label: int, where: str) -> None:
        """One example.

        Raises:
            DataError: the image is not in the source; names `where`.
        """
        member = found_at(self.source, image, where)
        self._image.append(self._members.setdefault(member, len(self._members)))
        self._texts.append((text, None))
        self._labels.append(label)

    def split(self, targets: Targets | None = None) -> Split:
        """The examples; `targets` takes the place of the labels given to `add`.

        Raises:
            DataError: there are none.
        """
        require(bool(self._texts), f"{self.where} has no examples. Check the file.")
        return Split(
            targets=np.asarray(self._labels, np.int64) if targets is None else targets,
            images=EncodedImages(self.source, list(self._members)),
            image_N=np.asarray(self._image, np.int64),
            texts=self._texts,
        )
