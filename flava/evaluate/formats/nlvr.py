"""`nlvr`: Cornell's Natural Language Visual Reasoning (Suhr et al. 2017), true or false."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flava.config import TaskData
from flava.data.lines import json_lines, list_field
from flava.errors import DataError
from flava.evaluate.formats.examples import ImageTexts, found_at
from flava.evaluate.formats.official import Listed, members_split
from flava.evaluate.formats.text_files import field_of
from flava.evaluate.images import ImageSource, image_source
from flava.evaluate.taskdata import LabelledTask, Split, require

CLASSES = ["false", "true"]
FEWEST, MOST = 5, 12  # objects of the first and the last class of the counting task
HOW_TO_GET = "Get the set from github.com/lil-lab/nlvr (folder nlvr)."


def load(path: Path, data: TaskData) -> LabelledTask:
    """Reads <split>/<split>.json; trains on `train` or, without it, on `test` and `hidden`.

    `dev` is scored. Of the six pictures of an example the first is used.

    Raises:
        DataError: a file or image is missing, or a line is malformed (file and line are named).
    """
    source = image_source(path, data)
    parts = _training_parts(path)
    return LabelledTask(
        train=_read(path, parts, source),
        tests={"dev": _read(path, ["dev"], source)},
        classes=CLASSES,
        notes={"trained on": " and ".join(parts)},
    )


def load_counts(path: Path, data: TaskData) -> LabelledTask:
    """The same pictures labelled with their number of objects, from `structured_rep`: eight
    classes, as CLEVR has. Few pictures have fewer than 5 or more than 12 objects; the first and
    the last class take these in.

    Raises:
        DataError: as `load`.
    """
    source = image_source(path, data)
    parts = _training_parts(path)
    return LabelledTask(
        train=_read_counts(path, parts, source),
        tests={"dev": _read_counts(path, ["dev"], source)},
        classes=["at most 5", "6", "7", "8", "9", "10", "11", "at least 12"],
        notes={"trained on": " and ".join(parts)},
    )


def _training_parts(path: Path) -> list[str]:
    return ["train"] if (path / "train" / "train.json").is_file() else ["test", "hidden"]


def _read(path: Path, parts: list[str], source: ImageSource) -> Split:
    examples = ImageTexts(source, f"{path}, split '{parts[0]}'")
    for image, row, where in _rows(path, parts):
        label = field_of(row, "label", where)
        if label not in CLASSES:
            raise DataError(f"{where}: label '{label}' is not one of {CLASSES}.")
        examples.add(image, field_of(row, "sentence", where), CLASSES.index(label), where)
    return examples.split()


def _read_counts(path: Path, parts: list[str], source: ImageSource) -> Split:
    listed: list[Listed] = []
    for image, row, where in _rows(path, parts):
        boxes = list_field(row, "structured_rep", where)
        lists = all(isinstance(box, list) for box in boxes)
        require(lists, f"{where}: 'structured_rep' is no list of boxes with their objects.")
        label = min(max(sum(len(box) for box in boxes), FEWEST), MOST) - FEWEST
        listed.append((where, found_at(source, image, where), label))
    require(bool(listed), f"{path}, split '{parts[0]}' has no examples. {HOW_TO_GET}")
    return members_split(source, listed)


def _rows(path: Path, parts: list[str]) -> Iterator[tuple[str, dict[str, Any], str]]:
    """(picture, row, file and line) of every example."""
    for part in parts:
        file = path / part / f"{part}.json"
        for where, row in json_lines(file, HOW_TO_GET):
            yield f"{part}-{field_of(row, 'identifier', where)}-0", row, where
