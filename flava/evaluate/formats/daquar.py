"""`daquar_csv`: DAQUAR's questions about indoor photos (Malinowski & Fritz 2014), as CSV."""

from __future__ import annotations

from pathlib import Path

from flava.config import TaskData
from flava.evaluate.formats.examples import ImageTexts
from flava.evaluate.formats.tables import table
from flava.evaluate.formats.text_files import lines
from flava.evaluate.formats.vqa_answers import shared_answers
from flava.evaluate.images import ImageSource, image_source
from flava.evaluate.taskdata import LabelledTask, Split

COLUMNS = ["question", "answer", "image_id"]
HOW_TO_GET = "Get DAQUAR's questions as data_train.csv, data_eval.csv and answer_space.txt."


def load(path: Path, data: TaskData) -> LabelledTask:
    """Reads data_{train,eval}.csv; answer_space.txt is the vocabulary, one answer a line.

    A question has one annotator's answer, of soft score 1; in a list ("chair, table") each of the
    n things has 1 / n.

    Raises:
        DataError: a file or image is missing, or a line is malformed (file and line are named).
    """
    listed = (line.strip() for _, line in lines(path / "answer_space.txt", HOW_TO_GET))
    answers = list(dict.fromkeys(answer for answer in listed if answer))
    source = image_source(path, data)
    return LabelledTask(
        train=_split(path / "data_train.csv", source, answers),
        tests={"eval": _split(path / "data_eval.csv", source, answers)},
        classes=answers,
    )


def _split(path: Path, source: ImageSource, answers: list[str]) -> Split:
    examples, given = ImageTexts(source, str(path)), []
    for where, (question, answer, image) in table(path, COLUMNS, HOW_TO_GET):
        examples.add(image, question, 0, where)
        given.append(list(dict.fromkeys(part.strip() for part in answer.split(","))))
    return examples.split(shared_answers(given, answers))
