"""A vision set as its official release unpacks: list files beside pictures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from flava.data.matlab import read_mat
from flava.errors import DataError
from flava.evaluate.formats import text_files
from flava.evaluate.formats.examples import found_at
from flava.evaluate.images import EncodedImages, ImageSource, PictureSource, pictures
from flava.evaluate.taskdata import LabelledTask, Split, check_labels

Listed = tuple[str, str, int]  # where it is listed (file and line or entry), picture, label

SPLIT_SEED = 0  # of splits that no official list gives


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

    def read(self, name: str) -> bytes:
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
        return read_mat(self.path(name), key, self.how_to_get)

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
    found: list[Listed] = []
    for where, picture, label in listed:
        if not 0 <= label < n_classes:
            raise DataError(
                f"{where}: label {label} is out of range; there are {n_classes} classes (from 0)."
            )
        found.append((where, found_at(source, picture, where), label))
    split = members_split(source, found)
    check_labels(split.labels(), n_classes, f"{source.path}: split '{name}'")
    return split


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


def by_class_folder(source: ImageSource) -> dict[str, list[str]]:
    """Class -> pictures, in sorted order; the class is the folder that a picture lies in.

    Raises:
        DataError: a picture lies in no folder.
    """
    found: dict[str, list[str]] = {}
    for name in source.names:
        parts = name.split("/")
        if len(parts) < 2:
            raise DataError(f"{source.path}: '{name}' is not at <class>/<file>.")
        found.setdefault(parts[-2], []).append(name)
    return {label: sorted(found[label]) for label in sorted(found)}


def seeded_split(
    source: ImageSource, members: dict[str, list[str]], train: int, test: int | None = None
) -> LabelledTask:
    """`train` pictures of each class to train on, and `test` (or all) others to score.

    The draw depends on the pictures' names alone: it is the same for all columns and seeds.

    Raises:
        DataError: a class has too few pictures.
    """
    rng = np.random.default_rng(SPLIT_SEED)
    halves: tuple[list[Listed], list[Listed]] = ([], [])
    for label, (name, pictures_of) in enumerate(members.items()):
        wanted = train + (test or 1)
        if len(pictures_of) < wanted:
            raise DataError(
                f"{source.path}: class '{name}' has {len(pictures_of)} pictures, at least {wanted} "
                "are needed. Unpack the set anew."
            )
        order = rng.permutation(len(pictures_of))
        ends = (0, train, train + test if test else len(order))
        for half, start, end in zip(halves, ends[:-1], ends[1:], strict=True):
            half += [(name, pictures_of[i], label) for i in np.sort(order[start:end])]
    splits = [members_split(source, half) for half in halves]
    return LabelledTask(train=splits[0], tests={"test": splits[1]}, classes=list(members))


def members_split(source: PictureSource, listed: Sequence[Listed]) -> Split:
    """A split of members that are known to be in the source."""
    labels_N = np.asarray([label for _, _, label in listed], np.int64)
    images = EncodedImages(source, [member for _, member, _ in listed])
    return Split(labels_N, images, np.arange(len(labels_N)))
