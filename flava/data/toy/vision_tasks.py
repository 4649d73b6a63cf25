"""Stand-ins for the linear-probe rows: labelled scenes by class."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from flava.data.toy import scenes as s
from flava.data.toy import vocabulary as v
from flava.data.toy.scenes import NO, Ints, Scenes
from flava.data.toy.shapes import PETALS

Rng = np.random.Generator
PLAIN = range(len(v.SHAPES))
COLOUR = v.COLOUR_NAMES
SHAPE = [noun.singular[0] for noun in v.NOUNS]


@dataclass(frozen=True)
class VisionTask:
    """A labelled image set: class names (in label order) and a painter of N labelled scenes."""

    classes: Sequence[str]
    paint: Callable[[Rng, Ints], Scenes]


def _main(
    rng: Rng,
    n: int,
    others: tuple[int, int] = (0, 0),
    radius: tuple[float, float] = (0.22, 0.32),
    shift: float = 0.06,
) -> Scenes:
    """Scenes with one main object in slot 4, on top of small others; symbols may be changed.

    radius, shift: range of its radius and of its distance from the middle, in image sides.
    """
    scenes = s.sample(rng, n, (others[0], others[1]), shapes=np.array([*PLAIN]))
    scenes.size[:] = 0
    s.lay_out(rng, scenes, middle=False)
    top = s.SLOTS - 1
    scenes.shape[:, top] = rng.integers(len(PLAIN), size=n)
    scenes.radius[:, :top] *= 0.85
    scenes.radius[:, top] = rng.uniform(*radius, size=n)
    scenes.x[:, top] = 0.5 + rng.uniform(-shift, shift, size=n)
    scenes.y[:, top] = 0.5 + rng.uniform(-shift, shift, size=n)
    scenes.angle[:, top] = rng.uniform(-0.15, 0.15, size=n)
    return scenes


TOP = s.SLOTS - 1
WIDE = 0.24  # shift of a main object that may be anywhere: as far out as a cell of captioned scenes


def _usual(rng: Rng, colour: Ints) -> Ints:
    """The given colours in four of five cases, else any."""
    some = rng.integers(len(COLOUR), size=colour.shape)
    return np.where(rng.random(colour.shape) < 0.8, colour, some)


def _own_colours(rng: Rng, kind: Ints) -> Ints:
    """Mostly one of the two colours that things of a kind have, as animals do; kinds share them."""
    return _usual(rng, (kind * 3 + 4 * rng.integers(2, size=len(kind))) % len(COLOUR))


# Every colour and every shape is in three or two of the classes: neither alone tells the class.
IMAGENET = [(colour, (colour * 3 + step * 4) % 10) for colour in range(8) for step in range(3)]


def imagenet(rng: Rng, label: Ints, shift: float = 0.08) -> Scenes:
    """A shape of a colour among one or two small others."""
    scenes = _main(rng, len(label), (1, 2), (0.22, 0.3), shift)
    pair = np.array(IMAGENET)[label]
    scenes.colour[:, TOP], scenes.shape[:, TOP] = pair[:, 0], pair[:, 1]
    return s.paint(rng, scenes)


def food101(rng: Rng, label: Ints) -> Scenes:
    """What lies on a white plate: a colour with stripes or dots."""
    scenes = _main(rng, len(label), radius=(0.22, 0.3), shift=0.1)
    scenes.colour[:, TOP], scenes.texture[:, TOP] = label // 2, 1 + label % 2
    plate = TOP - 1
    for field in ("x", "y"):
        getattr(scenes, field)[:, plate] = getattr(scenes, field)[:, TOP]
    scenes.shape[:, plate], scenes.colour[:, plate], scenes.texture[:, plate] = 0, 7, 0
    scenes.radius[:, plate] = scenes.radius[:, TOP] * 1.4
    return s.paint(rng, scenes)


def cifar10(rng: Rng, label: Ints) -> Scenes:
    """One object anywhere, noisy: its shape, and the two colours of its kind."""
    scenes = _main(rng, len(label), radius=(0.2, 0.3), shift=WIDE)
    scenes.shape[:, TOP], scenes.colour[:, TOP] = label, _own_colours(rng, label)
    scenes.noise = rng.uniform(4, 16, len(label)).astype(np.float32)
    return s.paint(rng, scenes)


def cifar100(rng: Rng, label: Ints) -> Scenes:
    """One object anywhere, noisy: one of five shapes, mostly in one of eight colours."""
    scenes = _main(rng, len(label), radius=(0.2, 0.3), shift=WIDE)
    scenes.colour[:, TOP] = _usual(rng, label // 5)
    scenes.shape[:, TOP] = np.array([0, 1, 2, 5, 9])[label % 5]
    scenes.noise = rng.uniform(5, 18, len(label)).astype(np.float32)
    return s.paint(rng, scenes)


def cars(rng: Rng, label: Ints) -> Scenes:
    """A dome on two wheels, anywhere: its body (six) and wheels (two) in usual colours."""
    scenes = _main(rng, len(label), radius=(0.24, 0.3), shift=0.18)
    scenes.shape[:, TOP], scenes.colour[:, TOP] = 9, _usual(rng, label % 6)
    scenes.angle[:, TOP] = 0
    wheels = _usual(rng, 6 + label // 6)
    for slot, side in ((0, -1), (1, 1)):
        scenes.shape[:, slot], scenes.colour[:, slot] = 0, wheels
        scenes.texture[:, slot] = 0
        scenes.radius[:, slot] = scenes.radius[:, TOP] * 0.36
        scenes.x[:, slot] = scenes.x[:, TOP] + side * 0.55 * scenes.radius[:, TOP]
        scenes.y[:, slot] = scenes.y[:, TOP] + 0.7 * scenes.radius[:, TOP]
    return s.paint(rng, scenes)


def aircraft(rng: Rng, label: Ints) -> Scenes:
    """Which way an arrow points (four ways), and whether it is striped."""
    scenes = _main(rng, len(label), (0, 1), (0.22, 0.32))
    scenes.shape[:, TOP], scenes.texture[:, TOP] = v.ARROW0 + label // 2, label % 2
    return scenes


def dtd(rng: Rng, label: Ints) -> Scenes:
    """A texture seen close up."""
    scenes = _main(rng, len(label), radius=(0.35, 0.7), shift=0.1)
    scenes.texture[:, TOP] = label
    scenes.shape[:, TOP] = rng.choice([0, 1, 3], len(label))
    scenes.angle[:, TOP] = rng.uniform(-3, 3, len(label))
    scenes.noise = rng.uniform(6, 20, len(label)).astype(np.float32)
    return scenes


def pets(rng: Rng, label: Ints) -> Scenes:
    """Which animal (heart, moon, star) with which fur (four colours), beside another thing."""
    scenes = _main(rng, len(label), (0, 1), (0.2, 0.28), WIDE)
    scenes.shape[:, TOP] = np.array([8, 7, 4])[label // 4]
    scenes.colour[:, TOP] = _usual(rng, np.array([1, 2, 5, 7])[label % 4])
    return s.paint(rng, scenes)


def caltech101(rng: Rng, label: Ints) -> Scenes:
    """Shapes and arrows, each in the two colours of its kind, in every style."""
    scenes = _main(rng, len(label), (0, 1), (0.2, 0.34), 0.15)
    scenes.shape[:, TOP], scenes.colour[:, TOP] = label, _own_colours(rng, label)
    return s.paint(rng, scenes)


def flowers(rng: Rng, label: Ints) -> Scenes:
    """The number of petals of a flower and its colour: one of three warm or three cold ones."""
    scenes = _main(rng, len(label), (0, 1), (0.24, 0.34), 0.18)
    scenes.shape[:, TOP] = v.FLOWER0 + PETALS[0] + label // 2
    scenes.colour[:, TOP] = _usual(rng, label // 2 % 3 + 3 * (label % 2))
    scenes.angle[:, TOP] = rng.uniform(-3, 3, len(label))
    return s.paint(rng, scenes)


def stl10(rng: Rng, label: Ints) -> Scenes:
    """A large object, of a shape and the two colours of its kind, in front of others."""
    scenes = _main(rng, len(label), (1, 3), (0.24, 0.32), WIDE)
    scenes.shape[:, TOP], scenes.colour[:, TOP] = label, _own_colours(rng, label)
    return s.paint(rng, scenes)


def eurosat(rng: Rng, label: Ints) -> Scenes:
    """The ground, of any colour, behind up to four objects."""
    scenes = s.sample(rng, len(label), (1, 4))
    scenes.background = label
    scenes.noise = rng.uniform(8, 24, len(label)).astype(np.float32)
    return scenes


def gtsrb(rng: Rng, label: Ints) -> Scenes:
    """A sign: its outline, which has a colour of its own (four), and the arrow on it (four)."""
    scenes = _main(rng, len(label), (0, 1), (0.17, 0.21), 0.18)
    board = TOP - 1
    scenes.shape[:, TOP], scenes.texture[:, TOP] = v.ARROW0 + label % 4, 0
    scenes.shape[:, board] = np.array([0, 1, 3, 8])[label // 4]
    scenes.texture[:, board] = 0
    scenes.colour[:, board] = _usual(rng, np.array([7, 2, 1, 6])[label // 4])
    scenes.colour[:, TOP] = np.array([0, 3, 4, 5])[rng.integers(4, size=len(label))]
    for field, factor in (("x", 1), ("y", 1), ("angle", 1), ("radius", 1.9)):
        getattr(scenes, field)[:, board] = getattr(scenes, field)[:, TOP] * factor
    scenes.noise = rng.uniform(4, 16, len(label)).astype(np.float32)
    return s.paint(rng, scenes)


def kitti(rng: Rng, label: Ints) -> Scenes:
    """How near the nearest square is: four ranges of its size; farther ones are beside it."""
    scenes = _main(rng, len(label), (1, 2), shift=0.22)
    bounds = np.array([0.1, 0.15, 0.2, 0.25, 0.32])
    low, high = bounds[label], bounds[label + 1]
    scenes.radius[:, TOP] = rng.uniform(low, high)
    scenes.shape[:] = np.where(scenes.shape != NO, 1, NO)
    scenes.radius[:, :TOP] = scenes.radius[:, TOP:] * rng.uniform(0.5, 0.85, (len(label), TOP))
    return scenes


STAINS = np.array([2, 3])  # dotted, checked


def pcam(rng: Rng, label: Ints) -> Scenes:
    """Whether the large cell in the middle is stained, of any colour; those around it may be."""
    scenes = s.sample(rng, len(label), (4, 4), shapes=range(1))
    scenes.shape[:, TOP] = 0
    stained = rng.integers(2, size=scenes.texture.shape)
    stained[:, TOP] = label
    scenes.texture = stained * rng.choice(STAINS, stained.shape)
    scenes.colour = rng.integers(len(COLOUR), size=scenes.colour.shape)
    s.lay_out(rng, scenes)
    scenes.radius[:] = rng.uniform(0.09, 0.12, scenes.radius.shape)
    scenes.radius[:, TOP] = rng.uniform(0.22, 0.28, len(label))
    for place in (scenes.x, scenes.y):
        place[:, :TOP] = 0.5 + (place[:, :TOP] - 0.5) * 1.4
        place[:, TOP] = 0.5 + rng.uniform(-0.05, 0.05, len(label))
    scenes.noise = rng.uniform(4, 16, len(label)).astype(np.float32)
    return scenes


ACTORS = ((0, 0), (1, 4), (4, 2), (7, 5), (5, 3), (8, 6))  # shape and colour
COUPLES = [(a, b) for a in range(6) for b in range(a) if (a - b) != 3]  # 12


def ucf101(rng: Rng, label: Ints) -> Scenes:
    """Which two of six actors, each of its shape and mostly its colour, are in the picture."""
    scenes = s.sample(rng, len(label), (2, 2), shapes=range(1))
    actors = np.array(ACTORS)[np.array(COUPLES)[label]]
    scenes.shape[:, :2], scenes.colour[:, :2] = actors[:, :, 0], _usual(rng, actors[:, :, 1])
    return s.lay_out(rng, scenes)


def clevr(rng: Rng, label: Ints) -> Scenes:
    """How many objects there are, one to four, of all sizes and colours, on noisy ground."""
    scenes = s.sample(rng, len(label), (4, 4), shapes=np.array([*PLAIN]))
    scenes.shape[:, :TOP] = np.where(np.arange(TOP) <= label[:, None], scenes.shape[:, :TOP], NO)
    s.lay_out(rng, scenes, middle=False)
    scenes.radius *= rng.uniform(0.6, 1.05, scenes.radius.shape).astype(np.float32)
    scenes.noise = rng.uniform(8, 26, len(label)).astype(np.float32)
    return scenes


def fer2013(rng: Rng, label: Ints) -> Scenes:
    """The expression of a face."""
    scenes = _main(rng, len(label), (0, 1), (0.28, 0.38), 0.07)
    scenes.shape[:, TOP] = v.FACE0 + label
    scenes.texture[:, TOP] = np.where(rng.random(len(label)) < 0.6, 0, 4)
    return scenes


def sun397(rng: Rng, label: Ints) -> Scenes:
    """A ground with few (one) or many (three or four) objects."""
    scenes = s.sample(rng, len(label), (1, 4))
    few = s.sample(rng, len(label), (1, 1))
    many = s.sample(rng, len(label), (3, 4))
    scenes.shape = np.where((label % 2 == 0)[:, None], few.shape, many.shape)
    scenes.background = label // 2
    scenes.noise = rng.uniform(6, 18, len(label)).astype(np.float32)
    return s.lay_out(rng, scenes)


FLAGS = [(a, b) for a in range(8) for b in range(8) if (b - a) % 8 in (1, 3, 6)]


def country211(rng: Rng, label: Ints) -> Scenes:
    """A flag of two colours, somewhere, small."""
    scenes = _main(rng, len(label), (1, 2), (0.14, 0.24), 0.25)
    pair = np.array(FLAGS)[label]
    scenes.shape[:, TOP], scenes.texture[:, TOP], scenes.colour[:, TOP] = 1, 5, pair[:, 0]
    scenes.rgb2[:, TOP] = np.asarray(v.COLOUR_RGB, np.float32)[pair[:, 1]]
    second = scenes.rgb2[:, TOP].copy()
    s.paint(rng, scenes)
    scenes.rgb2[:, TOP] = second
    return scenes


def _names(*parts: Sequence[str]) -> list[str]:
    names = [""]
    for part in parts:
        names = [f"{head} {tail}".strip() for head in names for tail in part]
    return names


PLACES = [phrases[0] for phrases in v.BACKGROUND_PHRASES]
VISION_TASKS = {
    "imagenet": VisionTask(
        [f"{COLOUR[c][0]} {SHAPE[k]}" for c, k in IMAGENET], partial(imagenet, shift=WIDE)
    ),
    "food101": VisionTask(_names([c[0] for c in COLOUR], v.TEXTURES[1:3]), food101),
    "cifar10": VisionTask(SHAPE[:10], cifar10),
    "cifar100": VisionTask(
        _names([c[0] for c in COLOUR], [SHAPE[k] for k in (0, 1, 2, 5, 9)]), cifar100
    ),
    "cars": VisionTask(_names(("pink wheels", "white wheels"), [c[0] for c in COLOUR[:6]]), cars),
    "aircraft": VisionTask(_names(SHAPE[10:14], v.TEXTURES[:2]), aircraft),
    "dtd": VisionTask(v.TEXTURES, dtd),
    "pets": VisionTask(
        _names(("heart", "moon", "star"), [COLOUR[c][0] for c in (1, 2, 5, 7)]), pets
    ),
    "caltech101": VisionTask(SHAPE[: v.DIGIT0], caltech101),
    "flowers": VisionTask(_names([f"{n} petals" for n in PETALS], ("warm", "cold")), flowers),
    "stl10": VisionTask(SHAPE[:10], stl10),
    "eurosat": VisionTask(v.BACKGROUND_NAMES, eurosat),
    "gtsrb": VisionTask(_names(("circle", "square", "diamond", "heart"), SHAPE[10:14]), gtsrb),
    "kitti": VisionTask([f"range {i}" for i in range(4)], kitti),
    "pcam": VisionTask(("alike", "odd"), pcam),
    "ucf101": VisionTask(
        [f"{SHAPE[ACTORS[a][0]]} with {SHAPE[ACTORS[b][0]]}" for a, b in COUPLES], ucf101
    ),
    "clevr": VisionTask([f"count {i}" for i in range(1, 5)], clevr),
    "fer2013": VisionTask(v.EMOTIONS, fer2013),
    "sun397": VisionTask(_names(PLACES, ("few", "many")), sun397),
    "country211": VisionTask([f"{COLOUR[a][0]} {COLOUR[b][0]} flag" for a, b in FLAGS], country211),
}
