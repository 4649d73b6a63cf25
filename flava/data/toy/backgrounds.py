"""Background patterns: the pattern names the place, its colour varies."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from flava.data.toy import vocabulary as v

Array = NDArray[np.float32]
CONTRAST = 0.65  # of the patterns below


def backgrounds(rng: np.random.Generator, kinds: NDArray[np.int64], size: int) -> Array:
    """Background images in [0, 255]: float32 [N, size, size, 3]."""
    n = len(kinds)
    tones = np.array([tone for _, _, tone in v.BACKGROUNDS], np.float32)
    base = tones[kinds, rng.integers(2, size=n)]
    base = base + rng.normal(0, 12, (n, 3)).astype(np.float32)
    shade = np.zeros((n, size, size), np.float32)
    grain = rng.standard_normal((n, size, size), dtype=np.float32)
    phase = rng.uniform(0, 2 * np.pi, (n, 2, 1, 1)).astype(np.float32)
    for kind in np.unique(kinds):
        rows = np.flatnonzero(kinds == kind)
        shade[rows] = _PATTERNS[v.BACKGROUND_NAMES[kind]](size, phase[rows], grain[rows])
    return np.asarray(np.clip(base[:, None, None] * (1 + CONTRAST * shade[..., None]), 0, 255))


def _axes(size: int) -> tuple[Array, Array]:
    """Pixel columns and rows, in pixels of a 32-pixel image: [1, 1, S] and [1, S, 1]."""
    steps = ((np.arange(size, dtype=np.float32) + 0.5) * 32 / size).astype(np.float32)
    return steps[None, None, :], steps[None, :, None]


def _grass(size: int, phase: Array, grain: Array) -> Array:
    blades = grain + np.roll(grain, 1, axis=1) + np.roll(grain, 2, axis=1)
    return np.asarray(0.11 * blades)


def _sand(size: int, phase: Array, grain: Array) -> Array:
    x, y = _axes(size)
    return np.asarray(0.1 * grain + 0.06 * np.sin(0.2 * x + 0.15 * y + phase[:, 0]))


def _water(size: int, phase: Array, grain: Array) -> Array:
    x, y = _axes(size)
    return np.asarray(0.16 * np.sin(1.2 * y + 1.3 * np.sin(0.45 * x + phase[:, 0]) + phase[:, 1]))


def _sky(size: int, phase: Array, grain: Array) -> Array:
    x, y = _axes(size)
    clouds = np.sin(0.3 * x + phase[:, 0]) * np.sin(0.5 * y + phase[:, 1])
    return np.asarray(0.35 * np.clip(clouds, 0, 1) + 0.012 * (16 - y))


def _night(size: int, phase: Array, grain: Array) -> Array:
    return np.where(grain > 2.3, np.float32(3.5), np.float32(0))


def _bricks(size: int, phase: Array, grain: Array) -> Array:
    x, y = _axes(size)
    y = y + phase[:, 1]
    course = np.floor(y / 5)
    joint = (y % 5 < 1) | ((x + phase[:, 0] + 5 * (course % 2)) % 10 < 1)
    return np.asarray(np.where(joint, 0.4, 0) + 0.03 * grain)


def _tiles(size: int, phase: Array, grain: Array) -> Array:
    x, y = _axes(size)
    joint = ((x + phase[:, 0] * 1.3) % 8 < 1) | ((y + phase[:, 1] * 1.3) % 8 < 1)
    return np.asarray(np.where(joint, -0.35, 0) + 0.02 * grain)


def _wood(size: int, phase: Array, grain: Array) -> Array:
    x, y = _axes(size)
    return np.asarray(0.16 * np.sin(1.1 * x + 1.5 * np.sin(0.12 * y + phase[:, 0]) + phase[:, 1]))


_PATTERNS = {
    "grass": _grass, "sand": _sand, "water": _water, "sky": _sky,
    "night": _night, "bricks": _bricks, "tiles": _tiles, "wood": _wood,
}  # fmt: skip
