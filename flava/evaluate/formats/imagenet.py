"""`imagenet`: ILSVRC 2012 unpacked; the 50,000 validation images are the scored split."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from flava.config import TaskData
from flava.data.lines import whole_number
from flava.data.source_imagenet import validation_labels
from flava.errors import DataError
from flava.evaluate.formats.official import Listed, Release, members_split
from flava.evaluate.formats.prompts import imagenet_wnids, read_prompts
from flava.evaluate.images import ImageSource
from flava.evaluate.taskdata import LabelledTask, Split, ZeroShotTask, require

HOW_TO_GET = (
    "Get ILSVRC 2012 from image-net.org: unpack ILSVRC2012_img_train.tar and the tars in it to "
    "train/<wnid>/, ILSVRC2012_img_val.tar to val/, and the development kit there."
)


def load(path: Path, data: TaskData) -> LabelledTask:
    """train/<wnid>/*.JPEG, and val/<wnid>/*.JPEG or val/*.JPEG with the development kit.

    Classes are the 1,000 wnids in sorted order, the order of their published names.

    Raises:
        DataError: a folder or the ground truth is missing, a folder is none of the 1,000 wnids, or
            a split lacks a class.
    """
    release, labels = Release(path, HOW_TO_GET), _labels()
    source = _pictures(release, "train")
    listed = [_in_class_folder(name, labels, str(source.path)) for name in source.names]
    train = members_split(source, sorted(listed, key=lambda entry: entry[2]))
    wnids = list(labels)
    absent = set(range(len(wnids))) - set(train.labels().tolist())
    require(
        not absent, f"{source.path}: no picture of {wnids[min(absent, default=0)]}. {HOW_TO_GET}"
    )
    return LabelledTask(train=train, tests={"test": _validation(release, labels)}, classes=wnids)


def load_zero_shot(path: Path, data: TaskData) -> ZeroShotTask:
    """The validation images with the names and templates of the task's `prompts`.

    Raises:
        DataError: as `load`, or there are not 1,000 names.
    """
    names, templates = read_prompts(data)
    labels = _labels()
    require(
        len(names) == len(labels),
        f"{data.prompts}: {len(names)} class names, {len(labels)} expected.",
    )
    return ZeroShotTask(_validation(Release(path, HOW_TO_GET), labels), names, templates)


def _labels() -> dict[str, int]:
    """wnid -> label, in the order of the labels."""
    return {wnid: label for label, wnid in enumerate(imagenet_wnids())}


def _pictures(release: Release, split: str) -> ImageSource:
    """The pictures of a split; where only ILSVRC's tars are there, the error says so."""
    try:
        return release.images(split)
    except DataError:
        packed = [
            *(release.root / split).glob("n*.tar"),
            *release.root.glob(f"ILSVRC2012_img_{split}.tar"),
        ]
        if not packed:
            raise
        raise DataError(
            f"{packed[0]} is not unpacked. Pretraining reads ImageNet's tars as they are, the "
            f"evaluation does not. {HOW_TO_GET}"
        ) from None


def _validation(release: Release, labels: dict[str, int]) -> Split:
    source = _pictures(release, "val")
    if len(PurePosixPath(source.names[0]).parts) > 1:
        listed = [_in_class_folder(name, labels, str(source.path)) for name in source.names]
        return members_split(source, listed)
    truth = validation_labels(release.root)
    listed = []
    for name in source.names:
        number = whole_number(PurePosixPath(name).stem.rpartition("_")[2]) or 0
        if not 0 < number <= len(truth):
            raise DataError(f"{source.path}: '{name}' is none of {len(truth)} validation images.")
        listed.append((name, name, labels[truth[number - 1]]))
    if len(listed) != len(truth):
        raise DataError(
            f"{source.path}: {len(listed)} images, but {len(truth)} labels. {HOW_TO_GET}"
        )
    return members_split(source, listed)


def _in_class_folder(name: str, labels: dict[str, int], where: str) -> Listed:
    wnid = PurePosixPath(name).parent.name
    if wnid not in labels:
        raise DataError(f"{where}: '{name}' lies in no folder named by one of the 1,000 wnids.")
    return name, name, labels[wnid]
