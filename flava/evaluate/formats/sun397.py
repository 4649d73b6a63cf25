"""`sun397`: scenes in nested class folders, split by the first of ten official partitions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from flava.config import TaskData
from flava.errors import DataError
from flava.evaluate.formats.official import Listed, Release, listed_split
from flava.evaluate.images import ImageSource, pictures
from flava.evaluate.taskdata import LabelledTask

TRAIN, TEST = "Training_01.txt", "Testing_01.txt"
HOW_TO_GET = (
    "Unpack SUN397.tar.gz there and Partitions.zip into Partitions/, both of "
    "vision.princeton.edu/projects/2010/SUN."
)


def load(path: Path, data: TaskData) -> LabelledTask:
    """SUN397/<letter>/<class>/<file>; Partitions/{ClassName,Training_01,Testing_01}.txt.

    The lists may also lie in the folder itself or in SUN397/. A line is `/<letter>/<class>` or
    `/<letter>/<class>/<file>`, where a class may have two parts (church/indoor).

    Raises:
        DataError: a list or picture is missing, or a line names an unknown class.
    """
    lists = Release(_lists(path), HOW_TO_GET)
    classes = lists.names("ClassName.txt")
    places = {name: label for label, name in enumerate(classes)}
    source = ImageSource(pictures(path / "SUN397") or path)

    def listed(name: str) -> Iterator[Listed]:
        for where, line in lists.lines(name):
            label = places.get(line.rpartition("/")[0])
            if label is None:
                raise DataError(f"{where}: '{line}' is in no class of ClassName.txt.")
            yield where, line, label

    return LabelledTask(
        train=listed_split(source, listed(TRAIN), len(classes), TRAIN),
        tests={"test": listed_split(source, listed(TEST), len(classes), TEST)},
        classes=[name.split("/", 2)[-1] for name in classes],
    )


def _lists(path: Path) -> Path:
    """The folder of the partition lists."""
    folders = (path / "Partitions", path / "SUN397" / "Partitions", path, path / "SUN397")
    return next((f for f in folders if (f / TRAIN).is_file()), folders[0])
