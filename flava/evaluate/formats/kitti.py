"""`kitti`: how near the nearest vehicle is (VTAB's task on KITTI's object detection set)."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from flava.config import TaskData
from flava.data.archive import UNREADABLE
from flava.data.video_split import by_video
from flava.errors import DataError
from flava.evaluate.archives import Members, open_members
from flava.evaluate.formats.official import Listed, listed_split
from flava.evaluate.images import ImageSource
from flava.evaluate.taskdata import LabelledTask

HOW_TO_GET = (
    "Get data_object_image_2.zip, data_object_label_2.zip and devkit_object.zip of "
    "www.cvlibs.net/datasets/kitti/eval_object.php; they may stay packed."
)
VEHICLES = ("Car", "Van", "Truck")
BOUNDS = (8.0, 20.0)  # metres along the camera's axis
CLASSES = ["up to 8 m", "8 to 20 m", "beyond 20 m", "no vehicle"]
MAX_TEXT = 2**20  # bytes; the official lists have 60 kB, label files less
CELLS = 15  # of a label line: type, truncation, occlusion, alpha, box, size, x y z, rotation


def load(path: Path, data: TaskData) -> LabelledTask:
    """training/{image_2,label_2}/ and mapping/, unpacked there or in the three official zips.

    The labels of the official test set are not public. VTAB's splits are those of TensorFlow
    Datasets: whole videos, a tenth for validation and a tenth for the test.

    Raises:
        DataError: a file or picture is missing, a line is malformed (file and line are named), or
            the mapping and the label files differ.
    """
    devkit = _part(path, "devkit_object.zip", "mapping")
    labels = _part(path, "data_object_label_2.zip", "training/label_2")
    _part(path, "data_object_image_2.zip", "training/image_2")
    packed = path / "data_object_image_2.zip"
    source = ImageSource(packed if packed.is_file() else path)
    rows = _text(path, devkit, "mapping/train_rand.txt").split(",")
    drives = _text(path, devkit, "mapping/train_mapping.txt").splitlines()
    videos = [_video(path, i, row, drives) for i, row in enumerate(rows)]

    def listed(numbers: Iterable[int]) -> list[Listed]:
        found = []
        for i in numbers:
            name = f"training/label_2/{i:06d}.txt"
            label = distance_class(_text(path, labels, name), f"{path / name}")
            found.append((str(path / name), f"training/image_2/{i:06d}", label))
        return found

    train, validation, test = (
        listed_split(source, listed(numbers), len(CLASSES), name)
        for name, numbers in by_video(videos).items()
    )
    return LabelledTask(train=train, validation=validation, tests={"test": test}, classes=CLASSES)


def distance_class(text: str, where: str) -> int:
    """Class of a label file by the nearest vehicle's distance along the camera's axis.

    Raises:
        DataError: a line has not 15 cells or its distance is no number; names it.
    """
    nearest = math.inf
    for number, line in enumerate(text.splitlines(), start=1):
        cells = line.split()
        if not cells:
            continue
        try:
            if len(cells) != CELLS:
                raise ValueError
            distance = float(cells[13])
            if not math.isfinite(distance):
                raise ValueError
        except ValueError:
            raise DataError(
                f"{where}, line {number}: expected {CELLS} cells of a KITTI object, got '{line}'."
            ) from None
        if cells[0] in VEHICLES:
            nearest = min(nearest, distance)
    return 3 if math.isinf(nearest) else int(np.searchsorted(BOUNDS, nearest))


def _video(path: Path, i: int, row: str, drives: list[str]) -> str:
    """The video of picture i: the second word of its line in train_mapping.txt."""
    try:
        line = int(row)
        if not 1 <= line <= len(drives):
            raise ValueError
        return drives[line - 1].split()[1]
    except (ValueError, IndexError):
        raise DataError(
            f"{path / 'mapping/train_rand.txt'}, entry {i + 1}: '{row.strip()}' is no line of "
            f"train_mapping.txt (1 to {len(drives)}) with date, drive and frame. {HOW_TO_GET}"
        ) from None


def _part(path: Path, archive: str, folder: str) -> Members:
    """Files of an official zip, or of `path` where it is unpacked."""
    if (path / archive).is_file():
        return open_members(path / archive)
    if not (path / folder).is_dir():
        raise DataError(f"{path} has neither {archive} nor {folder}/. {HOW_TO_GET}")
    return open_members(path)


def _text(path: Path, members: Members, name: str) -> str:
    try:
        size = members.size(name)
        if size > MAX_TEXT:
            raise DataError(f"{path / name} has {size} bytes, too many for a list.")
        return members.read(name).decode("ascii")
    except (KeyError, FileNotFoundError):
        raise DataError(f"{path / name} is missing. {HOW_TO_GET}") from None
    except UNREADABLE as error:
        raise DataError(f"{path / name} is no readable text ({error}).") from None
