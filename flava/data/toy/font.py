"""Two small fonts: 3x5 letters for signs and 5x7 digits for numbers."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

# Rows of three bits, top to bottom, as octal digits.
_LETTERS = {
    "a": "25755", "b": "65656", "c": "34443", "d": "65556", "e": "74647", "f": "74644",
    "g": "34553", "h": "55755", "i": "72227", "j": "11152", "k": "55655", "l": "44447",
    "m": "57755", "n": "65555", "o": "25552", "p": "65644", "q": "25573", "r": "65655",
    "s": "34216", "t": "72222", "u": "55557", "v": "55552", "w": "55775", "x": "55255",
    "y": "55222", "z": "71247", " ": "00000",
}  # fmt: skip

# Rows of five bits, top to bottom, in hexadecimal.
_DIGITS = (
    "0e 11 13 15 19 11 0e", "04 0c 04 04 04 04 0e", "0e 11 01 02 04 08 1f",
    "1f 02 04 02 01 11 0e", "02 06 0a 12 1f 02 02", "1f 10 1e 01 01 11 0e",
    "06 08 10 1e 11 11 0e", "1f 01 02 04 08 08 08", "0e 11 11 0e 11 11 0e",
    "0e 11 11 0f 01 02 0c",
)  # fmt: skip


@cache
def line_mask(text: str) -> NDArray[np.bool_]:
    """A line of lower-case text as a mask of 5 rows and 4 columns a letter (less the last gap)."""
    rows = [[int(bit) for letter in text for bit in f"{int(_LETTERS[letter][row]):03b}0"]
            for row in range(5)]  # fmt: skip
    return np.array(rows, dtype=bool)[:, :-1]


@cache
def digit_mask(digit: int) -> Array:
    """A digit as 7 rows of 5 columns, with a border of zeros: [9, 7]."""
    rows = [[int(bit) for bit in f"{int(row, 16):05b}"] for row in _DIGITS[digit].split()]
    return np.pad(np.array(rows, np.float32), 1)


def digit_field(digit: int, x: Array, y: Array) -> Array:
    """A distance-like field of a digit over [-1, 1]^2: bilinear in its mask, negative inside."""
    mask = digit_mask(digit)
    row = np.clip(y * np.float32(3.9) + np.float32(4.0), 0, 7.999)
    column = np.clip(x * np.float32(3.9) + np.float32(3.0), 0, 5.999)
    top, left = row.astype(np.int64), column.astype(np.int64)
    down, right = row - top, column - left
    upper = mask[top, left] * (1 - right) + mask[top, left + 1] * right
    lower = mask[top + 1, left] * (1 - right) + mask[top + 1, left + 1] * right
    return np.asarray((np.float32(0.45) - upper * (1 - down) - lower * down) * np.float32(0.35))
