"""Statements about two things, and what follows from them, may be so, or cannot be."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from random import Random

import numpy as np

from flava.data.toy import vocabulary as v
from flava.data.toy.captions import an, described, name, relate, relations
from flava.data.toy.scenes import Thing, sample

ATTRIBUTES = ("size", "texture", "colour")


@dataclass(frozen=True)
class Statement:
    """ "`a` is `relation` `b`", with the attributes in `told` mentioned."""

    a: Thing
    relation: str
    b: Thing
    told: frozenset[str]

    def turned(self) -> Statement:
        """The same said from the other end."""
        return replace(self, a=self.b, b=self.a, relation=v.RELATIONS[self.relation][1])


def say(rng: Random, thing: Thing, told: frozenset[str] = frozenset(), the: bool = False) -> str:
    """A noun phrase with exactly the attributes `told` (texture only where it is not solid)."""
    texture = float("texture" in told and thing.texture > 0)
    phrase = described(rng, thing, float("colour" in told), texture, float("size" in told))
    return f"the {phrase}" if the else an(phrase)


def state(rng: Random, statement: Statement) -> str:
    """The statement as a sentence, in one of several forms."""
    if rng.random() < 0.4:
        statement = statement.turned()
    a, b = (say(rng, thing, statement.told) for thing in (statement.a, statement.b))
    relation = relate(rng, statement.relation)
    forms = (
        f"{a} is {relation} {b} .",
        f"there is {a} {relation} {b} .",
        f"{relation} {b} there is {a} .",
        f"we see {a} {relation} {b} .",
    )
    return rng.choice(forms)


def scenes_of(rng: np.random.Generator, counts: tuple[int, int]) -> Iterator[list[Thing]]:
    """Endless scenes of plain shapes that all differ in shape, so that a noun names one thing."""
    while True:
        batch = sample(rng, 512, counts, shapes=np.arange(len(v.SHAPES)))
        for things in batch.things():
            if len({thing.shape for thing in things}) == len(things):
                yield things


def statement(rng: Random, things: list[Thing]) -> Statement:
    """A true statement about two of the things."""
    a, b = rng.sample(things, 2)
    told = {"colour", *(x for x in ("size", "texture") if rng.random() < 0.5)}
    return Statement(a, rng.choice(relations(a, b)), b, frozenset(told))


def other(rng: Random, value: int, count: int, taken: tuple[int, ...] = ()) -> int:
    """A value of range(count) that is neither `value` nor taken."""
    return rng.choice([x for x in range(count) if x != value and x not in taken])


def changed(rng: Random, thing: Thing, attribute: str, taken: tuple[int, ...] = ()) -> Thing:
    """The thing with another colour, texture, size or shape."""
    counts = {
        "colour": len(v.COLOURS),
        "texture": len(v.TEXTURES),
        "size": len(v.SIZE_NAMES),
        "shape": len(v.SHAPES),
    }
    value = getattr(thing, attribute)
    new = other(rng, value, counts[attribute], taken if attribute == "shape" else ())
    return thing._replace(**{attribute: new})


def near_miss(rng: Random, fact: Statement) -> Statement:
    """Another statement with one change: roles, relation, or an attribute that is told."""
    draw = rng.random()
    if draw < 0.2:
        return replace(fact, a=fact.b, b=fact.a)
    if draw < 0.4:
        return replace(fact, relation=v.RELATIONS[fact.relation][1])
    attribute = rng.choice([*sorted(fact.told), "shape"])
    taken = (fact.a.shape, fact.b.shape)
    if rng.random() < 0.5:
        return replace(fact, a=changed(rng, fact.a, attribute, taken))
    return replace(fact, b=changed(rng, fact.b, attribute, taken))


def quality(rng: Random, thing: Thing, attribute: str) -> str:
    """An adjective for the thing's colour, texture or size."""
    if attribute == "colour":
        return name(rng, v.COLOUR_NAMES[thing.colour])
    if attribute == "texture":
        return name(rng, v.TEXTURE_NAMES[thing.texture])
    return rng.choice(v.SIZE_NAMES[thing.size])


def hypothesis(rng: Random, fact: Statement, label: str) -> str:
    """A sentence that the fact entails, contradicts or leaves open ("neutral").

    The same forms serve all three labels, so that the sentence alone tells little.
    """
    if rng.random() < 0.5:
        fact = fact.turned()
    a, b = fact.a, fact.b
    form = rng.choice(("exists", "relation", "quality", "quality"))
    colour = frozenset({"colour"})
    if form == "relation":
        way = {
            "entailment": fact.relation,
            "contradiction": v.RELATIONS[fact.relation][1],
            "neutral": rng.choice(_across(fact.relation)),
        }[label]
        return state(rng, replace(fact, relation=way, told=frozenset()))
    if form == "exists":
        if label == "neutral":
            a = changed(rng, a, "shape", (b.shape,))
        if label == "contradiction":
            return f"the {_noun(a)} is not {quality(rng, a, 'colour')} ."
        return f"there is {say(rng, a, colour)} ."
    told = [x for x in ATTRIBUTES if x in fact.told and (x != "texture" or a.texture)]
    untold = [x for x in ("size", "texture") if x not in fact.told]
    if label == "neutral":
        if not untold:
            return f"the {_noun(changed(rng, a, 'shape', (b.shape,)))} is {_any_quality(rng, a)} ."
        return f"the {_noun(a)} is {quality(rng, a, rng.choice(untold))} ."
    attribute = rng.choice(told)
    if label == "contradiction":
        a = changed(rng, a, attribute)
    return f"the {_noun(a)} is {quality(rng, a, attribute)} ."


def reworded(rng: Random, fact: Statement, premise: str, true: bool) -> str:
    """A sentence on one of the fact's things that follows, or has another colour.

    Its colour is never a word of the premise: only who knows that crimson is red can tell. A third
    of the false sentences have the colour of the fact's other thing, the others one of neither.
    fact: of things of two colours.
    """
    a, b = rng.sample((fact.a, fact.b), 2)
    colour = a.colour
    if not true:
        colour = b.colour
        if rng.random() < 2 / 3:
            colour = other(rng, colour, len(v.COLOURS), (a.colour,))
    first, second = v.COLOUR_NAMES[colour]
    said = premise.split()
    present = first in said or (second not in said and name(rng, (first, second)) == first)
    noun = name(rng, v.NOUNS[a.shape].singular)
    word = second if present else first
    return rng.choice((f"the {noun} is {word} .", f"there is {an(f'{word} {noun}')} ."))


def _across(relation: str) -> tuple[str, str]:
    return ("above", "below") if relation in ("left", "right") else ("left", "right")


def _noun(thing: Thing) -> str:
    return v.NOUNS[thing.shape].singular[0]


def _any_quality(rng: Random, thing: Thing) -> str:
    return quality(rng, thing, rng.choice(ATTRIBUTES))
