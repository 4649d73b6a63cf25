"""`hateful_memes`: the challenge's jsonl files; the memes' printed text is the `text` field."""

from __future__ import annotations

from pathlib import Path

from flava.config import TaskData
from flava.errors import DataError
from flava.evaluate.formats.examples import ImageTexts
from flava.evaluate.formats.text_files import field_of, json_lines
from flava.evaluate.images import ImageSource, image_source
from flava.evaluate.taskdata import LabelledTask

CLASSES = ["not hateful", "hateful"]
HOW_TO_GET = "Get the set from ai.meta.com/tools/hatefulmemes (terms to be accepted there)."
# The paper does not say which release it scores; MMF's default is the `unseen` pair of files.
# The other names are the same challenge's first phase, under its later and its first name.
DEV_FILES = ("dev_unseen.jsonl", "dev_seen.jsonl", "dev.jsonl")
TEST_FILES = ("test_unseen.jsonl", "test_seen.jsonl", "test.jsonl")


def load(path: Path, data: TaskData) -> LabelledTask:
    """Reads train, dev and test; {"img": "img/01235.png", "label": 0 or 1, "text": ...} a line.

    Raises:
        DataError: a file or image is missing, or a line is malformed (file and line are named).
    """
    source = image_source(path, data)
    dev, test = _first(path, DEV_FILES), _first(path, TEST_FILES)
    return LabelledTask(
        train=_read(path / "train.jsonl", source).split(),
        validation=_read(dev, source).split(),
        tests={"test": _read(test, source).split()},
        classes=CLASSES,
        notes={"scored file": test.name},
    )


def _first(path: Path, names: tuple[str, ...]) -> Path:
    for name in names:
        if (path / name).is_file():
            return path / name
    raise DataError(f"{path} has none of {', '.join(names)}. {HOW_TO_GET}")


def _read(path: Path, source: ImageSource) -> ImageTexts:
    examples = ImageTexts(source, str(path))
    for number, row in json_lines(path, HOW_TO_GET):
        where = f"{path}, line {number}"
        label = field_of(row, "label", where, int)
        if label not in (0, 1):
            raise DataError(f"{where}: label {label} is out of range (0 or 1).")
        examples.add(field_of(row, "img", where), field_of(row, "text", where), label, where)
    return examples
