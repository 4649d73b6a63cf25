"""Adapters of image sources: ImageFolder trees or zips, and MNIST's idx files."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PILImage

from flava.config import SourceConfig
from flava.data.archive import Archive, first_existing
from flava.data.paths import expand
from flava.data.sources import Image
from flava.errors import DataError

MNIST_SPLITS = {"train": "train", "test": "t10k", "t10k": "t10k"}
IDX_IMAGES, IDX_LABELS = 2051, 2049


def image_folder(source: SourceConfig) -> Iterator[Image]:
    """Files <split>/<class>/<file> or <split>/<file> of a folder or zip, sorted by name.

    Raises:
        DataError: the path is missing or has no image in the split; the splits there are named.
    """
    archive = open_image_folder(expand(source.path))
    prefix = f"{source.split}/"
    pictures = [name for name in archive.images() if not is_hidden(name)]
    names = [name for name in pictures if name.startswith(prefix)]
    if not names:
        found = sorted({name.split("/")[0] for name in pictures if "/" in name})
        raise DataError(
            f"{archive.path} has no image in '{prefix}'. Its top folders: {', '.join(found)}."
        )
    for name in names:
        parts = name.split("/")
        yield Image(name, archive.read(name), parts[1] if len(parts) > 2 else None)


def is_hidden(name: str) -> bool:
    """Whether it is a file that a system put beside the pictures, such as macOS's `._1.jpg`."""
    return any(part.startswith((".", "__MACOSX")) for part in name.split("/"))


def open_image_folder(path: Path) -> Archive:
    """The archive of an ImageFolder: a zip, a folder with an images.zip, or a tree."""
    inside = path / "images.zip"
    return Archive(inside if inside.is_file() else path)


def mnist_idx(source: SourceConfig) -> Iterator[Image]:
    """MNIST-like idx files (plain or .gz) of a folder as PNG files; split train or test.

    Raises:
        DataError: a file is missing, truncated, of another type, or the counts differ.
    """
    images_NHW, labels_N = read_mnist(expand(source.path), source.split)
    for index, (pixels_HW, label) in enumerate(zip(images_NHW, labels_N, strict=True)):
        file = io.BytesIO()
        PILImage.fromarray(pixels_HW).save(file, "PNG")
        yield Image(f"{source.split}/{index:05d}.png", file.getvalue(), str(label))


def read_mnist(folder: Path, split: str) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Images uint8 [N, H, W] and labels uint8 [N] of a split. Raises as `mnist_idx`."""
    if split not in MNIST_SPLITS:
        raise DataError(f"MNIST has no split '{split}'. Allowed: train, test.")
    stem = MNIST_SPLITS[split]
    images, images_path = _idx(folder, f"{stem}-images-idx3-ubyte", IDX_IMAGES, 3)
    labels, labels_path = _idx(folder, f"{stem}-labels-idx1-ubyte", IDX_LABELS, 1)
    if len(images) != len(labels):
        raise DataError(
            f"{images_path} has {len(images)} images but {labels_path} {len(labels)} labels."
        )
    return images, labels


def _idx(folder: Path, name: str, magic: int, dims: int) -> tuple[NDArray[np.uint8], Path]:
    path = first_existing(folder, [f"{name}.gz", name], "idx file")
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} is truncated or not gzip ({error}).") from None
    header = 4 * (1 + dims)
    numbers = np.frombuffer(data[:header], dtype=">i4") if len(data) >= header else np.zeros(1, int)
    if numbers[0] != magic:
        raise DataError(f"{path} is not an idx file of {dims} dimensions.")
    shape = tuple(int(number) for number in numbers[1:])
    if len(data) != header + int(np.prod(shape)):
        raise DataError(f"{path} has {len(data)} bytes; its header says {shape}: truncated?")
    return np.frombuffer(data, dtype=np.uint8, offset=header).reshape(shape), path
