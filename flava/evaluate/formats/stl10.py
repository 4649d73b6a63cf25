"""`stl10`: binary files of 96-pixel pictures, and the ten training folds of the test protocol."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from flava.config import TaskData
from flava.errors import DataError
from flava.evaluate.formats.official import Release
from flava.evaluate.images import ArrayImages
from flava.evaluate.taskdata import IntArray, LabelledTask, PixelArray, Split, check_labels

HOW_TO_GET = "Unpack stl10_binary.tar.gz of cs.stanford.edu/~acoates/stl10 there."
SIDE = 96
# The set's protocol trains on ten folds of 1,000 and reports their mean, and so does CLIP (its
# issue 45); here it is the first fold (docs/deviations.md).
FOLD = 0


def load(path: Path, data: TaskData) -> LabelledTask:
    """{train,test}_{X,y}.bin, class_names.txt and fold_indices.txt; trains on the first fold.

    A stand-in may have pictures of another size, which follows from the bytes for each label.

    Raises:
        DataError: a file is missing or does not fit another, or a label is out of range.
    """
    release = Release.find(path, "stl10_binary", HOW_TO_GET)
    classes = release.names("class_names.txt")
    side = None if data.stand_in else SIDE
    labels_N, images_NHWC = _read(release, "train", len(classes), side)
    fold_M = _fold(release, len(labels_N))
    test_N, tests_NHWC = _read(release, "test", len(classes), side)
    return LabelledTask(
        train=_split(labels_N[fold_M], images_NHWC[fold_M]),
        tests={"test": _split(test_N, tests_NHWC)},
        classes=classes,
        notes={"training fold": FOLD},
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


def _fold(release: Release, n_train: int) -> IntArray:
    """Positions of the first fold's training pictures."""
    where, line = next(iter(release.lines("fold_indices.txt")), ("", ""))
    try:
        fold_M = np.array(line.split(), np.int64)
    except (ValueError, OverflowError) as error:
        raise DataError(f"{where}: expected positions of pictures ({error}).") from None
    if not len(fold_M) or fold_M.min() < 0 or fold_M.max() >= n_train:
        raise DataError(
            f"{where or release.root / 'fold_indices.txt'}: the fold is empty or names a picture "
            f"outside the {n_train} of train_X.bin."
        )
    return fold_M


def _split(labels_N: IntArray, images_NHWC: PixelArray) -> Split:
    return Split(labels_N, ArrayImages(images_NHWC), np.arange(len(labels_N)))
