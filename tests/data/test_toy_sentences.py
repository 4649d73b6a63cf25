"""The toy world's sentences: labels that hold, and shortcuts that do not."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from random import Random

import numpy as np
import pytest

from flava.data.toy import reviews, visual_entailment, visual_questions
from flava.data.toy import vocabulary as v
from flava.data.toy.captions import caption, relations
from flava.data.toy.grammar import grammatical, ungrammatical
from flava.data.toy.scenes import NO, Thing, sample
from flava.data.toy.seeds import generators
from flava.data.toy.statements import hypothesis, reworded, scenes_of, state, statement
from flava.data.toy.visual_entailment import LABELS
from flava.data.toy.visual_questions import questions_of


@pytest.fixture
def rng() -> Random:
    return generators(np.random.SeedSequence(5))[1]


@pytest.fixture
def scenes() -> list[list[Thing]]:
    endless = scenes_of(np.random.default_rng(1), (2, 3))
    return [next(endless) for _ in range(300)]


def first_names(text: str) -> str:
    """The text with each synonym replaced by the usual word."""
    table = {name: noun.singular[0] for noun in v.SHAPES for name in noun.singular}
    table |= {name: names[0] for names in (*v.COLOUR_NAMES, *v.TEXTURE_NAMES) for name in names}
    table |= {"digit": "number"}
    table |= {name: names[0] for names in v.SIZE_NAMES for name in names}
    return " ".join(table.get(word, word) for word in text.split())


def test_a_relation_and_its_inverse_agree():
    for first in range(4):
        for second in range(4):
            a, b = Thing(0, 0, 0, 0, first), Thing(1, 0, 0, 0, second)
            assert sorted(v.RELATIONS[r][1] for r in relations(a, b)) == sorted(relations(b, a))
    assert relations(Thing(0, 0, 0, 0, 0), Thing(1, 0, 0, 0, 3)) == ["left", "above"]


def test_signs_leave_their_row_free():
    scenes = sample(np.random.default_rng(0), 400, (1, 3), signs=0.5)
    signed = scenes.word != NO
    assert 0.3 < signed.mean() < 0.7
    shown = scenes.shape[signed] != NO
    assert (scenes.cell[signed][shown] < 2).all()
    assert shown.sum(axis=1).max() <= 2


def test_captions_name_only_what_is_there(rng: Random):
    batch = sample(np.random.default_rng(2), 300, (1, 3), signs=0.2)
    rows = zip(batch.things(), batch.background.tolist(), batch.word.tolist(), strict=True)
    for things, background, word in rows:
        text = f" {caption(rng, things, background, word).lower()} "
        there = {names for t in things for names in v.COLOUR_NAMES[t.colour]}
        absent = {name for names in v.COLOUR_NAMES for name in names} - there
        assert not any(f" {name} " in text for name in absent), text
        if word == NO:
            assert not any(f" {name} " in text for name in ("sign", "word")), text


def test_broken_sentences_differ_and_keep_the_bag_of_words_balanced(rng: Random):
    good = [grammatical(rng) for _ in range(2000)]
    bad = [ungrammatical(rng) for _ in range(2000)]
    for word in ("is", "are", "has", "have", "a", "two", "the", "circles", "circle"):
        counts = [sum(word in text.split() for text in texts) for texts in (good, bad)]
        assert abs(counts[0] - counts[1]) < 5 * np.sqrt(sum(counts) + 1), (word, counts)
    assert len(set(bad) & set(good)) < 20


@pytest.mark.parametrize("good", [True, False])
def test_plain_reviews_use_words_of_their_sentiment(rng: Random, good: bool):
    wrong = set(v.BLAME + v.DISLIKES) if good else set(v.PRAISE + v.LIKES)
    for _ in range(300):
        assert not wrong & set(reviews.plain(rng, good).split())


def test_contradictions_are_not_entailed(rng: Random, scenes: list[list[Thing]]):
    """A colour, size or texture that is claimed is the thing's exactly where it is entailed."""
    seen = {"entailment": 0, "contradiction": 0}
    for things in scenes:
        fact = statement(rng, things)
        for label, count in seen.items():
            words = first_names(hypothesis(rng, fact, label)).split()
            if words[0] != "the" or words[2:3] != ["is"] or len(words) != 5:
                continue
            thing = next(t for t in things if v.NOUNS[t.shape].singular[0] == words[1])
            true = {v.COLOUR_NAMES[thing.colour][0], v.TEXTURES[thing.texture],
                    v.SIZE_NAMES[thing.size][0]}  # fmt: skip
            assert (words[3] in true) == (label == "entailment"), (things, words)
            seen[label] = count + 1
    assert min(seen.values()) > 50


def test_statements_name_both_things_with_what_is_told(rng: Random, scenes: list[list[Thing]]):
    for things in scenes:
        fact = statement(rng, things)
        words = first_names(state(rng, fact)).split()
        for thing in (fact.a, fact.b):
            assert v.NOUNS[thing.shape].singular[0] in words
            assert v.COLOUR_NAMES[thing.colour][0] in words
            assert (v.SIZE_NAMES[thing.size][0] in words) or "size" not in fact.told


def test_visual_answers_are_true_and_differ_between_the_two_pictures(rng: Random):
    batch = visual_questions._pairs(np.random.default_rng(3), 300)
    seen = list(zip(batch.things(), batch.background.tolist(), strict=True))
    kinds: Counter[str] = Counter()
    for first in range(0, len(seen), 2):
        for kind, question, answers in questions_of(rng, *seen[first : first + 2]):
            kinds[kind] += 1
            assert answers[0] != answers[1]
            words = set(first_names(question).split())
            for (things, ground), answer in zip(seen[first : first + 2], answers, strict=True):
                assert answer in _true_answers(kind, words, things, ground), (things, question)
    assert min(kinds[kind] for kind in ("exists", "colour", "place", "count")) > 50


def _true_answers(kind: str, words: set[str], things: list[Thing], ground: int) -> set[str]:
    named = [t for t in things if v.NOUNS[t.shape].singular[0] in words]
    if kind == "exists":
        return {"yes" if any(v.COLOUR_NAMES[t.colour][0] in words for t in named) else "no"}
    if kind == "colour":
        return {v.COLOUR_NAMES[named[0].colour][0]} if len(named) == 1 else set()
    return {str(len(things)) if kind == "count" else v.BACKGROUND_NAMES[ground]}


def test_statements_on_pictures_have_their_labels(rng: Random):
    """Another ground leaves open; on the same ground the colour decides."""
    places = {phrase: i for i, names in enumerate(v.BACKGROUND_PHRASES) for phrase in names}
    scenes = sample(np.random.default_rng(4), 300, (1, 1), shapes=np.arange(len(v.SHAPES)))
    for things, ground in zip(scenes.things(), scenes.background.tolist(), strict=True):
        for label in LABELS:
            text = visual_entailment.statement(rng, things[0], ground, label)
            told = next(i for phrase, i in places.items() if phrase in text)
            words = first_names(text).split()
            assert (told != ground) == (label == "neutral"), (text, ground)
            if label != "neutral":
                assert v.NOUNS[things[0].shape].singular[0] in words
                true = v.COLOUR_NAMES[things[0].colour][0] in words
                assert true == (label == "entailment"), (text, things)


def test_a_rewording_shares_no_colour_word_and_follows_only_where_it_is_true(
    rng: Random, scenes: list[list[Thing]]
):
    colours = {name for names in v.COLOUR_NAMES for name in names}
    words: dict[bool, Counter[str]] = {True: Counter(), False: Counter()}
    for things in scenes * 4:
        fact = replace(statement(rng, things), told=frozenset({"colour"}))
        if fact.a.colour == fact.b.colour:
            continue
        premise = state(rng, fact)
        for true, counter in words.items():
            text = reworded(rng, fact, premise, true)
            said = colours & set(text.split())
            assert len(said) == 1 and not said & set(premise.split()), (premise, text)
            counter.update(said)
            usual = first_names(text).split()
            thing = next(t for t in (fact.a, fact.b) if v.NOUNS[t.shape].singular[0] in usual)
            assert (v.COLOUR_NAMES[thing.colour][0] in usual) == true, (premise, text)
    rare = [sum(n[names[1]] for names in v.COLOUR_NAMES) / n.total() for n in words.values()]
    assert abs(rare[0] - rare[1]) < 0.06  # the rarer synonym does not tell the label
