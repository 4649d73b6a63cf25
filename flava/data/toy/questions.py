"""Questions about scenes: their answers (VQA), their paraphrases (QQP), their evidence (QNLI)."""

from __future__ import annotations

from random import Random

from flava.data.toy import vocabulary as v
from flava.data.toy.captions import an, described, name, noun, relate, relations
from flava.data.toy.scenes import NO, Thing
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


def visual(rng: Random, things: list[Thing], background: int, word: int) -> tuple[str, str, str]:
    """A question about a picture, its answer and its VQA answer type.

    Names are asked for where they are unambiguous: a shape that occurs once.
    """
    once = [t for t in things if sum(t.shape == o.shape for o in things) == 1]
    kinds = ["exists", "exists", "exists", "count", "place"]
    if once:
        kinds += ["colour", "colour", "texture"]
        if len(once) > 1:
            kinds += ["relation", "relation"]
    if word != NO:
        kinds += ["sign", "sign"]
    kind = rng.choice(kinds)
    if kind == "exists":
        return _exists(rng, things)
    if kind == "count":
        return count_question(rng, rng.choice(v.THINGS)), str(len(things)), "number"
    if kind == "place":
        return "where is this ?", v.BACKGROUND_NAMES[background], "other"
    if kind == "sign":
        return "what does the sign say ?", v.SIGN_WORDS[word], "other"
    thing = rng.choice(once)
    the = f"the {v.NOUNS[thing.shape].singular[0]}"
    if kind == "colour":
        return colour_question(rng, the), v.COLOUR_NAMES[thing.colour][0], "other"
    if kind == "texture":
        return texture_question(rng, the), v.TEXTURES[thing.texture], "other"
    a, b = rng.sample(once, 2)
    question = relation_question(rng, rng.choice(relations(a, b)), _the(b, rng))
    both = [t for t in things if set(relations(t, b)) & set(relations(a, b))]
    if len(both) > 1:  # more than one thing lies there: ask for its colour by name instead
        return colour_question(rng, _the(a, rng)), v.COLOUR_NAMES[a.colour][0], "other"
    return question, v.NOUNS[a.shape].singular[0], "other"


def _the(thing: Thing, rng: Random) -> str:
    return f"the {name(rng, v.NOUNS[thing.shape].singular)}"


def _exists(rng: Random, things: list[Thing]) -> tuple[str, str, str]:
    """Half the answers are yes; a no differs in one attribute from something there."""
    thing = rng.choice(things)
    attributes = COLOUR | ({"texture"} if thing.texture and rng.random() < 0.4 else set())
    if rng.random() < 0.5:
        return exists_question(rng, say(rng, thing, attributes)), "yes", "yes/no"
    present = {(t.shape, t.colour) for t in things}
    while True:
        wrong = _near_miss(rng, thing)
        if (wrong.shape, wrong.colour) not in present:
            return exists_question(rng, say(rng, wrong, attributes)), "no", "yes/no"


def _near_miss(rng: Random, thing: Thing) -> Thing:
    if rng.random() < 0.5:
        return changed(rng, thing, "colour")
    return changed(rng, thing, "shape")


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
