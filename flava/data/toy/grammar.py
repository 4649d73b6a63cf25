"""Sentences about one and many things, and ways to break their grammar with the same words."""

from __future__ import annotations

from random import Random

from flava.data.toy import vocabulary as v
from flava.data.toy.captions import VOWELS, name, relate

Tagged = list[tuple[str, str]]  # word and D(eterminer) A(djective) N(oun) V(erb) P(reposition)
MANY = ("two", "three", "the", "some", "many")


def phrase(rng: Random, many: bool, adjectives: int | None = None) -> Tagged:
    """A tagged noun phrase."""
    count = rng.choice((1, 1, 2)) if adjectives is None else adjectives
    words: Tagged = []
    if count == 2:
        words.append((rng.choice(v.SIZE_NAMES[rng.randrange(2)]), "A"))
    if count:
        words.append((name(rng, rng.choice(v.COLOUR_NAMES)), "A"))
    shape = rng.choice(v.SHAPES)
    words.append((name(rng, shape.plural if many else shape.singular), "N"))
    one = "an" if words[0][0].startswith(VOWELS) else "a"
    determiner = rng.choice(MANY) if many else rng.choice((one, "the", "the", "this"))
    return [(determiner, "D"), *words]


def tagged(rng: Random, many: bool) -> Tagged:
    """A tagged grammatical sentence whose subject is one thing or many."""
    subject = phrase(rng, many)
    if rng.random() < 0.4:  # a noun of the other number stands between subject and verb
        relation = relate(rng, rng.choice(list(v.RELATIONS)))
        subject += [(relation, "P"), *phrase(rng, not many, 0)]
    relation = relate(rng, rng.choice(list(v.RELATIONS)))
    draw = rng.random()
    if draw < 0.5:
        verb = ("are" if many else "is", "V")
        rest = [(relation, "P"), *phrase(rng, rng.random() < 0.5)]
    elif draw < 0.75:
        verb = ("are" if many else "is", "V")
        rest = [(name(rng, rng.choice(v.COLOUR_NAMES + v.TEXTURE_NAMES)), "A")]
    else:
        verb = ("have" if many else "has", "V")
        rest = [(rng.choice([p.split()[1] for p in v.TEXTURE_PHRASES if p]), "N")]
    return [*subject, verb, *rest]


def grammatical(rng: Random) -> str:
    """A grammatical sentence."""
    return joined(tagged(rng, rng.random() < 0.5))


def ungrammatical(rng: Random) -> str:
    """A sentence with wrong agreement, or with two words in the wrong order."""
    words = tagged(rng, rng.random() < 0.5)
    if rng.random() < 0.5:
        flip = {"is": "are", "are": "is", "has": "have", "have": "has"}
        return joined([(flip[word] if tag == "V" else word, tag) for word, tag in words])
    places = [i for i in range(len(words) - 1) if _swap_breaks(words[i][1], words[i + 1][1])]
    i = rng.choice(places)
    words[i], words[i + 1] = words[i + 1], words[i]
    return joined(words)


def _swap_breaks(first: str, second: str) -> bool:
    return (first, second) in {("D", "A"), ("D", "N"), ("A", "N"), ("P", "D"), ("V", "P")}


def joined(words: Tagged) -> str:
    """The words as a sentence."""
    return " ".join(word for word, _ in words) + " ."
