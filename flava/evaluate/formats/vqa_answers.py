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
# The right-hand sides of the official table; its keys lack any one of the apostrophes. Its keys
# with capitals (Im, Ive, Id've) are left out: words are looked up in lower case.
SPELLINGS = """
    ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't
    haven't he'd he'd've he's how'd how'll how's isn't it'd it'd've it'll ma'am might've mightn't
    mightn't've must've mustn't needn't not've o'clock oughtn't 'ow's'at shan't she'd've should've
    shouldn't shouldn't've somebody'd've somebody'll somebody's someone'd someone'd've someone'll
    someone's something'd something'd've something'll that's there'd there'd've there're there's
    they'd they'd've they'll they're they've 'twas wasn't we'd've we've weren't what'll what're
    what's what've when's where'd where's where've who'd who'd've who'll who's who've why'll
    why're why's won't would've wouldn't wouldn't've y'all y'all'd've y'all'll you'd you'd've
    you'll you're you've
"""
CONTRACTIONS = {
    word[:at] + word[at + 1 :]: word
    for word in SPELLINGS.split()
    for at, letter in enumerate(word)
    if letter == "'"
} | {"somebody'd": "somebodyd"}  # the table has this one the other way round
PUNCTUATION = r""";/[]"{}()=+\_-><@`,?!"""
_COMMA_IN_NUMBER = re.compile(r"\d,\d")
_PERIOD = re.compile(r"\.(?!\d)")
PERIODS = 32  # at most, since the official code passes a flag where the count belongs


def normalise_answer(answer: str) -> str:
    """Lower case, numbers as digits, no articles, no punctuation, contractions spelt in full.

    The rule of the official evaluation (visualqa.org/evaluation, its released code), oddities
    included: a mark vanishes where it stands next to a space anywhere in the answer, or where
    the answer has a number with a comma, and is a space elsewhere; a period before a digit stays.
    """
    text = answer.replace("\n", " ").replace("\t", " ").strip()
    joined = _COMMA_IN_NUMBER.search(text) is not None
    dropped = {m for m in PUNCTUATION if joined or f"{m} " in text or f" {m}" in text}
    text = "".join(" " if c in PUNCTUATION else c for c in text if c not in dropped)
    text = _PERIOD.sub("", text, count=PERIODS)
    words = [NUMBERS.get(word, word) for word in text.lower().split()]
    return " ".join(CONTRACTIONS.get(word, word) for word in words if word not in ARTICLES)


def comparable(answers: Sequence[str]) -> list[str]:
    """A question's answers as the official evaluation compares them with a prediction.

    It normalises both sides only where annotators disagree: of one answer given by all, the very
    spelling has to be predicted.
    """
    stripped = [a.replace("\n", " ").replace("\t", " ").strip() for a in answers]
    if len(set(stripped)) == 1:
        return stripped
    return [normalise_answer(answer) for answer in answers]


def soft_score(count: int, annotators: int = ANNOTATORS) -> float:
    """Mean over the leave-one-out sets of annotators of min(1, agreeing others / 3).

    `count` of `annotators` gave the answer: 0.3, 0.6, 0.9, 1 for 1, 2, 3 and 4 of ten.
    """
    left_out_agrees = min(1.0, (count - 1) / AGREEMENT) * count
    left_out_differs = min(1.0, count / AGREEMENT) * (annotators - count)
    return (left_out_agrees + left_out_differs) / annotators


def vocabulary(most_common_answers: Sequence[str], size: int) -> list[str]:
    """The `size` most frequent normalised answers; ties in alphabetical order."""
    return [answer for answer, _ in ranked(most_common_answers)[:size]]


def ranked(most_common_answers: Sequence[str]) -> list[tuple[str, int]]:
    """Normalised answers and how often each occurs, the most frequent first."""
    counts = Counter(normalise_answer(answer) for answer in most_common_answers)
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def soft_labels(
    answers_of: Sequence[Sequence[str]], vocab: Sequence[str], scored: bool = False
) -> SoftLabels:
    """Soft scores of each question's answers; those outside the vocabulary have no column.

    Args:
        answers_of: ten answers a question.
        vocab: normalised answers.
        scored: give each the official score (`comparable`); else, for training, answers that all
            annotators agree on are normalised as well, so that their spelling is no lost example.
    """
    position = {answer: i for i, answer in enumerate(vocab)}
    ids_NK = np.full((len(answers_of), ANNOTATORS), -1, np.int64)
    scores_NK = np.zeros((len(answers_of), ANNOTATORS), np.float32)
    for row, answers in enumerate(answers_of):
        counts = Counter(comparable(answers) if scored else map(normalise_answer, answers))
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
