"""`image_folder`: <split>/<class>/<file> in a zip archive or a folder (as torchvision's)."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path, PurePosixPath

import numpy as np

from flava.config import TaskData
from flava.errors import DataError
from flava.evaluate.images import EncodedImages, ImageSource
from flava.evaluate.taskdata import LabelledTask, Split, require

TRAIN, VALIDATION, TEST = ("train", "training"), ("val", "valid", "validation", "dev"), ("test",)


def load(path: Path, data: TaskData) -> LabelledTask:
    """Reads the splits; `val` is the scored split where there is no `test` (as in ImageNet).

    Classes are the training folder's names in sorted order.

    Raises:
        DataError: a split is missing, or a scored class never occurs in training.
    """
    source = ImageSource(path)
    splits = members_by_split(source)
    train_names, test_names = pick(splits, TRAIN), pick(splits, TEST)
    validation_names = pick(splits, VALIDATION)
    if not test_names:
        test_names, validation_names = validation_names, {}
    require(bool(train_names), f"{path} has no split 'train'; it has {sorted(splits)}.")
    require(bool(test_names), f"{path} has no split 'test' or 'val'; it has {sorted(splits)}.")
    classes = sorted(train_names)
    return LabelledTask(
        train=_split(source, train_names, classes, "train"),
        validation=_split(source, validation_names, classes, "val") if validation_names else None,
        tests={"test": _split(source, test_names, classes, "test")},
        classes=classes,
    )


def members_by_split(source: ImageSource) -> dict[str, dict[str, list[str]]]:
    """split -> class -> members; leading folders shared by all members are ignored.

    Raises:
        DataError: a member is not at <split>/<class>/<file>.
    """
    splits: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for name in source.names:
        parts = PurePosixPath(name).parts
        if len(parts) < 3:
            raise DataError(f"{source.path}: '{name}' is not at <split>/<class>/<file>.")
        splits[parts[-3]][parts[-2]].append(name)
    return splits


def pick(splits: dict[str, dict[str, list[str]]], names: tuple[str, ...]) -> dict[str, list[str]]:
    """Members by class of the first of `names` that is a split; empty if none is."""
    return next((splits[name] for name in names if name in splits), {})


def _split(
    source: ImageSource, members: dict[str, list[str]], classes: list[str], where: str
) -> Split:
    unknown = sorted(set(members) - set(classes))
    if unknown:
        raise DataError(
            f"{source.path}: class '{unknown[0]}' of split '{where}' never occurs in training."
        )
    names = [name for label in classes for name in members.get(label, [])]
    counts = [len(members.get(label, [])) for label in classes]
    return Split(
        targets=np.repeat(np.arange(len(classes)), counts),
        images=EncodedImages(source, names),
        image_N=np.arange(len(names)),
    )
