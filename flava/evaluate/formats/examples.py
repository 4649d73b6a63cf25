"""Collects (image, text, label) examples that share images, as multimodal sets have them."""

from __future__ import annotations

from hashlib import sha256

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

    def split(self, targets: Targets | None = None, *, by_content: bool = False) -> Split:
        """The examples; `targets` takes the place of the labels given to `add`.

        Args:
            by_content: whether files of the same bytes are one picture.

        Raises:
            DataError: there are none, or a file cannot be read.
        """
        require(bool(self._texts), f"{self.where} has no examples. Check the file.")
        members, image_N = list(self._members), np.asarray(self._image, np.int64)
        picture_N = None
        if by_content:
            first: dict[bytes, int] = {}
            contents = (sha256(self.source.read(member)).digest() for member in members)
            alike = [first.setdefault(content, i) for i, content in enumerate(contents)]
            picture_N = np.array(alike, np.int64)[image_N]
        return Split(
            targets=np.asarray(self._labels, np.int64) if targets is None else targets,
            images=EncodedImages(self.source, members),
            image_N=image_N,
            texts=self._texts,
            picture_N=picture_N,
        )
