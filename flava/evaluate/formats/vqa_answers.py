"""VQA's answer normalisation and soft scores."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np

from flava.evaluate.taskdata import SoftLabels

ANNOTATORS = 10
AGREEMENT = 3  # an answer given by three others counts in full
NUMBERS = {
    "none": "0",
    "zero": "0",
    "one": "1",
    "two": "2",
    "three": "3",
    "four": "4",
    "five": "5",
    "six": "6",
    "seven": "7",
    "eight": "8",
    "nine": "9",
    "ten": "10",
}
ARTICLES = frozenset({"a", "an", "the"})
_COMMA_IN_NUMBER = re.compile(r"(?<=\d),(?=\d)")
_LOOSE_PERIOD = re.compile(r"(?<!\d)\.|\.(?!\d)")
_PUNCTUATION = re.compile(r"[;/\[\]\"{}()=+\\_\-><@`,?!]")


def normalise_answer(answer: str) -> str:
    """Lower case, numbers as digits, no articles and no punctuation.

    After the rules of the official evaluation (visualqa.org); apostrophes are dropped, which
    merges the spellings that its table of contractions merges.
    """
    text = _COMMA_IN_NUMBER.sub("", answer.lower().replace("'", ""))
    text = _LOOSE_PERIOD.sub("", _PUNCTUATION.sub(" ", text))
    words = [NUMBERS.get(word, word) for word in text.split()]
    return " ".join(word for word in words if word not in ARTICLES)


def soft_score(count: int, annotators: int = ANNOTATORS) -> float:
    """Mean over the leave-one-out sets of annotators of min(1, agreeing others / 3).

    `count` of `annotators` gave the answer: 0.3, 0.6, 0.9, 1 for 1, 2, 3 and 4 of ten.
    """
    left_out_agrees = min(1.0, (count - 1) / AGREEMENT) * count
    left_out_differs = min(1.0, count / AGREEMENT) * (annotators - count)
    return (left_out_agrees + left_out_differs) / annotators


def vocabulary(most_common_answers: Sequence[str], size: int) -> list[str]:
    """The `size` most frequent normalised answers; ties in alphabetical order."""
    counts = Counter(normalise_answer(answer) for answer in most_common_answers)
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [answer for answer, _ in ranked[:size]]


def soft_labels(answers_of: Sequence[Sequence[str]], vocab: Sequence[str]) -> SoftLabels:
    """Soft scores of each question's answers; those outside the vocabulary have no column."""
    position = {answer: i for i, answer in enumerate(vocab)}
    ids_NK = np.full((len(answers_of), ANNOTATORS), -1, np.int64)
    scores_NK = np.zeros((len(answers_of), ANNOTATORS), np.float32)
    for row, answers in enumerate(answers_of):
        counts = Counter(normalise_answer(answer) for answer in answers)
        known = [(position[a], n) for a, n in sorted(counts.items()) if a in position]
        for column, (index, count) in enumerate(known):
            ids_NK[row, column] = index
            scores_NK[row, column] = soft_score(count, len(answers))
    return SoftLabels(ids_NK, scores_NK, len(vocab))


def shared_answers(answers_of: Sequence[Sequence[str]], vocab: Sequence[str]) -> SoftLabels:
    """Each of a question's n answers has soft score 1 / n; those outside have no column."""
    position = {answer: i for i, answer in enumerate(vocab)}
    most = max((len(answers) for answers in answers_of), default=1)
    ids_NK = np.full((len(answers_of), most), -1, np.int64)
    scores_NK = np.zeros((len(answers_of), most), np.float32)
    for row, answers in enumerate(answers_of):
        for column, answer in enumerate(answers):
            if answer in position:
                ids_NK[row, column] = position[answer]
                scores_NK[row, column] = 1 / len(answers)
    return SoftLabels(ids_NK, scores_NK, len(vocab))
