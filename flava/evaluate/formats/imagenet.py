"""`imagenet`: ILSVRC 2012, packed or not; the 50,000 validation images are the scored split."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from flava.config import TaskData
from flava.data.source_imagenet import (
    has_class_folders,
    official_tars,
    tar_images,
    validation_label,
    validation_labels,
)
from flava.errors import DataError
from flava.evaluate.archives import TarFiles
from flava.evaluate.formats.official import Listed, Release, members_split
from flava.evaluate.formats.prompts import imagenet_wnids, read_prompts
from flava.evaluate.images import ImageSource
from flava.evaluate.taskdata import LabelledTask, Split, ZeroShotTask, require

HOW_TO_GET = (
    "Get ILSVRC 2012 from image-net.org: ILSVRC2012_img_train.tar and ILSVRC2012_img_val.tar as "
    "they are, or unpacked to train/<wnid>/ and val/; unpack the development kit there."
)


def load(path: Path, data: TaskData) -> LabelledTask:
    """The layouts that pretraining reads (`flava.data.source_imagenet.imagenet`), and zips.

    Packed or not, the pictures and their order are the same. Classes are the 1,000 wnids in sorted
    order, the order of their published names.

    Raises:
        DataError: a split or the ground truth is missing, an archive is damaged, a class is none
            of the 1,000 wnids, or the training images lack one.
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
    """The pictures of a split in its official archive, else unpacked."""
    root = release.root
    tars = [] if has_class_folders(root, split) else official_tars(root, split)
    if not tars:
        return release.images(split)
    return ImageSource(tars[0] if len(tars) == 1 else root / split, TarFiles(_places(tars)))


def _places(tars: list[Path]) -> Iterator[tuple[str, Path, int, int]]:
    for tar in tars:
        with tar.open("rb") as file:
            for name, offset, size in tar_images(tar, file):
                yield name, tar, offset, size


def _validation(release: Release, labels: dict[str, int]) -> Split:
    source = _pictures(release, "val")
    if len(PurePosixPath(source.names[0]).parts) > 1:
        listed = [_in_class_folder(name, labels, str(source.path)) for name in source.names]
        return members_split(source, listed)
    truth = validation_labels(release.root)
    wnids = (validation_label(name, truth, source.path) for name in source.names)
    listed = [(name, name, labels[wnid]) for name, wnid in zip(source.names, wnids, strict=True)]
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
