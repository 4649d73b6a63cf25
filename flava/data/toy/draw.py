"""Draws scenes with numpy, many at a time: background, objects slot by slot, signs, noise."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from flava.data.toy import vocabulary as v
from flava.data.toy.backgrounds import backgrounds
from flava.data.toy.font import line_mask
from flava.data.toy.scenes import NO, Scenes
from flava.data.toy.shapes import DISTANCES

Array = NDArray[np.float32]
Images = NDArray[np.uint8]
CHUNK = 256  # scenes drawn at once: the arrays stay in the cache


def draw(rng: np.random.Generator, scenes: Scenes, size: int) -> Images:
    """Renders scenes.

    Args:
        rng: draws pattern phases, light and noise.
        scenes: N scenes.
        size: pixels a side.

    Returns:
        uint8 [N, size, size, 3].
    """
    images = np.empty((len(scenes), size, size, 3), np.uint8)
    for start in range(0, len(scenes), CHUNK):
        part = scenes.take(slice(start, start + CHUNK))
        images[start : start + CHUNK] = _draw_chunk(rng, part, size)
    return images


def _draw_chunk(rng: np.random.Generator, scenes: Scenes, size: int) -> Images:
    n = len(scenes)
    pad = int(np.ceil(float(scenes.radius.max()) * size * 1.2)) + 3
    canvas = np.zeros((n, size + 2 * pad, size + 2 * pad, 3), np.float32)
    inner = canvas[:, pad : pad + size, pad : pad + size]
    inner[:] = backgrounds(rng, scenes.background, size)
    for slot in range(scenes.shape.shape[1]):
        for shape in np.unique(scenes.shape[:, slot]):
            if shape != NO:
                rows = np.flatnonzero(scenes.shape[:, slot] == shape)
                _draw_objects(rng, canvas, scenes, rows, slot, size, pad)
    _draw_signs(rng, inner, scenes)
    light = rng.uniform(0.85, 1.12, (n, 1, 1, 1)).astype(np.float32)
    grain = rng.standard_normal(inner.shape, dtype=np.float32)
    grain *= scenes.noise[:, None, None, None]
    return np.asarray(np.clip(inner * light + grain, 0, 255).astype(np.uint8))


def _draw_objects(
    rng: np.random.Generator,
    canvas: Array,
    scenes: Scenes,
    rows: NDArray[np.int64],
    slot: int,
    size: int,
    pad: int,
) -> None:
    """Blends one slot's objects of one shape into their square windows of the padded canvas."""
    radius = scenes.radius[rows, slot] * size
    half = min(int(np.ceil(float(radius.max()) * 1.15)) + 1, pad - 2)
    centre_x, centre_y = scenes.x[rows, slot] * size, scenes.y[rows, slot] * size
    limit = size + pad - half
    left = np.clip(np.floor(centre_x).astype(np.int64) - half, -pad, limit)
    top = np.clip(np.floor(centre_y).astype(np.int64) - half, -pad, limit)
    steps = np.arange(2 * half)
    x = (left[:, None] + steps + 0.5 - centre_x[:, None]).astype(np.float32)[:, None, :]
    y = (top[:, None] + steps + 0.5 - centre_y[:, None]).astype(np.float32)[:, :, None]
    cosine = np.cos(scenes.angle[rows, slot])[:, None, None]
    sine = np.sin(scenes.angle[rows, slot])[:, None, None]
    turned_x, turned_y = cosine * x + sine * y, cosine * y - sine * x
    scale = radius[:, None, None].astype(np.float32)
    distance = DISTANCES[int(scenes.shape[rows[0], slot])](turned_x / scale, turned_y / scale)
    alpha = np.clip(0.5 - distance * scale, 0, 1)[..., None]
    mix = _texture(rng, scenes.texture[rows, slot], turned_x, turned_y, scale, size)[..., None]
    first = scenes.rgb[rows, slot][:, None, None]
    colour = first + mix * (scenes.rgb2[rows, slot][:, None, None] - first)
    index = (
        rows[:, None, None],
        top[:, None, None] + pad + steps[:, None],
        left[:, None, None] + pad + steps,
    )
    under = canvas[index]
    canvas[index] = under + alpha * (colour - under)


def _texture(
    rng: np.random.Generator,
    texture: NDArray[np.int64],
    x: Array,
    y: Array,
    scale: Array,
    size: int,
) -> Array:
    """Share of the second colour in each pixel, [n, h, w]; x, y in pixels from the centre."""
    n = len(texture)
    mix = np.zeros(np.broadcast_shapes(x.shape, y.shape), np.float32)
    x, y = np.broadcast_to(x, mix.shape), np.broadcast_to(y, mix.shape)
    period = (np.maximum(0.55 * scale, 4.2 * size / 32) * rng.uniform(0.9, 1.15, (n, 1, 1))).astype(
        np.float32
    )
    wave = np.float32(2 * np.pi) / period
    tilt = rng.uniform(0, np.pi, (n, 1, 1)).astype(np.float32)
    phase = rng.uniform(0, 2 * np.pi, (n, 1, 1)).astype(np.float32)
    along = (np.cos(tilt) * x + np.sin(tilt) * y) * wave + phase
    across = (np.cos(tilt) * y - np.sin(tilt) * x) * wave + phase
    for kind in np.unique(texture):
        rows = np.flatnonzero(texture == kind)
        name = v.TEXTURES[kind]
        if name == "striped":
            mix[rows] = np.clip(0.5 + 1.4 * np.sin(along[rows]), 0, 1)
        elif name == "dotted":
            bumps = np.cos(along[rows]) + np.cos(across[rows])
            mix[rows] = np.clip(1.6 * bumps - 1.0, 0, 1)
        elif name == "checked":
            product = np.sin(along[rows] * 0.7) * np.sin(across[rows] * 0.7)
            mix[rows] = np.clip(0.5 + 2.2 * product, 0, 1)
        elif name == "faded":
            mix[rows] = np.clip(0.5 + 0.5 * y[rows] / scale[rows], 0, 1)
        elif name == "split":
            mix[rows] = np.clip(0.5 + x[rows], 0, 1)
    return mix


def _draw_signs(rng: np.random.Generator, images: Array, scenes: Scenes) -> None:
    rows = np.flatnonzero(scenes.word != NO)
    words = [v.SIGN_WORDS[scenes.word[row]] for row in rows]
    write(rng, images, rows, [[word] for word in words])


def write(
    rng: np.random.Generator,
    images: Array,
    rows: NDArray[np.int64],
    texts: list[list[str]],
    scale: int = 1,
) -> None:
    """Writes lines of dark text on light boxes into images [N, S, S, 3], in place.

    The boxes lie near the lower left corner. The letters are 3x5 pixels at 32 pixels a side, or
    `scale` times that, and grow with it. A line that is too wide is cut at the right edge.
    """
    size = images.shape[1]
    zoom = max(size // 32, 1) * scale
    for row, lines in zip(rows.tolist(), texts, strict=True):
        masks = [np.kron(line_mask(line), np.ones((zoom, zoom), bool)) for line in lines]
        height, width = (6 * len(lines) + 1) * zoom, max(mask.shape[1] for mask in masks) + 2 * zoom
        top = size - height - int(rng.integers(3)) * zoom
        left = int(rng.integers(3)) * zoom
        paper, ink, tint = 225.0, 25.0, rng.uniform(-25, 25, 3).astype(np.float32)
        images[row, top : top + height, left : left + width] = np.clip(paper + tint, 0, 255)
        for i, mask in enumerate(masks):
            start = top + (6 * i + 1) * zoom
            box = images[row, start : start + mask.shape[0], left + zoom :][:, : mask.shape[1]]
            box[mask[: box.shape[0], : box.shape[1]]] = np.clip(ink + tint, 0, 255)
