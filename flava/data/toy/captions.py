"""Says what is in a scene: noun phrases, places, relations, counts and whole captions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from random import Random

from flava.data.toy import vocabulary as v
from flava.data.toy.scenes import NO, Thing

VOWELS = tuple("aeiou")
OPENINGS = ("a photo of {}", "a picture of {}", "there is {}", "{}", "{}", "{}", "this is {}",
            "we see {}", "an image with {}")  # fmt: skip


def an(phrase: str) -> str:
    """The phrase with its indefinite article."""
    return f"{'an' if phrase.startswith(VOWELS) else 'a'} {phrase}"


def name(rng: Random, names: Sequence[str], usual: float = 0.75) -> str:
    """One of the synonyms, mostly the first."""
    return names[0] if rng.random() < usual else rng.choice(names)


def noun(rng: Random, thing: Thing, plural: bool = False) -> str:
    """The bare noun."""
    forms = v.NOUNS[thing.shape]
    return name(rng, forms.plural if plural else forms.singular)


def described(
    rng: Random,
    thing: Thing,
    colour: float = 0.9,
    texture: float = 0.6,
    size: float = 0.35,
    plural: bool = False,
) -> str:
    """Adjectives and noun, without article; the numbers are chances of each attribute's mention."""
    words = []
    if rng.random() < size:
        words.append(rng.choice(v.SIZE_NAMES[thing.size]))
    after = ""
    if rng.random() < texture and (thing.texture or rng.random() < 0.15):
        phrase = v.TEXTURE_PHRASES[thing.texture]
        if phrase and rng.random() < 0.3:
            after = f" {phrase}"
        else:
            words.append(name(rng, v.TEXTURE_NAMES[thing.texture]))
    if rng.random() < colour:
        words.append(name(rng, v.COLOUR_NAMES[thing.colour]))
    return " ".join([*words, noun(rng, thing, plural)]) + after


def relations(a: Thing, b: Thing) -> list[str]:
    """Relations of `a` to `b` by their cells: names of RELATIONS."""
    found = []
    if a.cell % 2 != b.cell % 2:
        found.append("left" if a.cell % 2 < b.cell % 2 else "right")
    if a.cell // 2 != b.cell // 2:
        found.append("above" if a.cell // 2 < b.cell // 2 else "below")
    return found


def relate(rng: Random, relation: str) -> str:
    """Words for a relation."""
    return rng.choice(v.RELATIONS[relation][0])


def group(rng: Random, things: Sequence[Thing]) -> str | None:
    """ "two red stars" for the largest group of like things, if there is one."""
    (kind, count) = Counter((thing.shape, thing.colour) for thing in things).most_common(1)[0]
    if count < 2:
        return None
    first = next(thing for thing in things if (thing.shape, thing.colour) == kind)
    same = len({t.texture for t in things if (t.shape, t.colour) == kind}) == 1
    texture = 0.6 if same else 0.0
    return f"{v.COUNT_NAMES[count]} {described(rng, first, texture=texture, size=0, plural=True)}"


def tally(rng: Random, things: Sequence[Thing]) -> str:
    """ "three shapes"."""
    words = v.THING if len(things) == 1 else v.THINGS
    return f"{v.COUNT_NAMES[len(things)]} {rng.choice(words)}"


def listing(rng: Random, things: Sequence[Thing]) -> str:
    """ "a red star and a large ring"; at most two things."""
    chosen = rng.sample(list(things), min(len(things), 2))
    return " and ".join(an(described(rng, thing)) for thing in chosen)


def content(rng: Random, things: Sequence[Thing]) -> str:
    """A phrase for one or two objects, a group or a count."""
    draw = rng.random()
    if len(things) > 1 and draw < 0.5:
        alike = group(rng, things)
        if alike:
            return alike
    if draw < 0.07:
        return tally(rng, things)
    if len(things) > 1 and draw < 0.65:
        a, b = rng.sample(list(things), 2)
        relation = relate(rng, rng.choice(relations(a, b)))
        return f"{an(described(rng, a))} {relation} {an(described(rng, b))}"
    if len(things) > 1 and draw < 0.85:
        text = listing(rng, things)
        return f"{tally(rng, things)} , {text}" if rng.random() < 0.2 else text
    thing = rng.choice(things)
    corner = len(things) > 1 and rng.random() < 0.2
    place = f" in the {v.CORNERS[thing.cell]}" if corner else ""
    return an(described(rng, thing)) + place


def caption(rng: Random, things: Sequence[Thing], background: int, word: int) -> str:
    """One caption of a scene, as a person might write it."""
    text = content(rng, things)
    if word != NO and rng.random() < 0.9:
        text += rng.choice((" with a sign that says ", " and the word ", " and a sign that says "))
        text += v.SIGN_WORDS[word]
    if rng.random() < 0.3:
        text += " " + rng.choice(v.BACKGROUND_PHRASES[background])
    text = rng.choice(OPENINGS).format(text)
    if text.startswith("there is ") and text[9:].startswith(v.COUNT_NAMES[2:]):
        text = "there are " + text[9:]
    if rng.random() < 0.5:
        text = text[0].upper() + text[1:]
    return text + (" ." if rng.random() < 0.5 else "")
