"""`ucf101`: the middle frame of each video, from the videos or from a folder of such frames."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from flava.config import TaskData
from flava.errors import DataError
from flava.evaluate.formats.official import (
    Listed,
    Release,
    listed_split,
    members_split,
    position,
)
from flava.evaluate.formats.video import Videos
from flava.evaluate.images import ImageSource, pictures
from flava.evaluate.taskdata import LabelledTask, Split, check_labels

HOW_TO_GET = (
    "Unpack UCF101.rar (or put the folder UCF-101-midframes of middle frames) and "
    "UCF101TrainTestSplits-RecognitionTask.zip of www.crcv.ucf.edu/data/UCF101.php there."
)
LISTS = "ucfTrainTestlist"


def load(path: Path, data: TaskData) -> LabelledTask:
    """ucfTrainTestlist/{classInd,trainlist01,testlist01}.txt, the first of three official splits.

    Frames are UCF-101-midframes/<class>/v_*.jpg (or such a zip) where that exists, else the
    middle ones of UCF-101/<Class>/v_*.avi, which needs the extra `video`.

    Raises:
        DataError: a list or video is missing, or a line is malformed or names another class than
            classInd.txt.
        ConfigError: there are only videos, and PyAV is not installed.
    """
    release = Release(path, HOW_TO_GET)
    classes = [name for _, name in _classes(release)]
    frames = pictures(path / "UCF-101-midframes")
    source = Videos(path / "UCF-101", HOW_TO_GET) if frames is None else ImageSource(frames)

    def split(name: str) -> Split:
        rows = _rows(release, name, classes)
        if isinstance(source, ImageSource):
            stems = ((where, PurePosixPath(file).stem, label) for where, file, label in rows)
            return listed_split(source, stems, len(classes), name)
        return _video_split(source, list(rows), len(classes))

    return LabelledTask(
        train=split("trainlist01"), tests={"test": split("testlist01")}, classes=classes
    )


def _classes(release: Release) -> Iterator[tuple[str, str]]:
    """Where it stands and name of each class; numbers count from 1."""
    for i, (where, line) in enumerate(release.lines(f"{LISTS}/classInd.txt"), start=1):
        number, _, name = line.partition(" ")
        if number != str(i) or not name:
            raise DataError(f"{where}: expected '{i} <class>', got '{line}'.")
        yield where, name.strip()


def _rows(release: Release, name: str, classes: Sequence[str]) -> Iterator[Listed]:
    """`<Class>/<video>.avi`, in the training list followed by the class's number from 1."""
    for where, line in release.lines(f"{LISTS}/{name}.txt"):
        file, _, number = line.partition(" ")
        folder, slash, _ = file.partition("/")
        if not slash:
            raise DataError(f"{where}: expected <class>/<video>, got '{line}'.")
        label = position(folder, classes, where)
        if number and number.strip() != str(label + 1):
            raise DataError(f"{where}: class {number.strip()}, but {folder} is {label + 1}.")
        yield where, file, label


def _video_split(source: Videos, rows: Sequence[Listed], n_classes: int) -> Split:
    for where, file, _ in rows:
        if not (source.path / file).is_file():
            raise DataError(f"{where}: {source.path / file} is missing. {HOW_TO_GET}")
    split = members_split(source, rows)
    check_labels(split.labels(), n_classes, str(source.path))
    return split
