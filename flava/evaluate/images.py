"""Images in a folder, a zip or a tar, read by name and decoded on demand."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Protocol

import numpy as np
from PIL import Image

from flava.config import TaskData
from flava.data.archive import UNREADABLE
from flava.data.paths import check_encodable, expand
from flava.data.source_images import is_hidden
from flava.data.transforms import decode_image, resize_square
from flava.data.walk import one_file
from flava.errors import DataError
from flava.evaluate.archives import Members, open_members
from flava.evaluate.content import Hashed
from flava.evaluate.taskdata import IntArray, PixelArray

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".gif", ".webp", ".tif", ".tiff"})
MAX_FILE_BYTES = 256 * 2**20  # no single picture is larger; guards against archive bombs
# Pillow's own limit. Training leaves out, and counts, what is above a lower one; here no picture
# may be left out, and some sets hold large originals.
MAX_PIXELS = 178_956_970


class ImageSource:
    """Picture files below a folder or in a zip or plain tar; read by name, never extracted.

    Args:
        path: the folder, zip or tar.
        members: its files, where they are not simply all that `open_members` finds.

    Raises:
        DataError: the path is missing, is no folder, zip or plain tar, or has no picture, or one
            whose name is not UTF-8.
    """

    def __init__(self, path: Path, members: Members | None = None) -> None:
        self.path = path
        self._members = members or open_members(path)
        self.names = [n for n in self._members.names if _is_picture(n)]
        if not self.names:
            raise DataError(f"{path} holds no picture files ({', '.join(sorted(SUFFIXES))}).")
        for name in self.names:
            check_encodable(name, path)

    @cached_property
    def _by_stem(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for name in self.names:
            found.setdefault(PurePosixPath(name).stem, []).append(name)
        return found

    def find(self, name: str) -> str:
        """The member that `name` (a path's end, with or without suffix) stands for.

        Raises:
            DataError: no member or several members fit.
        """
        wanted = PurePosixPath(name)
        if not wanted.name:
            raise DataError(f"{self.path}: image '{name}' is not there: it names no file.")
        stem = wanted.stem if wanted.suffix.lower() in SUFFIXES else wanted.name
        end = "/" + wanted.with_name(stem).as_posix().lstrip("./")
        fitting = [
            n
            for n in self._by_stem.get(stem, [])
            if ("/" + PurePosixPath(n).with_suffix("").as_posix()).endswith(end)
        ]
        if not fitting or (len(fitting) > 1 and not one_file(self.path, fitting)):
            found = "not there" if not fitting else f"ambiguous ({', '.join(fitting[:3])})"
            raise DataError(f"{self.path}: image '{name}' is {found}. Check the archive.")
        return fitting[0]

    def read(self, name: str) -> bytes:
        """Bytes of a member.

        Raises:
            DataError: the member cannot be read or is implausibly large.
        """
        return checked_read(self._members, name, self.path)


class PictureSource(Protocol):
    """Picture files by name."""

    path: Path

    def read(self, name: str) -> bytes:
        """Bytes of a picture."""
        ...


class EncodedImages(Hashed):
    """Picture files of a source, in the order of `names`."""

    def __init__(self, source: PictureSource, names: Sequence[str]) -> None:
        self.source, self.names = source, list(names)

    def __len__(self) -> int:
        return len(self.names)

    def pixels(self, indices: IntArray, size: int) -> PixelArray:
        """uint8 RGB (B, size, size, 3).

        Raises:
            DataError: an image cannot be read or decoded; names it and its archive.
        """
        out_BHWC = np.empty((len(indices), size, size, 3), np.uint8)
        for row, index in enumerate(indices):
            name = self.names[index]
            content = self.source.read(name)
            try:
                image = decode_image(content, MAX_PIXELS)
            except DataError as error:
                raise DataError(
                    f"{self.source.path}: image '{name}': {error}. Get that file anew."
                ) from None
            out_BHWC[row] = np.asarray(resize_square(image, size))
        return out_BHWC

    def content(self, indices: IntArray) -> bytes:
        """Bytes of a file.

        Raises:
            DataError: it cannot be read.
        """
        (index,) = indices
        return self.source.read(self.names[index])

    def take(self, indices: IntArray) -> EncodedImages:
        """The images at `indices`."""
        return EncodedImages(self.source, [self.names[i] for i in indices])


class ArrayImages(Hashed):
    """Images held as one uint8 array, grey (N, H, W) or RGB (N, H, W, 3)."""

    def __init__(self, array: PixelArray) -> None:
        self.array = array

    def __len__(self) -> int:
        return len(self.array)

    def pixels(self, indices: IntArray, size: int) -> PixelArray:
        """uint8 RGB (B, size, size, 3)."""
        out_BHWC = np.empty((len(indices), size, size, 3), np.uint8)
        for row, index in enumerate(indices):
            image = Image.fromarray(self.array[index]).convert("RGB")
            out_BHWC[row] = np.asarray(resize_square(image, size))
        return out_BHWC

    def content(self, indices: IntArray) -> bytes:
        """Shape and pixels of a picture."""
        (index,) = indices
        picture_HWC: PixelArray = self.array[index]
        return f"{picture_HWC.shape}".encode() + picture_HWC.tobytes()

    def take(self, indices: IntArray) -> ArrayImages:
        """The images at `indices`."""
        return ArrayImages(self.array[indices])


def image_source(folder: Path, data: TaskData) -> ImageSource:
    """The images of a set: `data.images` where given, else `images` or `Images` in it.

    `data.images` is an archive or a folder of pictures, or has them in images.zip or images.tar.

    Raises:
        DataError: there are none.
    """
    if data.images:
        given = expand(data.images)
        packed = (given / name for name in ("images.zip", "images.tar"))
        return ImageSource(next((path for path in packed if path.is_file()), given))
    found = pictures(folder / "images") or pictures(folder / "Images")
    return ImageSource(found or folder)


def pictures(path: Path) -> Path | None:
    """The first that exists of the archives `path`.zip and `path`.tar and the folder `path`."""
    candidates = (path.with_name(path.name + ".zip"), path.with_name(path.name + ".tar"), path)
    return next((candidate for candidate in candidates if candidate.exists()), None)


def checked_read(members: Members, name: str, where: Path) -> bytes:
    """Bytes of a member.

    Raises:
        DataError: it cannot be read or is implausibly large.
    """
    try:
        size = members.size(name)
        if size > MAX_FILE_BYTES:
            raise DataError(f"{where}: '{name}' has {size} bytes, too many for a picture.")
        return members.read(name)
    except UNREADABLE as error:
        raise DataError(f"{where}: '{name}' cannot be read ({error}). Get it anew.") from None


def _is_picture(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in SUFFIXES and not is_hidden(name)
