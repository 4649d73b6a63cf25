"""A vision set as its official release unpacks: list files beside pictures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from flava.errors import DataError
from flava.evaluate.formats import text_files
from flava.evaluate.images import EncodedImages, ImageSource, pictures
from flava.evaluate.taskdata import Split, check_labels

Listed = tuple[str, str, int]  # where it is listed (file and line or entry), picture, label


@dataclass(frozen=True)
class Release:
    """The folder that an official release has been unpacked to.

    Attributes:
        root: the folder itself.
        how_to_get: one or two sentences on what to download and where to unpack it.
    """

    root: Path
    how_to_get: str

    @classmethod
    def find(cls, path: Path, folder: str, how_to_get: str) -> Release:
        """`path`/`folder` where that exists (the archive was unpacked into `path`), else `path`."""
        return cls(path / folder if (path / folder).is_dir() else path, how_to_get)

    def path(self, name: str) -> Path:
        """An official file.

        Raises:
            DataError: it is not there.
        """
        path = self.root / name
        if not path.is_file():
            raise DataError(f"{path} is missing. {self.how_to_get}")
        return path

    def lines(self, name: str) -> Iterator[tuple[str, str]]:
        """Where (file and line number) and text of each non-empty line.

        Raises:
            DataError: the file is missing or is not UTF-8.
        """
        path = self.path(name)
        for number, line in text_files.lines(path, self.how_to_get):
            yield f"{path}, line {number}", line.strip()

    def names(self, name: str) -> list[str]:
        """The lines of a list of class names.

        Raises:
            DataError: it is missing, is empty, or lists a name twice.
        """
        found = [line for _, line in self.lines(name) if line]
        if not found or len(set(found)) < len(found):
            raise DataError(f"{self.root / name} is empty or lists a class twice. Get it anew.")
        return found

    def bytes(self, name: str) -> bytes:
        """Content of a binary file.

        Raises:
            DataError: it is missing or cannot be read.
        """
        path = self.path(name)
        try:
            return path.read_bytes()
        except OSError as error:
            raise DataError(f"{path} cannot be read ({error}).") from None

    def mat(self, name: str, key: str) -> Any:
        """Variable `key` of a MATLAB file, without dimensions of length one.

        Raises:
            DataError: the file is missing, is no MATLAB file or lacks the variable.
        """
        from scipy.io import loadmat
        from scipy.io.matlab import MatReadError

        path = self.path(name)
        try:
            return loadmat(path, squeeze_me=True)[key]
        except KeyError:
            raise DataError(f"{path} has no variable '{key}'. {self.how_to_get}") from None
        except (MatReadError, ValueError, TypeError, OSError, NotImplementedError) as error:
            raise DataError(f"{path} is not a readable MATLAB file ({error}).") from None

    def images(self, folder: str) -> ImageSource:
        """The pictures in `folder`, or in `folder`.zip or `folder`.tar beside the list files.

        Raises:
            DataError: there are none of the three, or no picture is in it.
        """
        path = pictures(self.root / folder)
        if path is None:
            raise DataError(f"{self.root / folder} is missing. {self.how_to_get}")
        return ImageSource(path)


def listed_split(source: ImageSource, listed: Iterable[Listed], n_classes: int, name: str) -> Split:
    """A split from the lines that list its pictures, in their order.

    Raises:
        DataError: nothing is listed, or a picture is absent or its label out of range; the message
            names the line.
    """
    found, labels = [], []
    for where, picture, label in listed:
        if not 0 <= label < n_classes:
            raise DataError(
                f"{where}: label {label} is out of range; there are {n_classes} classes (from 0)."
            )
        try:
            found.append(source.find(picture))
        except DataError as error:
            raise DataError(f"{where}: {error}") from None
        labels.append(label)
    labels_N = np.asarray(labels, np.int64)
    check_labels(labels_N, n_classes, f"{source.path}: split '{name}'")
    return Split(labels_N, EncodedImages(source, found), np.arange(len(found)))


def position(name: str, classes: Sequence[str], where: str) -> int:
    """Place of a class name.

    Raises:
        DataError: it is none of `classes`.
    """
    try:
        return classes.index(name)
    except ValueError:
        raise DataError(
            f"{where}: '{name}' is none of the {len(classes)} classes ({', '.join(classes[:3])} …)."
        ) from None
