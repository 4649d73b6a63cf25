"""`easy_vqa`: github.com/vzhou842/easy-VQA, [question, answer, image number] rows."""

from __future__ import annotations

from pathlib import Path

from flava.config import TaskData
from flava.data.lines import read_json
from flava.errors import DataError
from flava.evaluate.formats.examples import ImageTexts
from flava.evaluate.formats.vqa_answers import shared_answers
from flava.evaluate.images import image_source
from flava.evaluate.taskdata import LabelledTask, Split, require

HOW_TO_GET = "Get it from github.com/vzhou842/easy-VQA (folder easy_vqa/data)."
Row = tuple[str, str, int]


def load(path: Path, data: TaskData) -> LabelledTask:
    """Reads {train,test}/questions.json; the one answer of a question has soft score 1.

    The answers of the training file, sorted, are the vocabulary; other test answers count as
    wrong whatever is predicted.

    Raises:
        DataError: a file or image is missing, or a row is malformed (file and row are named).
    """
    train, test = (_rows(path / name / "questions.json") for name in ("train", "test"))
    answers = sorted({answer for _, answer, _ in train})
    return LabelledTask(
        train=_split(path, data, "train", train, answers),
        tests={"test": _split(path, data, "test", test, answers)},
        classes=answers,
    )


def _rows(path: Path) -> list[Row]:
    value = read_json(path, HOW_TO_GET)
    require(isinstance(value, list) and bool(value), f"{path}: expected a list of questions.")
    rows: list[Row] = []
    for number, row in enumerate(value):
        match row:
            case [str(question), str(answer), int(image)]:
                rows.append((question, answer, image))
            case _:
                raise DataError(f"{path}, row {number}: expected [question, answer, image].")
    return rows


def _split(path: Path, data: TaskData, name: str, rows: list[Row], answers: list[str]) -> Split:
    examples = ImageTexts(image_source(path, data), str(path / name / "questions.json"))
    for number, (question, _, image) in enumerate(rows):
        examples.add(f"{name}/images/{image}", question, 0, f"{path}/{name}, row {number}")
    return examples.split(shared_answers([[answer] for _, answer, _ in rows], answers))
