"""`stl10`: binary files of 96-pixel pictures, and the ten training folds of its protocol."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from flava.config import TaskData
from flava.errors import DataError
from flava.evaluate.formats.official import Release
from flava.evaluate.images import ArrayImages
from flava.evaluate.taskdata import (
    IntArray,
    LabelledTask,
    PixelArray,
    Split,
    check_labels,
    require,
)

HOW_TO_GET = "Unpack stl10_binary.tar.gz of cs.stanford.edu/~acoates/stl10 there."
SIDE = 96
# The set's protocol trains on each of ten folds and reports their mean, and so does CLIP (its
# issue 45).
FOLDS, FOLD_SIZE = 10, 1000


def load(path: Path, data: TaskData) -> LabelledTask:
    """{train,test}_{X,y}.bin, class_names.txt and fold_indices.txt, whose lines are the folds.

    A stand-in may have other folds, and pictures of another size, which follows from the bytes for
    each label.

    Raises:
        DataError: a file is missing or does not fit another, a label is out of range, or the folds
            are not ten of 1,000 different pictures.
    """
    release = Release.find(path, "stl10_binary", HOW_TO_GET)
    classes = release.names("class_names.txt")
    side = None if data.stand_in else SIDE
    labels_N, images_NHWC = _read(release, "train", len(classes), side)
    test_N, tests_NHWC = _read(release, "test", len(classes), side)
    return LabelledTask(
        train=_split(labels_N, images_NHWC),
        tests={"test": _split(test_N, tests_NHWC)},
        classes=classes,
        folds=_folds(release, len(labels_N), data.stand_in is not None),
    )


def _read(
    release: Release, name: str, n_classes: int, side: int | None
) -> tuple[IntArray, PixelArray]:
    """Labels from 0 (N,) and pictures (N, S, S, 3); on disk planes of columns, labels from 1."""
    labels_N = np.frombuffer(release.read(f"{name}_y.bin"), np.uint8).astype(np.int64) - 1
    check_labels(labels_N, n_classes, str(release.root / f"{name}_y.bin"))
    path = release.path(f"{name}_X.bin")
    size = path.stat().st_size
    side = side or math.isqrt(max(size // (3 * len(labels_N)), 1))
    if size != len(labels_N) * 3 * side * side:
        raise DataError(
            f"{path} has {size} bytes, which are not {len(labels_N)} pictures (the labels in "
            f"{name}_y.bin) of 3 x {side} x {side}: truncated, or another set. Get it anew."
        )
    planes = np.memmap(path, np.uint8, "r", shape=(len(labels_N), 3, side, side))
    return labels_N, planes.transpose(0, 3, 2, 1)


def _folds(release: Release, n_train: int, stand_in: bool) -> tuple[IntArray, ...]:
    """Positions of each fold's training pictures."""
    lines = list(release.lines("fold_indices.txt"))
    folds = tuple(_fold(where, line, n_train) for where, line in lines)
    if not stand_in:
        for (where, _), fold_M in zip(lines, folds, strict=True):
            require(
                len(fold_M) == FOLD_SIZE,
                f"{where}: {len(fold_M)} pictures, but a fold has {FOLD_SIZE:,}. {HOW_TO_GET}",
            )
    wanted = len(folds) > 0 if stand_in else len(folds) == FOLDS
    found = f"{release.root / 'fold_indices.txt'} has {len(folds)} folds"
    require(wanted, f"{found}, not {FOLDS}. {HOW_TO_GET}")
    return folds


def _fold(where: str, line: str, n_train: int) -> IntArray:
    try:
        fold_M = np.array(line.split(), np.int64)
    except (ValueError, OverflowError) as error:
        raise DataError(f"{where}: expected positions of pictures ({error}).") from None
    if not len(fold_M) or fold_M.min() < 0 or fold_M.max() >= n_train:
        raise DataError(
            f"{where}: the fold is empty or names a picture outside the {n_train} of train_X.bin."
        )
    require(len(set(fold_M.tolist())) == len(fold_M), f"{where}: the fold has a picture twice.")
    return fold_M


def _split(labels_N: IntArray, images_NHWC: PixelArray) -> Split:
    return Split(labels_N, ArrayImages(images_NHWC), np.arange(len(labels_N)))
