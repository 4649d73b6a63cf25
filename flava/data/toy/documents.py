"""The text-only corpus: short coherent documents about the toy world and reviews."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from flava.data.toy import questions
from flava.data.toy import vocabulary as v
from flava.data.toy.captions import an, described, group, name, noun, relate, tally
from flava.data.toy.grammar import grammatical
from flava.data.toy.reviews import review
from flava.data.toy.scenes import Thing, sample
from flava.data.toy.seeds import Seed, generators
from flava.data.toy.statements import (
    ATTRIBUTES,
    near_miss,
    quality,
    say,
    scenes_of,
    state,
    statement,
)


def story(rng: Random, things: list[Thing], background: int) -> list[str]:
    """A scene told in a few sentences, with what follows from them."""
    place = rng.choice(v.BACKGROUND_PHRASES[background])
    lines = [f"there {'is' if len(things) == 1 else 'are'} {tally(rng, things)} {place} ."]
    if len(things) == 1 or len({thing.shape for thing in things}) < len(things):
        alike = group(rng, things)
        if alike:
            lines.append(f"we see {alike} .")
        thing = things[0]
        where = f"in the {v.CORNERS[thing.cell]}" if len(things) > 1 else "in the middle"
        lines.append(f"{an(described(rng, thing))} is {where} .")
        return lines
    fact = statement(rng, things)
    lines.append(state(rng, fact))
    turned = fact.turned()
    b, a = (say(rng, thing, the=True) for thing in (turned.a, turned.b))
    lines.append(f"so {b} is {relate(rng, turned.relation)} {a} .")
    attribute = rng.choice(ATTRIBUTES)
    lines.append(f"the {noun(rng, fact.a)} is {quality(rng, fact.a, attribute)} .")
    return lines


def restated(rng: Random, things: list[Thing]) -> list[str]:
    """Statements in other words, or set against near misses."""
    fact = statement(rng, things)
    lines = [state(rng, fact)]
    for _ in range(2):
        if rng.random() < 0.6:
            lines.append(f"{rng.choice(('that is', 'in other words'))} , {state(rng, fact)}")
        else:
            lines.append(f"but it is not so that {state(rng, near_miss(rng, fact))}")
    return lines


def fact(rng: Random) -> list[str]:
    """What words mean: synonyms, opposites, relations."""
    relation = rng.choice(list(v.RELATIONS))
    shape, colour = rng.choice(v.SHAPES), rng.choice(v.COLOUR_NAMES)
    texture = rng.randrange(1, len(v.TEXTURE_NAMES))
    size = rng.randrange(2)
    x, y = (rng.choice(v.SHAPES).singular[0] for _ in range(2))
    way, back = relate(rng, relation), relate(rng, v.RELATIONS[relation][1])
    good = rng.random() < 0.5
    words, others = (v.PRAISE, v.BLAME) if good else (v.BLAME, v.PRAISE)
    lines = [
        f"{an(shape.singular[1])} is {an(shape.singular[0])} .",
        f"{colour[1]} means {colour[0]} .",
        f"{an(colour[1])} {x} is {colour[0]} .",
        f"if the {x} is {way} the {y} , then the {y} is {back} the {x} .",
        f"{an(v.SIZE_NAMES[size][1])} {x} is {name(rng, v.SIZE_NAMES[size], 0.5)} , "
        f"not {rng.choice(v.SIZE_NAMES[1 - size])} .",
        f"{an(v.TEXTURE_NAMES[texture][1])} {x} is {v.TEXTURE_NAMES[texture][0]} .",
        f"what is {rng.choice(words)} is {rng.choice(words)} , not {rng.choice(others)} .",
    ]
    return rng.sample(lines, rng.randint(2, 4))


def documents(seed: Seed, sentences: int, kinds: str) -> Iterator[str]:
    """Documents, one a line, until they hold `sentences` sentences.

    kinds: letters to draw from: s stories, r reviews, f facts, q questions with their answers,
    g single grammatical sentences about one and many, p statements in other words.
    """
    numbers, rng = generators(seed)
    distinct = scenes_of(numbers, (2, 3))
    written = 0
    while written < sentences:
        scenes = sample(numbers, 256, (1, 3))
        backgrounds = scenes.background.tolist()
        for things, background in zip(scenes.things(), backgrounds, strict=True):
            kind = rng.choice(kinds)
            if kind == "s":
                mixed = things if rng.random() < 0.3 else next(distinct)
                lines = story(rng, mixed, background)
            elif kind == "r":
                lines = [f"{line} ." for line in review(rng)]
            elif kind == "p":
                lines = restated(rng, next(distinct))
            elif kind == "f":
                lines = fact(rng)
            elif kind == "q":
                lines = questions.dialogue(rng, next(distinct))
            else:
                lines = [grammatical(rng) for _ in range(3)]
            written += len(lines)
            yield " ".join(lines)
            if written >= sentences:
                return
