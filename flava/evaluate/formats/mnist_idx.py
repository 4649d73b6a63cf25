"""`mnist_idx`: LeCun's idx files, plain or gzipped, under their official names."""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path

import numpy as np

from flava.config import TaskData
from flava.errors import DataError
from flava.evaluate.images import ArrayImages
from flava.evaluate.taskdata import LabelledTask, PixelArray, Split, check_labels

UNSIGNED_BYTE = 0x08
HOW_TO_GET = "Download MNIST's four idx files there."
DIGITS = [str(digit) for digit in range(10)]


def load(path: Path, data: TaskData) -> LabelledTask:
    """Reads train and t10k images and labels.

    Raises:
        DataError: a file is missing, truncated, not idx, or images and labels differ in number.
    """
    return LabelledTask(
        train=_split(path, "train"),
        tests={"test": _split(path, "t10k")},
        classes=DIGITS,
    )


def read_idx(path: Path) -> PixelArray:
    """One idx file of unsigned bytes: 4-byte magic (type, dimensions), big-endian sizes, bytes."""
    raw = _content(path)
    if len(raw) < 4 or raw[:2] != b"\0\0" or raw[2] != UNSIGNED_BYTE:
        raise DataError(f"{path} is not an idx file of unsigned bytes (bad magic number).")
    header = 4 + 4 * raw[3]
    shape = [int(size) for size in np.frombuffer(raw[4:header], dtype=">u4")]
    if len(shape) != raw[3] or len(raw) - header != math.prod(shape):
        raise DataError(f"{path}: {len(raw) - header} bytes do not fill shape {shape}: truncated?")
    return np.frombuffer(raw, np.uint8, offset=header).reshape(shape)


def _content(path: Path) -> bytes:
    """Bytes of the file, unpacked where it lies there as .gz."""
    zipped = path.with_name(path.name + ".gz")
    found = zipped if zipped.is_file() else path
    try:
        return gzip.decompress(found.read_bytes()) if found == zipped else found.read_bytes()
    except FileNotFoundError:
        raise DataError(f"{path}[.gz] is missing. {HOW_TO_GET}") from None
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{found} is not a valid gzip file ({error}). {HOW_TO_GET}") from None
    except OSError as error:
        raise DataError(f"{found} cannot be read ({error}). {HOW_TO_GET}") from None


def _split(path: Path, name: str) -> Split:
    images_NHW = read_idx(path / f"{name}-images-idx3-ubyte")
    labels_N = read_idx(path / f"{name}-labels-idx1-ubyte").astype(np.int64)
    if images_NHW.ndim != 3 or labels_N.ndim != 1 or len(images_NHW) != len(labels_N):
        raise DataError(
            f"{path}: {name} images {images_NHW.shape} and labels {labels_N.shape} do not fit."
        )
    check_labels(labels_N, len(DIGITS), f"{path}/{name}-labels-idx1-ubyte")
    return Split(labels_N, ArrayImages(images_NHW), np.arange(len(labels_N)))
