"""`vqav2`: the official question and annotation files with ten answers a question."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flava.config import TaskData
from flava.data.lines import list_field, read_json
from flava.errors import DataError
from flava.evaluate.formats.examples import ImageTexts
from flava.evaluate.formats.text_files import field_of
from flava.evaluate.formats.vqa_answers import ANNOTATORS, ranked, soft_labels, vocabulary
from flava.evaluate.images import ImageSource, image_source
from flava.evaluate.taskdata import LabelledTask, Split

HOW_TO_GET = "Get VQAv2's questions and annotations from visualqa.org/download.html."
# The usual answers (Bottom-up's, MMF's) are those that occur at least nine times in train and val:
# 3,129 in the official files. The 3,129 most frequent are the same there, and exist in small sets.
VOCABULARY_SIZE, USUAL_MINIMUM = 3129, 9


@dataclass
class Questions:
    """Parallel lists over the questions of one split, of `file`."""

    file: str
    where: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    images: list[str] = field(default_factory=list)
    answers: list[list[str]] = field(default_factory=list)
    most_common: list[str] = field(default_factory=list)


def load(path: Path, data: TaskData) -> LabelledTask:
    """Reads train2014 for training and val2014 for the score.

    The answers of test-dev, which the paper reports, are on the challenge's server only. The
    answer vocabulary is made from the `multiple_choice_answer`s of both files, as is usual, or of
    train2014 alone (`data.answers`); the paper does not say.

    Raises:
        DataError: a file or image is missing, an entry is malformed or occurs twice, a question
            has no annotation, not ten answers or another image there (file and entry are named).
    """
    train, test = _read(path, "train2014"), _read(path, "val2014")
    given = train.most_common + (test.most_common if data.answers == "train_val" else [])
    answers = vocabulary(given, VOCABULARY_SIZE)
    source = image_source(path, data)
    return LabelledTask(
        train=_split(source, train, answers, scored=False),
        tests={"val2014": _split(source, test, answers, scored=True)},
        classes=answers,
        notes={
            "scored split": "val2014",
            "answer vocabulary": len(answers),
            "answers given at least 9 times": sum(n >= USUAL_MINIMUM for _, n in ranked(given)),
            "answers of": data.answers,
        },
    )


def _read(path: Path, split: str) -> Questions:
    question_file = path / f"v2_OpenEnded_mscoco_{split}_questions.json"
    annotation_file = path / f"v2_mscoco_{split}_annotations.json"
    listed = list_field(read_json(annotation_file, HOW_TO_GET), "annotations", annotation_file)
    annotations: dict[int, tuple[str, dict[str, Any]]] = {}
    for number, entry in enumerate(listed):
        where = f"{annotation_file}, annotations[{number}]"
        identity = field_of(entry, "question_id", where, int)
        _once(identity, annotations, where)
        annotations[identity] = where, entry
    found = Questions(str(question_file))
    seen: set[int] = set()
    listed = list_field(read_json(question_file, HOW_TO_GET), "questions", question_file)
    for number, entry in enumerate(listed):
        where = f"{question_file}, questions[{number}]"
        identity = field_of(entry, "question_id", where, int)
        _once(identity, seen, where)
        seen.add(identity)
        if identity not in annotations:
            raise DataError(f"{where}: question {identity} has no entry in {annotation_file}.")
        _add(found, entry, where, split, *annotations[identity])
    return found


def _add(
    found: Questions,
    question: dict[str, Any],
    where: str,
    split: str,
    annotation_where: str,
    annotation: dict[str, Any],
) -> None:
    given = list_field(annotation, "answers", annotation_where)
    answers = [field_of(answer, "answer", annotation_where) for answer in given]
    if len(answers) != ANNOTATORS:
        raise DataError(f"{annotation_where}: {len(answers)} answers, expected {ANNOTATORS}.")
    found.where.append(where)
    found.texts.append(field_of(question, "question", where))
    image = field_of(question, "image_id", where, int)
    other = field_of(annotation, "image_id", annotation_where, int)
    if other != image:
        raise DataError(
            f"{annotation_where}: question {question['question_id']} is about image {other}, in "
            f"{where} about image {image}. The files are not of one release. {HOW_TO_GET}"
        )
    found.images.append(f"COCO_{split}_{image:012d}")
    found.answers.append(answers)
    found.most_common.append(field_of(annotation, "multiple_choice_answer", annotation_where))


def _once(identity: int, seen: Container[int], where: str) -> None:
    if identity in seen:
        raise DataError(f"{where}: question {identity} occurs twice. Get the file anew.")


def _split(source: ImageSource, questions: Questions, answers: list[str], scored: bool) -> Split:
    examples = ImageTexts(source, questions.file)
    for where, text, image in zip(questions.where, questions.texts, questions.images, strict=True):
        examples.add(image, text, 0, where)
    return examples.split(soft_labels(questions.answers, answers, scored))
