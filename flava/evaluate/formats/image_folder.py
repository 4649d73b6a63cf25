"""`image_folder`: <split>/<class>/<file> in a zip archive or a folder (as torchvision's)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from pathlib import Path, PurePosixPath

import numpy as np

from flava.config import TaskData
from flava.errors import DataError
from flava.evaluate.images import EncodedImages, ImageSource
from flava.evaluate.taskdata import LabelledTask, Split, require

SPLITS = {"train": ("training",), "val": ("valid", "validation", "dev"), "test": ()}  # other names
LAYOUT = "Bring the pictures to <split>/<class>/<file>, with one folder for each split."


def load(path: Path, data: TaskData) -> LabelledTask:
    """Reads the splits; `val` is the scored split where there is no `test` (as in ImageNet).

    Classes are the training folder's names in sorted order.

    Raises:
        DataError: a picture is misplaced, a split is missing, unknown or there twice, or the
            splits have not the same classes.
    """
    source = ImageSource(path)
    splits = members_by_split(source)
    require("train" in splits, f"{path} has no split 'train'; it has {sorted(splits)}.")
    scored = scored_split(splits, path)
    classes = sorted(splits["train"])
    found = {split: _split(source, splits[split], classes, split) for split in splits}
    return LabelledTask(
        train=found["train"],
        validation=found.get("val") if scored == "test" else None,
        tests={"test": found[scored]},
        classes=classes,
    )


def members_by_split(source: ImageSource) -> dict[str, dict[str, list[str]]]:
    """'train', 'val' or 'test' -> class -> members; folders above the splits are ignored.

    Raises:
        DataError: a member is not at <split>/<class>/<file>, its split has another name, or a
            split is there twice.
    """
    splits: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    folders: dict[str, PurePosixPath] = {}
    for name in source.names:
        member = PurePosixPath(name)
        if len(member.parts) < 3:
            raise DataError(f"{source.path}: '{name}' is not at <split>/<class>/<file>. {LAYOUT}")
        folder = member.parent.parent
        split = _split_name(folder.name, f"{source.path}: '{name}'")
        first = folders.setdefault(split, folder)
        if folder != first:
            raise DataError(f"{source.path} has split '{split}' twice: {first}, {folder}. {LAYOUT}")
        splits[split][member.parent.name].append(name)
    return splits


def scored_split(splits: Collection[str], path: Path) -> str:
    """The split that is scored: 'test', or 'val' where there is none.

    Raises:
        DataError: there is neither.
    """
    for split in ("test", "val"):
        if split in splits:
            return split
    raise DataError(f"{path} has no split 'test' or 'val'; it has {sorted(splits)}.")


def _split_name(folder: str, where: str) -> str:
    for split, others in SPLITS.items():
        if folder in (split, *others):
            return split
    allowed = ", ".join(name for split, others in SPLITS.items() for name in (split, *others))
    raise DataError(f"{where} is in '{folder}', which is no split ({allowed}). {LAYOUT}")


def _split(
    source: ImageSource, members: dict[str, list[str]], classes: list[str], where: str
) -> Split:
    unknown, missing = sorted(set(members) - set(classes)), sorted(set(classes) - set(members))
    if unknown:
        raise DataError(
            f"{source.path}: class '{unknown[0]}' of split '{where}' never occurs in training."
        )
    if missing:
        raise DataError(
            f"{source.path}: split '{where}' has no picture of class '{missing[0]}', which "
            "training has. Add its pictures, or take the class out of every split."
        )
    names = [name for label in classes for name in members[label]]
    return Split(
        targets=np.repeat(np.arange(len(classes)), [len(members[label]) for label in classes]),
        images=EncodedImages(source, names),
        image_N=np.arange(len(names)),
    )
