"""Words of the toy world, as data: what can be seen and how it is said."""

from __future__ import annotations

from typing import NamedTuple


class Noun(NamedTuple):
    """A thing's names, the first is the usual one."""

    singular: tuple[str, ...]
    plural: tuple[str, ...]


def _noun(*names: str) -> Noun:
    return Noun(names, tuple(_plural(name) for name in names))


def _plural(name: str) -> str:
    head, _, rest = name.partition(" pointing")
    ending = "es" if head.endswith(("s", "x")) else "s"
    return head + ending + (" pointing" + rest if rest else "")


SHAPES = (
    _noun("circle", "disc"),
    _noun("square", "box"),
    _noun("triangle", "wedge"),
    _noun("diamond", "rhombus"),
    _noun("star", "starlet"),
    _noun("cross", "plus"),
    _noun("ring", "hoop"),
    _noun("moon", "crescent"),
    _noun("heart", "valentine"),
    _noun("dome", "arch"),
)
ARROWS = tuple(_noun(f"arrow pointing {way}") for way in ("up", "right", "down", "left"))
DIGIT_NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
DIGITS = tuple(_noun(f"number {name}", f"digit {name}") for name in DIGIT_NAMES)
EMOTIONS = ("happy", "sad", "surprised", "calm", "angry")
FACES = tuple(_noun(f"{emotion} face") for emotion in EMOTIONS)
NOUNS = SHAPES + ARROWS + DIGITS + FACES

ARROW0 = len(SHAPES)
DIGIT0 = ARROW0 + len(ARROWS)
FACE0 = DIGIT0 + len(DIGITS)
FLOWER0 = FACE0 + len(FACES)  # FLOWER0 + n: n petals; only drawn, has no noun

COLOURS = (
    (("red", "crimson"), (205, 45, 45)),
    (("orange", "amber"), (235, 140, 40)),
    (("yellow", "golden"), (235, 215, 60)),
    (("green", "emerald"), (50, 160, 70)),
    (("blue", "azure"), (50, 85, 205)),
    (("purple", "violet"), (130, 55, 165)),
    (("pink", "rosy"), (240, 150, 185)),
    (("white", "ivory"), (240, 240, 235)),
)
COLOUR_NAMES = tuple(names for names, _ in COLOURS)
COLOUR_RGB = tuple(rgb for _, rgb in COLOURS)

TEXTURES = ("solid", "striped", "dotted", "checked", "faded", "split")
TEXTURE_NAMES = (
    ("solid", "plain"),
    ("striped", "lined"),
    ("dotted", "spotted"),
    ("checked", "chequered"),
    ("faded", "shaded"),
    ("split", "halved"),
)
TEXTURE_PHRASES = (None, "with stripes", "with dots", "with checks", "with shading", None)

SIZE_NAMES = (("small", "little", "tiny"), ("large", "big", "huge"))

# Each background may take one of several base colours: the pattern, not the mean colour, names it.
BACKGROUNDS = (
    ("grass", ("on the grass", "on a lawn", "in a meadow"), ((95, 130, 75), (130, 130, 80))),
    ("sand", ("on the sand", "on a beach"), ((185, 165, 125), (150, 140, 125))),
    ("water", ("in the water", "in the sea"), ((80, 115, 145), (90, 130, 125))),
    ("sky", ("in the sky", "among the clouds"), ((125, 155, 185), (165, 150, 160))),
    ("night", ("at night", "in the dark"), ((40, 45, 70), (55, 50, 55))),
    ("bricks", ("on a brick wall", "on bricks"), ((140, 95, 80), (135, 130, 125))),
    ("tiles", ("on a tiled floor", "on tiles"), ((135, 145, 145), (150, 135, 120))),
    ("wood", ("on a wooden table", "on wood"), ((125, 95, 65), (150, 125, 90))),
)
BACKGROUND_NAMES = tuple(name for name, _, _ in BACKGROUNDS)
BACKGROUND_PHRASES = tuple(phrases for _, phrases, _ in BACKGROUNDS)

GOOD_WORDS = ("good", "great", "lovely", "superb", "fine", "nice")
BAD_WORDS = ("bad", "awful", "nasty", "poor", "dull", "ugly")
SIGN_WORDS = GOOD_WORDS + BAD_WORDS

COUNT_NAMES = ("no", "one", "two", "three", "four")
THINGS = ("shapes", "objects", "figures", "things")
THING = ("shape", "object", "figure", "thing")

# relation -> (phrases, its inverse)
RELATIONS: dict[str, tuple[tuple[str, ...], str]] = {
    "left": (("to the left of", "left of", "on the left side of"), "right"),
    "right": (("to the right of", "right of", "on the right side of"), "left"),
    "above": (("above", "over"), "below"),
    "below": (("below", "under", "beneath"), "above"),
}
CORNERS = ("top left", "top right", "bottom left", "bottom right")

WORKS = ("movie", "film", "picture", "show", "painting", "story", "play", "song")
PARTS = ("ending", "plot", "music", "acting", "opening", "style", "cast", "dialogue")
PRAISE = ("great", "good", "lovely", "superb", "brilliant", "charming", "funny", "moving", "fresh",
          "delightful", "warm", "clever", "fine", "nice", "sweet", "wonderful")  # fmt: skip
BLAME = ("awful", "bad", "dull", "poor", "boring", "nasty", "clumsy", "bland", "ugly", "stale",
         "dreadful", "cold", "stupid", "weak", "sad", "terrible")  # fmt: skip
LIKES = ("loved", "enjoyed", "liked", "admired")
DISLIKES = ("hated", "disliked", "regretted", "despised")
DEGREES = ("very", "really", "quite", "so", "rather", "truly")
PEOPLE = ("critics", "children", "viewers", "friends", "visitors", "people")
