"""Signed distances of all shapes, in units of the radius; negative inside; v points down."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from flava.data.toy import vocabulary as v
from flava.data.toy.font import digit_field

Array = NDArray[np.float32]


def _circle(x: Array, y: Array, radius: float, cx: float = 0.0, cy: float = 0.0) -> Array:
    return np.asarray(np.hypot(x - cx, y - cy) - np.float32(radius))


def _box(x: Array, y: Array, half_x: float, half_y: float) -> Array:
    return np.maximum(np.abs(x) - np.float32(half_x), np.abs(y) - np.float32(half_y))


def _triangle(x: Array, y: Array) -> Array:
    slope = np.abs(x) * np.float32(0.87) - y * np.float32(0.5)
    return np.asarray(np.maximum(y - np.float32(0.75), slope - np.float32(0.53)))


def _diamond(x: Array, y: Array) -> Array:
    return (np.abs(x) * np.float32(1.25) + np.abs(y) - 1) * np.float32(0.65)


def _star(x: Array, y: Array) -> Array:
    # Folds the plane into half a point: from the tip (angle 0) to the notch (angle pi / 5).
    wedge = np.float32(2 * np.pi / 5)
    angle = np.arctan2(x, -y)
    angle = np.abs((angle + wedge / 2) % wedge - wedge / 2)
    rho = np.hypot(x, y)
    tip = 1.1
    notch = 0.45 * np.array([np.cos(np.pi / 5), np.sin(np.pi / 5)])
    edge = notch - [tip, 0.0]
    normal = np.array([edge[1], -edge[0]]) / np.hypot(*edge)
    px, py = rho * np.cos(angle) - np.float32(tip), rho * np.sin(angle)
    return np.asarray(px * np.float32(normal[0]) + py * np.float32(normal[1]))


def _cross(x: Array, y: Array) -> Array:
    return np.minimum(_box(x, y, 0.3, 0.95), _box(x, y, 0.95, 0.3))


def _ring(x: Array, y: Array) -> Array:
    return np.asarray(np.abs(_circle(x, y, 0.72)) - np.float32(0.26))


def _moon(x: Array, y: Array) -> Array:
    return np.maximum(_circle(x, y, 1.0), -_circle(x, y, 0.8, 0.48, -0.1))


def _heart(x: Array, y: Array) -> Array:
    side = np.abs(x)
    lobes = _circle(side, y, 0.52, 0.44, -0.34)
    point = (side + y - np.float32(0.84)) * np.float32(0.707)
    point = np.maximum(point, np.float32(-0.34) - y + side * np.float32(0.4) - np.float32(0.2))
    return np.asarray(np.minimum(lobes, point))


def _dome(x: Array, y: Array) -> Array:
    return np.asarray(np.maximum(_circle(x, y, 1.0, 0.0, 0.4), y - np.float32(0.45)))


def _arrow(x: Array, y: Array) -> Array:
    head = np.maximum(y + np.float32(0.05), (np.abs(x) - y - 1) * np.float32(0.707))
    return np.asarray(np.minimum(head, _box(x, y - np.float32(0.4), 0.24, 0.55)))


def _turned_arrow(quarter: int) -> Callable[[Array, Array], Array]:
    cosine, sine = (1, 0, -1, 0)[quarter], (0, 1, 0, -1)[quarter]
    return lambda x, y: _arrow(cosine * x + sine * y, cosine * y - sine * x)


def _digit(digit: int) -> Callable[[Array, Array], Array]:
    return lambda x, y: digit_field(digit, x, y)


def _face(emotion: str) -> Callable[[Array, Array], Array]:
    """A disc with holes for eyes and a mouth, seen through to the background."""
    bend = {"happy": -0.45, "sad": 0.45, "surprised": 0.0, "calm": 0.0, "angry": 0.3}[emotion]

    def distance(x: Array, y: Array) -> Array:
        side = np.abs(x)
        eyes = _circle(side, y, 0.17, 0.38, -0.28)
        if emotion == "angry":
            brow = np.abs(y + np.float32(0.62) - side * np.float32(-0.45)) - np.float32(0.1)
            eyes = np.minimum(eyes, np.maximum(brow, side - np.float32(0.6)))
        if emotion == "surprised":
            mouth = _circle(x, y, 0.27, 0.0, 0.42)
        else:
            line = y - np.float32(0.42) - np.float32(bend) * (side * side * 4 - np.float32(0.5))
            mouth = np.maximum(np.abs(line) - np.float32(0.13), side - np.float32(0.5))
        return np.maximum(_circle(x, y, 1.0), -np.minimum(eyes, mouth))

    return distance


def _flower(petals: int) -> Callable[[Array, Array], Array]:
    def distance(x: Array, y: Array) -> Array:
        edge = np.float32(0.72) + np.float32(0.3) * np.cos(np.float32(petals) * np.arctan2(y, x))
        return np.asarray((np.hypot(x, y) - edge) * np.float32(0.7))

    return distance


_PLAIN: tuple[Callable[[Array, Array], Array], ...] = (
    lambda x, y: _circle(x, y, 0.95),
    lambda x, y: _box(x, y, 0.8, 0.8),
    _triangle, _diamond, _star, _cross, _ring, _moon, _heart, _dome,
)  # fmt: skip
PETALS = range(3, 9)
DISTANCES: dict[int, Callable[[Array, Array], Array]] = {
    **dict(enumerate(_PLAIN)),
    **{v.ARROW0 + quarter: _turned_arrow(quarter) for quarter in range(4)},
    **{v.DIGIT0 + digit: _digit(digit) for digit in range(10)},
    **{v.FACE0 + i: _face(emotion) for i, emotion in enumerate(v.EMOTIONS)},
    **{v.FLOWER0 + petals: _flower(petals) for petals in PETALS},
}
