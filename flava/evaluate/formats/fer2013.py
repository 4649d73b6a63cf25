"""`fer2013`: faces of 48 x 48 grey pixels, all in one CSV file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from flava.config import TaskData
from flava.errors import DataError
from flava.evaluate.formats.tables import number, table
from flava.evaluate.images import ArrayImages
from flava.evaluate.taskdata import IntArray, LabelledTask, Split, check_labels

HOW_TO_GET = (
    "Unpack fer2013.tar.gz of Kaggle's 'Challenges in Representation Learning: Facial Expression "
    "Recognition' and put fer2013.csv there."
)
EMOTIONS = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
PARTS = {"Training": "train", "PublicTest": "validation", "PrivateTest": "test"}
SIDE = 48


def load(path: Path, data: TaskData) -> LabelledTask:
    """fer2013.csv (or icml_face_data.csv) of `emotion,pixels,Usage`.

    PublicTest is the validation split, PrivateTest is scored. Emotions without a training
    picture are no classes.

    Raises:
        DataError: the file is missing, a row is malformed (named), or a split is empty.
    """
    names = ("fer2013.csv", "fer2013/fer2013.csv", "icml_face_data.csv")
    file = next((path / name for name in names if (path / name).is_file()), path / names[0])
    rows: dict[str, tuple[bytearray, list[int]]] = {part: (bytearray(), []) for part in PARTS}
    for where, (emotion, pixels, usage) in table(file, ("emotion", "pixels", "Usage"), HOW_TO_GET):
        if usage not in rows:
            raise DataError(f"{where}: Usage '{usage}' is none of {', '.join(PARTS)}.")
        label = number(emotion, where, "emotion")
        if not 0 <= label < len(EMOTIONS):
            raise DataError(f"{where}: emotion {label} is out of range; 0 to 6 are.")
        rows[usage][0].extend(_face(pixels, where))
        rows[usage][1].append(label)
    present_K = np.unique(rows["Training"][1]).astype(np.int64)
    splits = {
        name: _split(*rows[part], present_K, f"{file}: Usage '{part}'")
        for part, name in PARTS.items()
    }
    return LabelledTask(
        train=splits["train"],
        validation=splits["validation"],
        tests={"test": splits["test"]},
        classes=[EMOTIONS[k] for k in present_K],
    )


def _face(pixels: str, where: str) -> bytes:
    try:
        face = bytes(map(int, pixels.split()))
    except ValueError:
        raise DataError(f"{where}: a pixel is not a whole number from 0 to 255.") from None
    if len(face) != SIDE * SIDE:
        raise DataError(f"{where}: {len(face)} pixels, expected {SIDE * SIDE} (48 x 48).")
    return face


def _split(faces: bytearray, labels: list[int], present_K: IntArray, where: str) -> Split:
    label_N = np.asarray(labels, np.int64)
    absent = np.setdiff1d(label_N, present_K)
    if len(absent):
        raise DataError(f"{where}: emotion {absent[0]} never occurs in training.")
    target_N = np.searchsorted(present_K, label_N)
    check_labels(target_N, len(present_K), where)
    faces_NHW = np.frombuffer(bytes(faces), np.uint8).reshape(-1, SIDE, SIDE)
    return Split(target_N, ArrayImages(faces_NHW), np.arange(len(target_N)))
