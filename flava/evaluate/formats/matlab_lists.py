"""`cars`, `flowers`: pictures listed in MATLAB files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from flava.config import TaskData
from flava.errors import DataError
from flava.evaluate.formats.official import Listed, Release, listed_split
from flava.evaluate.taskdata import IntArray, LabelledTask, Split

CARS = (
    "Unpack car_devkit.tgz, cars_train.tgz and cars_test.tgz of ai.stanford.edu/~jkrause/cars "
    "there and put cars_test_annos_withlabels.mat into devkit/ (cars_test_annos.mat has no "
    "labels); the site is down, mirrors carry the same files."
)
FLOWERS = (
    "Unpack 102flowers.tgz of www.robots.ox.ac.uk/~vgg/data/flowers/102 there and put "
    "imagelabels.mat and setid.mat beside jpg/."
)


def load_cars(path: Path, data: TaskData) -> LabelledTask:
    """devkit/{cars_meta,cars_train_annos,cars_test_annos_withlabels}.mat, cars_train/, cars_test/.

    Raises:
        DataError: a file, variable or picture is missing, or a label is out of range.
    """
    release = Release(path, CARS)
    classes = [
        str(name) for name in np.atleast_1d(release.mat("devkit/cars_meta.mat", "class_names"))
    ]
    test = "cars_test_annos_withlabels.mat"  # published apart from the devkit
    test = test if (path / test).is_file() else f"devkit/{test}"
    return LabelledTask(
        train=_cars(release, "devkit/cars_train_annos.mat", "cars_train", len(classes)),
        tests={"test": _cars(release, test, "cars_test", len(classes))},
        classes=classes,
    )


def _cars(release: Release, name: str, folder: str, n_classes: int) -> Split:
    rows = np.atleast_1d(release.mat(name, "annotations"))

    def listed() -> Iterator[Listed]:
        for number, row in enumerate(rows, start=1):
            where = f"{release.root / name}, entry {number}"
            try:
                yield where, str(row["fname"]), int(row["class"]) - 1
            except (ValueError, TypeError, IndexError) as error:
                raise DataError(f"{where}: expected fname and class ({error}).") from None

    return listed_split(release.images(folder), listed(), n_classes, folder)


def load_flowers(path: Path, data: TaskData) -> LabelledTask:
    """imagelabels.mat, setid.mat (trnid, valid, tstid) and jpg/image_<5 digits>.jpg.

    The release names no classes: they are called by their numbers.

    Raises:
        DataError: a file, variable or picture is missing, or ids and labels do not fit.
    """
    release = Release.find(path, "flowers-102", FLOWERS)
    labels_N = _integers(release, "imagelabels.mat", "labels")
    n_classes = int(labels_N.max(initial=0))
    if labels_N.min(initial=0) < 0 or len(set(labels_N.tolist())) < n_classes:
        raise DataError(
            f"{release.root / 'imagelabels.mat'}: a class from 1 to {n_classes} is absent."
        )
    source = release.images("jpg")

    def split(variable: str) -> Split:
        return listed_split(source, _flowers(release, variable, labels_N), n_classes, variable)

    return LabelledTask(
        train=split("trnid"),
        validation=split("valid"),
        tests={"test": split("tstid")},
        classes=[str(number) for number in range(1, n_classes + 1)],
    )


def _flowers(release: Release, variable: str, labels_N: IntArray) -> Iterator[Listed]:
    for number in _integers(release, "setid.mat", variable).tolist():
        where = f"{release.root / 'setid.mat'}, {variable}"
        if not 1 <= number <= len(labels_N):
            raise DataError(f"{where}: picture {number} has no label; there are {len(labels_N)}.")
        yield where, f"image_{number:05d}.jpg", int(labels_N[number - 1]) - 1


def _integers(release: Release, name: str, key: str) -> IntArray:
    values = np.atleast_1d(release.mat(name, key))
    if values.ndim != 1 or values.dtype.kind not in "iu":
        raise DataError(f"{release.root / name}: '{key}' is no list of whole numbers. Get it anew.")
    return values.astype(np.int64)
