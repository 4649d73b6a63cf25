"""`snli_ve`: the official jsonl files, with Flickr30K images (or the file a row names itself)."""

from __future__ import annotations

from pathlib import Path

from flava.config import TaskData
from flava.data.lines import json_lines
from flava.errors import DataError
from flava.evaluate.formats.examples import ImageTexts
from flava.evaluate.formats.text_files import field_of
from flava.evaluate.images import ImageSource, image_source
from flava.evaluate.taskdata import LabelledTask

CLASSES = ["entailment", "neutral", "contradiction"]
HOW_TO_GET = "Make it with github.com/necla-ml/SNLI-VE and set the task's path to its folder."


def load(path: Path, data: TaskData) -> LabelledTask:
    """Reads snli_ve_{train,dev,test}.jsonl; the hypothesis `sentence2` is the text.

    Raises:
        DataError: a file or image is missing, or a line is malformed (file and line are named).
    """
    source = image_source(path, data)
    splits = {
        name: _read(path / f"snli_ve_{name}.jsonl", source) for name in ("train", "dev", "test")
    }
    return LabelledTask(
        train=splits["train"].split(),
        validation=splits["dev"].split(),
        tests={"test": splits["test"].split()},
        classes=CLASSES,
    )


def _read(path: Path, source: ImageSource) -> ImageTexts:
    examples = ImageTexts(source, str(path))
    for where, row in json_lines(path, HOW_TO_GET):
        label = field_of(row, "gold_label", where)
        if label not in CLASSES:
            raise DataError(f"{where}: gold_label '{label}' is not one of {CLASSES}.")
        image = row.get("flickr8k_file") or field_of(row, "Flickr30K_ID", where)
        examples.add(str(image), field_of(row, "sentence2", where), CLASSES.index(label), where)
    return examples
