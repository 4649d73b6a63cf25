"""`daquar_csv`: DAQUAR's questions about indoor photos (Malinowski & Fritz 2014), as CSV."""

from __future__ import annotations

import csv
from pathlib import Path

from flava.config import TaskData
from flava.errors import DataError
from flava.evaluate.formats.examples import ImageTexts
from flava.evaluate.formats.text_files import read_text
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
    answers = read_text(path / "answer_space.txt", HOW_TO_GET).split("\n")
    answers = list(dict.fromkeys(answer.strip() for answer in answers if answer.strip()))
    source = image_source(path, data)
    return LabelledTask(
        train=_split(path / "data_train.csv", source, answers),
        tests={"eval": _split(path / "data_eval.csv", source, answers)},
        classes=answers,
    )


def _split(path: Path, source: ImageSource, answers: list[str]) -> Split:
    examples, given = ImageTexts(source, str(path)), []
    rows = csv.reader(read_text(path, HOW_TO_GET).splitlines(keepends=True), strict=True)
    try:
        if (header := next(rows, [])) != COLUMNS:
            raise DataError(f"{path}, line 1: columns {header}, expected {COLUMNS}.")
        for row in rows:
            where = f"{path}, line {rows.line_num}"
            if len(row) != len(COLUMNS):
                raise DataError(f"{where}: {len(row)} columns, expected {len(COLUMNS)}.")
            question, answer, image = row
            examples.add(image, question, 0, where)
            given.append(list(dict.fromkeys(part.strip() for part in answer.split(","))))
    except csv.Error as error:
        raise DataError(f"{path}, line {rows.line_num}: not valid CSV ({error}).") from None
    return examples.split(shared_answers(given, answers))
