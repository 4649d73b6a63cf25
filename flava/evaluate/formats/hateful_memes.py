"""`hateful_memes`: the challenge's jsonl files; the memes' printed text is the `text` field."""

from __future__ import annotations

from pathlib import Path

from flava.config import TaskData
from flava.data.lines import json_lines
from flava.errors import ConfigError, DataError, unknown_name
from flava.evaluate.formats.examples import ImageTexts
from flava.evaluate.formats.text_files import field_of
from flava.evaluate.images import ImageSource, image_source
from flava.evaluate.taskdata import LabelledTask

CLASSES = ["not hateful", "hateful"]
HOW_TO_GET = "Get the set from ai.meta.com/tools/hatefulmemes (terms to be accepted there)."
# Files to choose the checkpoint on and to score. The paper does not say which it scores; `unseen`,
# of the challenge's second phase, is MMF's default. `seen` is the first phase under its later name,
# `original` under its first name.
FILES = {
    "unseen": ("dev_unseen.jsonl", "test_unseen.jsonl"),
    "seen": ("dev_seen.jsonl", "test_seen.jsonl"),
    "original": ("dev.jsonl", "test.jsonl"),
}
DEFAULT = "unseen"


def load(path: Path, data: TaskData) -> LabelledTask:
    """Reads train.jsonl and the two files of `data.split`.

    Of the scored memes those with equal files show one picture, for the bootstrap.
    A line is {"img": "img/01235.png", "label": 0 or 1, "text": ...}.

    Raises:
        ConfigError: there is no split of this name.
        DataError: a file or image is missing, or a line is malformed (file and line are named).
    """
    split = data.split or DEFAULT
    if split not in FILES:
        raise ConfigError(unknown_name("split", split, list(FILES), "adapter 'hateful_memes'"))
    _check_files(path, split)
    source = image_source(path, data)
    dev, test = (path / name for name in FILES[split])
    return LabelledTask(
        train=_read(path / "train.jsonl", source).split(),
        validation=_read(dev, source).split(),
        tests={"test": _read(test, source).split(by_content=True)},
        classes=CLASSES,
        notes={"scored file": test.name},
    )


def _check_files(path: Path, split: str) -> None:
    missing = [name for name in FILES[split] if not (path / name).is_file()]
    if not missing:
        return
    here = [s for s, names in FILES.items() if all((path / name).is_file() for name in names)]
    hint = f" It has the files of `split: {here[0]}`, which the study may name." if here else ""
    raise DataError(f"{path} has no {' and no '.join(missing)}.{hint} {HOW_TO_GET}")


def _read(path: Path, source: ImageSource) -> ImageTexts:
    examples = ImageTexts(source, str(path))
    for where, row in json_lines(path, HOW_TO_GET):
        if "label" not in row:
            raise DataError(
                f"{where}: key 'label' is missing. A file that was published without labels cannot "
                f"be used: take the later release's. {HOW_TO_GET}"
            )
        label = field_of(row, "label", where, int)
        if label not in (0, 1):
            raise DataError(f"{where}: label {label} is out of range (0 or 1).")
        examples.add(field_of(row, "img", where), field_of(row, "text", where), label, where)
    return examples
