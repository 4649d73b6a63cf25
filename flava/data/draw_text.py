"""Draws a text black on white, as large as fits: the pictures of Rendered SST-2."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from PIL import Image, ImageDraw, ImageFont

from flava.errors import DataError

SIDE = 448  # pixels, as OpenAI's pictures; their font and its size are not published
MARGIN = 16
SIZES = tuple(range(96, 11, -4))  # pixels of the font, the largest that fits is taken
LEADING = 1.25  # line height in sizes of the font


def draw_text(text: str) -> Image.Image:
    """A grey picture of 448 x 448 with the text wrapped at spaces, in Pillow's own font.

    Raises:
        DataError: the text is empty or does not fit at the smallest size.
    """
    words = text.split()
    if not words:
        raise DataError("an empty text cannot be drawn.")
    for size in SIZES:
        lines = wrap(words, size)
        if lines is not None:
            break
    else:
        raise DataError(f"a text of {len(words)} words is too long to draw: '{text[:60]} …'.")
    picture = Image.new("L", (SIDE, SIDE), 255)
    pen, top = ImageDraw.Draw(picture), (SIDE - len(lines) * size * LEADING) / 2
    for i, line in enumerate(lines):
        pen.text((MARGIN, top + i * size * LEADING), line, fill=0, font=_font(size))
    return picture


def wrap(words: Sequence[str], size: int) -> list[str] | None:
    """Lines of words, each as long as fits; None where a word or all lines are too large."""
    room, space = SIDE - 2 * MARGIN, _width(" ", size)
    lines: list[list[str]] = []
    used = float("inf")
    for word in words:
        width = _width(word, size)
        if width > room:
            return None
        if used + space + width > room:
            lines.append([])
            used = -space
        lines[-1].append(word)
        used += space + width
    fits = len(lines) * size * LEADING <= SIDE - 2 * MARGIN
    return [" ".join(line) for line in lines] if fits else None


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise DataError("Pillow has no FreeType here. Install its wheel: pip install pillow.")
    return font


@cache
def _width(word: str, size: int) -> float:
    return _font(size).getlength(word)
