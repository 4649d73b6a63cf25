"""Stand-ins for the eight GLUE rows in the official TSV columns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

from flava.data.toy import questions, reviews
from flava.data.toy import vocabulary as v
from flava.data.toy.captions import name, noun, relate, relations
from flava.data.toy.files import write_tsv
from flava.data.toy.grammar import grammatical, ungrammatical
from flava.data.toy.scenes import Thing
from flava.data.toy.seeds import Seed, generators
from flava.data.toy.statements import (
    ATTRIBUTES,
    changed,
    hypothesis,
    near_miss,
    other,
    quality,
    reworded,
    say,
    scenes_of,
    state,
    statement,
)

Row = Sequence[object]
COLOUR = frozenset({"colour"})


@dataclass(frozen=True)
class Source:
    """What rows are made from: endless scenes, and whether the part is scored or trained on."""

    scenes: Iterator[list[Thing]]
    scored: bool

    def things(self) -> list[Thing]:
        """The next scene's things, all of different shapes."""
        return next(self.scenes)


def cola(rng: Random, source: Source, i: int) -> Row:
    """Acceptable or not: the same words, wrong agreement or order."""
    if i % 2:
        return "toy", 1, "", grammatical(rng)
    return "toy", 0, "*", ungrammatical(rng)


def sst2(rng: Random, source: Source, i: int) -> Row:
    """Sentiment of a review sentence; a third of them turn a word's sentiment.

    Three quarters of the scored adjectives occur in training; the text corpus has them all.
    """
    known = None if source.scored else 3 * len(v.PRAISE) // 4
    return reviews.sentence(rng, i % 2 == 1, 0.35, known) + " ", i % 2


def mrpc(rng: Random, source: Source, i: int) -> Row:
    """Two statements of one fact in other words, or statements that share a thing.

    Of those that are no paraphrase, half tell of another scene, the others are near misses.
    """
    fact = replace(statement(rng, source.things()), told=COLOUR)
    second = fact
    if not i % 2:
        second = near_miss(rng, fact)
        if rng.random() < 0.5:
            another = statement(rng, source.things())
            second = replace(fact, b=another.b, relation=another.relation)
    return i % 2, 2 * i, 2 * i + 1, state(rng, fact), state(rng, second)


def qqp(rng: Random, source: Source, i: int) -> Row:
    """Whether two questions ask the same."""
    while True:
        first, second, same = questions.duplicates(rng, source.things())
        if same == bool(i % 2) and first != second:
            return i, 2 * i, 2 * i + 1, first, second, i % 2


def stsb(rng: Random, source: Source, i: int) -> Row:
    """How much of a short description is kept: 5 less one for each of five changed attributes."""
    first = rng.choice(source.things())
    place = rng.randrange(len(v.BACKGROUNDS))
    second, elsewhere = first, place
    for change in rng.sample(("size", "texture", "colour", "shape", "place"), 5 - i % 6):
        if change == "place":
            elsewhere = other(rng, place, len(v.BACKGROUNDS))
        else:
            second = changed(rng, second, change)
    score = min(5.0, max(0.0, i % 6 + rng.choice((-0.4, -0.2, 0.0, 0.0, 0.2, 0.4))))
    row = (i, "main-captions", "toy", "2012test", f"{i:04d}", "none", "none")
    return *row, _seen(rng, first, place), _seen(rng, second, elsewhere), f"{score:.3f}"


def _seen(rng: Random, thing: Thing, place: int) -> str:
    where = name(rng, v.BACKGROUND_PHRASES[place], 0.7)
    return f"{say(rng, thing, frozenset(ATTRIBUTES))} {where} ."


def mnli(rng: Random, source: Source, i: int) -> Row:
    """What follows from a statement, contradicts it, or is left open."""
    label = ("entailment", "neutral", "contradiction")[i % 3]
    premise, text = _entailment(rng, source.things(), label)
    parses = (premise, text, premise, text)
    return i, i, f"{i}{label[0]}", "toy", *parses, premise, text, label, label


def rte(rng: Random, source: Source, i: int) -> Row:
    """Whether a second sentence, in words that the first has not, follows from it."""
    fact = replace(statement(rng, source.things()), told=COLOUR)
    if fact.a.colour == fact.b.colour:
        fact = replace(fact, b=changed(rng, fact.b, "colour"))
    premise = state(rng, fact)
    label = "entailment" if i % 2 else "not_entailment"
    return i, premise, reworded(rng, fact, premise, i % 2 == 1), label


def _entailment(rng: Random, things: list[Thing], label: str) -> tuple[str, str]:
    fact = statement(rng, things)
    return state(rng, fact), hypothesis(rng, fact, label)


def qnli(rng: Random, source: Source, i: int) -> Row:
    """Whether a sentence answers a question about the same thing."""
    things = source.things()
    a, b = rng.sample(things, 2)
    relation = rng.choice(relations(a, b))
    the_a, the_b = f"the {noun(rng, a)}", f"the {noun(rng, b)}"
    yes = bool(i % 2)
    if rng.random() < 0.5:
        question = questions.relation_question(rng, relation, the_b)
        told = relation if yes else v.RELATIONS[relation][1]
        text = f"{say(rng, a, COLOUR)} is {relate(rng, told)} {the_b} ."
        if not yes and rng.random() < 0.4:
            text = f"{the_b} is {relate(rng, relation)} {say(rng, a, COLOUR)} ."
    else:
        attribute, lack = rng.choice((("colour", "texture"), ("texture", "colour")))
        ask = questions.colour_question if attribute == "colour" else questions.texture_question
        question = ask(rng, the_a)
        told = attribute if yes or rng.random() < 0.4 else lack
        subject = the_a if yes or told == lack else the_b
        about = a if yes or told == lack else b
        text = f"{subject} , {relate(rng, relation)} {the_b if subject == the_a else the_a} , "
        text += f"is {quality(rng, about, told)} ."
    return i, question, text, "entailment" if yes else "not_entailment"


@dataclass(frozen=True)
class GlueTask:
    """Official folder's columns and the maker of row i (labels cycle with i)."""

    header: Sequence[str] | None
    row: Callable[[Random, Source, int], Row]
    dev: Sequence[str] = ("dev",)


_PARSES = ("sentence1_binary_parse", "sentence2_binary_parse", "sentence1_parse", "sentence2_parse")
_STS = ("index", "genre", "filename", "year", "old_index", "source1", "source2")
GLUE_TASKS = {
    "CoLA": GlueTask(None, cola),
    "SST-2": GlueTask(("sentence", "label"), sst2),
    "MRPC": GlueTask(("Quality", "#1 ID", "#2 ID", "#1 String", "#2 String"), mrpc),
    "QQP": GlueTask(("id", "qid1", "qid2", "question1", "question2", "is_duplicate"), qqp),
    "STS-B": GlueTask((*_STS, "sentence1", "sentence2", "score"), stsb),
    "MNLI": GlueTask(
        ("index", "promptID", "pairID", "genre", *_PARSES, "sentence1", "sentence2", "label1",
         "gold_label"), mnli, ("dev_matched", "dev_mismatched"),
    ),
    "QNLI": GlueTask(("index", "question", "sentence", "label"), qnli),
    "RTE": GlueTask(("index", "sentence1", "sentence2", "label"), rte),
}  # fmt: skip


def write_glue_task(root: Path, task: str, seed: Seed, train: int, test: int) -> dict[str, int]:
    """Writes <root>/<task>/{train,dev}.tsv: labels balanced, rows in random order."""
    spec = GLUE_TASKS[task]
    numbers, rng = generators(seed)
    scenes = scenes_of(numbers, (2, 3))
    counts = {}
    for split, n in (("train", train), *((dev, test) for dev in spec.dev)):
        rows = [spec.row(rng, Source(scenes, split != "train"), i) for i in range(max(n, 6))]
        rng.shuffle(rows)
        write_tsv(root / task / f"{split}.tsv", rows, spec.header)
        counts[split] = len(rows)
    return counts
