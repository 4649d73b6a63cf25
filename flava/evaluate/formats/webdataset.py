"""`webdataset`: CLIP_benchmark's tars of pictures with .cls files, for any labelled set."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from flava.config import TaskData
from flava.errors import DataError
from flava.evaluate.archives import Members, open_members
from flava.evaluate.formats import text_files
from flava.evaluate.images import EncodedImages, checked_read
from flava.evaluate.taskdata import LabelledTask, Split, check_labels, require

HOW_TO_GET = (
    "Get the set from huggingface.co/clip-benchmark (wds_…): classnames.txt, and for train and "
    "test a folder with nshards.txt and 0.tar, 1.tar …."
)
PICTURES = (".jpg", ".jpeg", ".png", ".webp")
VALIDATION = ("val", "valid", "validation")


class Shards:
    """Pictures in the numbered tars of a split, by `<n>.tar/<member>`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        count = text_files.read_text(path / "nshards.txt", HOW_TO_GET).strip()
        if not count.isdigit() or not int(count):
            raise DataError(f"{path / 'nshards.txt'}: expected the number of tars, got '{count}'.")
        self.shards: dict[str, Members] = {}
        for number in range(int(count)):
            name = f"{number}.tar"
            if not (path / name).is_file():
                raise DataError(f"{path / name} is missing; nshards.txt says {count}. {HOW_TO_GET}")
            self.shards[name] = open_members(path / name)

    def read(self, name: str) -> bytes:
        """Bytes of a picture.

        Raises:
            DataError: it cannot be read or is implausibly large.
        """
        shard, _, member = name.partition("/")
        return checked_read(self.shards[shard], member, self.path / shard)


def load(path: Path, data: TaskData) -> LabelledTask:
    """train/, test/ and, where there is one, val/, each of tars with <key>.<picture> and <key>.cls.

    Raises:
        DataError: a file is missing, a picture has no label or a label no picture, or a label is
            out of range.
    """
    lines = text_files.lines(path / "classnames.txt", HOW_TO_GET)
    classes = [line.strip() for _, line in lines]
    validation = next((name for name in VALIDATION if (path / name).is_dir()), None)
    return LabelledTask(
        train=_split(path / "train", classes),
        validation=_split(path / validation, classes) if validation else None,
        tests={"test": _split(path / "test", classes)},
        classes=classes,
    )


def _split(path: Path, classes: Sequence[str]) -> Split:
    source = Shards(path)
    names: list[str] = []
    labels: list[int] = []
    for shard, members in source.shards.items():
        for picture, label in _samples(members, path / shard):
            names.append(f"{shard}/{picture}")
            labels.append(label)
    labels_N = np.asarray(labels, np.int64)
    check_labels(labels_N, len(classes), str(path))
    return Split(labels_N, EncodedImages(source, names), np.arange(len(names)))


def _samples(members: Members, where: Path) -> list[tuple[str, int]]:
    """Picture and label of each key of a tar, sorted."""
    found: dict[str, dict[str, str]] = {}
    for name in members.names:
        suffix = PurePosixPath(name).suffix.lower()
        kind = "picture" if suffix in PICTURES else suffix
        found.setdefault(name[: len(name) - len(suffix)], {})[kind] = name
    samples = []
    for key, files in found.items():
        whole = "picture" in files and ".cls" in files
        require(whole, f"{where}: '{key}' lacks its picture or its .cls. Get the tar anew.")
        text = checked_read(members, files[".cls"], where).strip()
        require(text.isdigit(), f"{where}: '{files['.cls']}' is no class number.")
        samples.append((files["picture"], int(text)))
    return samples
