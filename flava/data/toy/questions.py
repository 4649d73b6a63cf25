"""Questions about scenes: their forms (VQA), their paraphrases (QQP), their evidence (QNLI)."""

from __future__ import annotations

from random import Random

from flava.data.toy import vocabulary as v
from flava.data.toy.captions import an, described, noun, relate, relations
from flava.data.toy.scenes import Thing
from flava.data.toy.statements import changed, quality, say

COLOUR = frozenset({"colour"})


def colour_question(rng: Random, thing: str) -> str:
    """Asks for the colour of "the ..."."""
    forms = ("what colour is {}", "which colour does {} have", "what is the colour of {}")
    return rng.choice(forms).format(thing) + " ?"


def texture_question(rng: Random, thing: str) -> str:
    """Asks for the texture of "the ..."."""
    forms = ("what texture does {} have", "what is the texture of {}", "which texture is on {}")
    return rng.choice(forms).format(thing) + " ?"


def relation_question(rng: Random, relation: str, thing: str) -> str:
    """Asks what is, e.g., left of "the ..."."""
    there, back = relate(rng, relation), relate(rng, v.RELATIONS[relation][1])
    forms = (
        f"what is {there} {thing} ?",
        f"which shape lies {there} {thing} ?",
        f"{thing} is {back} which shape ?",
    )
    return rng.choice(forms)


def exists_question(rng: Random, thing: str) -> str:
    """Asks whether "a ..." is there."""
    forms = ("is there {}", "do you see {}", "can you find {}", "does the picture show {}")
    return rng.choice(forms).format(thing) + " ?"


def count_question(rng: Random, things: str) -> str:
    """Asks how many there are."""
    forms = ("how many {} are there", "what is the count of {}", "how many {} do you see")
    return rng.choice(forms).format(things) + " ?"


def dialogue(rng: Random, things: list[Thing]) -> list[str]:
    """Questions and answers about a scene of things of different shapes."""
    a, b = rng.sample(things, 2)
    relation = rng.choice(relations(a, b))
    the_a, the_b = f"the {noun(rng, a)}", f"the {noun(rng, b)}"
    colour = quality(rng, a, "colour")
    wrong = say(rng, changed(rng, a, "shape", tuple(t.shape for t in things)))
    pairs = [
        [colour_question(rng, the_a), f"{the_a} is {colour} ."],
        [texture_question(rng, the_a), f"{the_a} is {quality(rng, a, 'texture')} ."],
        [
            relation_question(rng, relation, the_b),
            f"{say(rng, a, COLOUR)} is {relate(rng, relation)} {the_b} .",
        ],
        [exists_question(rng, say(rng, a, COLOUR)), f"yes , there is {say(rng, a, COLOUR)} ."],
        [exists_question(rng, wrong), f"no , there is not {wrong} ."],
    ]
    return [line for pair in rng.sample(pairs, 2) for line in pair]


def duplicates(rng: Random, things: list[Thing]) -> tuple[str, str, bool]:
    """Two questions and whether they ask the same."""
    a, b = rng.sample(things, 2)
    relation = rng.choice(list(v.RELATIONS))
    kind = rng.choice(("colour", "texture", "relation", "exists", "count"))
    same = rng.random() < 0.5
    second, kind2, relation2 = a, kind, relation
    if not same:
        draw = rng.random()
        if draw < 0.4:
            second = rng.choice((b, changed(rng, a, "colour"), changed(rng, a, "shape")))
        elif draw < 0.7 and kind == "relation":
            relation2 = v.RELATIONS[relation][1]
        else:
            kinds = ("colour", "texture", "relation", "exists")
            kind2 = rng.choice([k for k in kinds if k != kind])
    return _ask(rng, kind, a, relation), _ask(rng, kind2, second, relation2), same


def _ask(rng: Random, kind: str, thing: Thing, relation: str) -> str:
    the = say(rng, thing, COLOUR, the=True)
    if kind == "colour":
        return colour_question(rng, the)
    if kind == "texture":
        return texture_question(rng, the)
    if kind == "relation":
        return relation_question(rng, relation, the)
    if kind == "exists":
        return exists_question(rng, an(the.removeprefix("the ")))
    return count_question(rng, described(rng, thing, 1, 0, 0, plural=True))
