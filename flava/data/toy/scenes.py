"""Scenes as arrays: what is where, then the geometry and colours to draw it with."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from flava.data.toy import vocabulary as v

Array = NDArray[np.float32]
Ints = NDArray[np.int64]
SLOTS = 5  # objects a scene at most
NO = -1
EVERYDAY = np.array([*range(v.ARROW0)] * 8 + [*range(v.ARROW0, v.FLOWER0)])


class Thing(NamedTuple):
    """One object as the texts see it: indices into the vocabulary; cell is row-major in 2x2."""

    shape: int
    colour: int
    texture: int
    size: int
    cell: int


@dataclass
class Scenes:
    """N scenes of up to SLOTS objects; shape -1 is an empty slot, later slots lie on top.

    x, y, radius are fractions of the image side; angle is in radians; word is an index of
    SIGN_WORDS or -1.
    """

    shape: Ints
    colour: Ints
    texture: Ints
    size: Ints
    cell: Ints
    x: Array
    y: Array
    radius: Array
    angle: Array
    rgb: Array
    rgb2: Array
    background: Ints
    noise: Array
    word: Ints

    def __len__(self) -> int:
        return len(self.shape)

    def take(self, rows: slice | Ints) -> Scenes:
        """The scenes at `rows`."""
        return Scenes(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})

    def things(self) -> list[list[Thing]]:
        """Each scene's objects for the texts."""
        table = np.stack([self.shape, self.colour, self.texture, self.size, self.cell], axis=2)
        return [[Thing(*row) for row in scene if row[0] != NO] for scene in table.tolist()]


def sample(
    rng: np.random.Generator,
    n: int,
    counts: tuple[int, int] = (1, 3),
    shapes: Ints | range | None = None,
    signs: float = 0.0,
) -> Scenes:
    """Draws scenes of counts[0]..counts[1] objects in different cells of the 2x2 grid.

    A single object is larger and near the middle.

    In a third of them all objects are of one shape and colour, so that "two red stars" is said.
    With probability `signs` the lower row is a sign with a word and the objects are above it.
    `shapes` defaults to all, the plain ones most often.
    """
    pool = EVERYDAY if shapes is None else np.asarray(shapes)
    word = np.where(rng.random(n) < signs, rng.integers(len(v.SIGN_WORDS), size=n), NO)
    count = rng.integers(counts[0], counts[1] + 1, size=n)
    count = np.where(word != NO, np.minimum(count, 2), count)
    cell = np.argsort(rng.random((n, 4)), axis=1)
    top = np.argsort(np.where(cell < 2, 0, 1), axis=1, kind="stable")
    cell = np.where((word != NO)[:, None], np.take_along_axis(cell, top, axis=1), cell)
    shape = pool[rng.integers(len(pool), size=(n, SLOTS))]
    colour = rng.integers(len(v.COLOURS), size=(n, SLOTS))
    alike = (rng.random(n) < 1 / 3)[:, None]
    shape = np.where(alike, shape[:, :1], shape)
    colour = np.where(alike, colour[:, :1], colour)
    plain = rng.random((n, SLOTS)) < np.where(shape < v.ARROW0, 0.65, 0.9)
    texture = np.where(plain, 0, rng.integers(len(v.TEXTURES), size=(n, SLOTS)))
    scenes = Scenes(
        shape=np.where(np.arange(SLOTS) < count[:, None], shape, NO),
        colour=colour,
        texture=texture,
        size=rng.integers(2, size=(n, SLOTS)),
        cell=np.concatenate([cell, np.zeros((n, SLOTS - 4), dtype=np.int64)], axis=1),
        **{name: np.zeros((n, SLOTS), np.float32) for name in ("x", "y", "radius", "angle")},
        rgb=np.zeros((n, SLOTS, 3), np.float32),
        rgb2=np.zeros((n, SLOTS, 3), np.float32),
        background=rng.integers(len(v.BACKGROUNDS), size=n),
        noise=rng.uniform(1, 4, size=n).astype(np.float32),
        word=word,
    )
    return lay_out(rng, scenes)


def lay_out(rng: np.random.Generator, scenes: Scenes, middle: bool = True) -> Scenes:
    """Sets geometry and colours from the symbols; call again after changing any.

    middle: a single object is moved to the middle and enlarged.
    """
    n = len(scenes)

    def jitter(scale: float) -> Array:
        return rng.uniform(-scale, scale, (n, SLOTS)).astype(np.float32)

    scenes.x = (0.25 + 0.5 * (scenes.cell % 2) + jitter(0.025)).astype(np.float32)
    scenes.y = (0.25 + 0.5 * (scenes.cell // 2) + jitter(0.025)).astype(np.float32)
    scenes.radius = (0.165 + 0.06 * scenes.size + jitter(0.01)).astype(np.float32)
    alone = middle & ((scenes.shape != NO).sum(axis=1) == 1) & (scenes.word == NO)
    for place in (scenes.x, scenes.y):
        place[alone] = 0.5 + jitter(0.05)[alone]
    scenes.radius[alone] *= 1.45
    turns = np.isin(scenes.shape, (0, 6)) * np.pi  # a turned disc or ring is the same
    scenes.angle = (jitter(0.12) + jitter(1.0) * turns).astype(np.float32)
    return paint(rng, scenes)


def paint(rng: np.random.Generator, scenes: Scenes) -> Scenes:
    """Sets both colours of each object: the named one, and a much lighter or darker one."""
    base = np.asarray(v.COLOUR_RGB, np.float32)[scenes.colour]
    scenes.rgb = base + rng.normal(0, 12, base.shape).astype(np.float32)
    light = base.mean(axis=2, keepdims=True) < 105
    scenes.rgb2 = np.where(light, 0.35 * base + 0.65 * 250, 0.3 * base + 5).astype(np.float32)
    return scenes
