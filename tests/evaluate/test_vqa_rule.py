"""VQA scores against the official rule, written here anew from its description."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flava.evaluate.formats.vqa_answers import (
    CONTRACTIONS,
    normalise_answer,
    soft_labels,
    soft_score,
    vocabulary,
)
from flava.evaluate.metrics import vqa_credit, vqa_score

MARKS = ';/[]"{}()=+\\_-><@`,?!'
DIGITS = "0123456789"
WORDS = ["none", "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine",
         "ten"]  # fmt: skip
SHORT = {"dont": "don't", "couldnt've": "couldn't've", "couldn'tve": "couldn't've",
         "oclock": "o'clock", "somebody'd": "somebodyd", "yall'd've": "y'all'd've"}  # fmt: skip
PIECES = [*"ab .,'-/!?", "1", "20", "1,000", "2.5", "one", "Ten", "the", "An", "a", *SHORT, "wed",
          "t-shirt", "- ", " -", "\n", "\t", "don't", "Dont", "let's"]  # fmt: skip
ANSWERS = st.lists(st.sampled_from(PIECES), max_size=5).map("".join)


def official(answer: str) -> str:
    """Letter by letter, from the description at visualqa.org/evaluation and the released rule."""
    letters = list("".join(" " if c in "\n\t" else c for c in answer).strip(" "))
    triples = zip(letters, letters[1:], letters[2:], strict=False)
    comma_in_number = any(a in DIGITS and b == "," and c in DIGITS for a, b, c in triples)
    beside_space = {
        mark
        for one, other in itertools.pairwise(letters)
        for mark, space in ((one, other), (other, one))
        if space == " "
    }
    kept = []
    for letter in letters:
        if letter not in MARKS:
            kept.append(letter)
        elif not comma_in_number and letter not in beside_space:
            kept.append(" ")
    following = [*kept, ""][1:]
    spoken = [c for c, after in zip(kept, following, strict=True) if c != "." or after.isdigit()]
    words = []
    for word in "".join(spoken).lower().split():
        word = str(WORDS.index(word) - 1) if word in WORDS[1:] else word
        word = "0" if word == "none" else word
        if word not in ("a", "an", "the"):
            words.append(SHORT.get(word, word))
    return " ".join(words)


def official_accuracy(predicted: str, answers: list[str]) -> float:
    """Mean over the ten subsets of nine annotators of min(1, agreeing / 3)."""
    plain = [a.replace("\n", " ").replace("\t", " ").strip() for a in answers]
    if any(a != plain[0] for a in plain):
        plain, predicted = [official(a) for a in plain], official(predicted)
    scores = []
    for left_out in range(len(plain)):
        others = plain[:left_out] + plain[left_out + 1 :]
        scores.append(min(1, sum(a == predicted for a in others) / 3))
    return sum(scores) / len(scores)


@settings(deadline=None, max_examples=600)
@given(ANSWERS)
def test_normalisation_is_the_official_one(answer):
    assert normalise_answer(answer) == official(answer)
    assert normalise_answer(normalise_answer(answer)) == normalise_answer(answer)


@settings(deadline=None, max_examples=200)
@given(st.lists(ANSWERS, min_size=1, max_size=4), st.integers(0, 10**6), st.booleans())
def test_scores_are_the_official_ones(pool, seed, unanimous):
    random = np.random.default_rng(seed)
    questions = [[pool[i] for i in random.integers(0, len(pool), 10)] for _ in range(5)]
    if unanimous:
        questions.append([pool[0]] * 10)
    vocab = vocabulary([answer for answers in questions for answer in answers], 50)
    labels = soft_labels(questions, vocab, scored=True)
    predicted = random.integers(0, len(vocab), len(questions))
    expected = [official_accuracy(vocab[p], a) for p, a in zip(predicted, questions, strict=True)]
    assert vqa_credit(predicted, labels) == pytest.approx(expected, abs=1e-6)
    assert vqa_score(predicted, labels) == pytest.approx(np.mean(expected), abs=1e-6)


@pytest.mark.parametrize(
    ("raw", "normal"),
    [("The Red.", "red"), ("two", "2"), ("1,000", "1000"), ("2.5", "2.5"), ("don't", "don't"),
     ("DONT", "don't"), ("black & white", "black & white"), ("yes!", "yes"), ("a", ""),
     ("t-shirt", "t shirt"), ("red - blue-green", "red bluegreen"), ("e.g.", "eg"),
     ("1,000-2", "10002"), (".5", ".5"), ("it's 5.", "it's 5")],
)  # fmt: skip
def test_what_normalisation_does(raw, normal):
    assert normalise_answer(raw) == official(raw) == normal


def test_contractions_only_gain_apostrophes():
    odd = {k: v for k, v in CONTRACTIONS.items() if k.replace("'", "") != v.replace("'", "")}
    assert odd == {} and len(CONTRACTIONS) == 114
    assert all(CONTRACTIONS[short] == full for short, full in SHORT.items())
    assert not {"wed", "well", "shell", "hell", "id", "ill"} & set(CONTRACTIONS)


def test_answers_of_one_spelling_are_not_normalised_where_they_are_scored():
    answers = [["Two"] * 10, ["Two"] * 9 + ["two"]]
    training, scored = (soft_labels(answers, ["2"], scored).dense() for scored in (False, True))
    assert training.tolist() == [[1], [1]] and scored.tolist() == [[0], [1]]


def test_soft_scores_and_vocabulary():
    scores = [soft_score(n) for n in range(11)]
    assert scores == pytest.approx([0, 0.3, 0.6, 0.9] + [1] * 7)
    assert vocabulary(["yes", "no", "yes", "Two", "2", "b", "a b"], 4) == ["2", "b", "yes", "no"]
