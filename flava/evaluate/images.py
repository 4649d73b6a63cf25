"""Images in a zip archive or a folder, read by name and decoded on demand."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from flava.config import TaskData
from flava.data.paths import expand
from flava.data.transforms import decode_image, resize_square
from flava.errors import DataError, FlavaError
from flava.evaluate.taskdata import IntArray, PixelArray

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".gif", ".webp", ".tif", ".tiff"})
MAX_FILE_BYTES = 256 * 2**20  # no single picture is larger; guards against archive bombs


class ImageSource:
    """Picture files below a folder or in a zip; members are read, never extracted.

    Raises:
        DataError: the path is missing, is not a zip or folder, or has no picture.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if path.is_dir():
            self._zip = None
            files = sorted(p for p in path.rglob("*") if p.is_file())
            names = [p.relative_to(path).as_posix() for p in files]
        else:
            self._zip = _open_zip(path)
            names = sorted(i.filename for i in self._zip.infolist() if not i.is_dir())
        self.names = [n for n in names if _is_picture(n)]
        if not self.names:
            raise DataError(f"{path} holds no picture files ({', '.join(sorted(SUFFIXES))}).")
        self._by_stem: dict[str, list[str]] = {}
        for name in self.names:
            self._by_stem.setdefault(PurePosixPath(name).stem, []).append(name)

    def find(self, name: str) -> str:
        """The member that `name` (a path's end, with or without suffix) stands for.

        Raises:
            DataError: no member or several members fit.
        """
        wanted = PurePosixPath(name)
        stem = wanted.stem if wanted.suffix.lower() in SUFFIXES else wanted.name
        end = "/" + wanted.with_name(stem).as_posix().lstrip("./")
        fitting = [
            n
            for n in self._by_stem.get(stem, [])
            if ("/" + PurePosixPath(n).with_suffix("").as_posix()).endswith(end)
        ]
        if len(fitting) != 1:
            found = "not there" if not fitting else f"ambiguous ({', '.join(fitting[:3])})"
            raise DataError(f"{self.path}: image '{name}' is {found}. Check the archive.")
        return fitting[0]

    def read(self, name: str) -> bytes:
        """Bytes of a member.

        Raises:
            DataError: the member cannot be read or is implausibly large.
        """
        try:
            if self._zip is None:
                size = (self.path / name).stat().st_size
            else:
                size = self._zip.getinfo(name).file_size
            if size > MAX_FILE_BYTES:
                raise DataError(f"{self.path}: '{name}' has {size} bytes, too many for a picture.")
            return (self.path / name).read_bytes() if self._zip is None else self._zip.read(name)
        except (OSError, KeyError, zipfile.BadZipFile, NotImplementedError) as error:
            raise DataError(f"{self.path}: '{name}' cannot be read ({error}).") from None


class EncodedImages:
    """Picture files of a source, in the order of `names`."""

    def __init__(self, source: ImageSource, names: Sequence[str]) -> None:
        self.source, self.names = source, list(names)

    def __len__(self) -> int:
        return len(self.names)

    def pixels(self, indices: IntArray, size: int) -> PixelArray:
        """uint8 RGB (B, size, size, 3).

        Raises:
            DataError: an image cannot be decoded; names it and its archive.
        """
        out_BHWC = np.empty((len(indices), size, size, 3), np.uint8)
        for row, index in enumerate(indices):
            name = self.names[index]
            try:
                image = decode_image(self.source.read(name))
            except FlavaError as error:
                raise DataError(f"{self.source.path}: image '{name}': {error}") from None
            out_BHWC[row] = np.asarray(resize_square(image, size))
        return out_BHWC

    def take(self, indices: IntArray) -> EncodedImages:
        """The images at `indices`."""
        return EncodedImages(self.source, [self.names[i] for i in indices])


class ArrayImages:
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

    def take(self, indices: IntArray) -> ArrayImages:
        """The images at `indices`."""
        return ArrayImages(self.array[indices])


def image_source(folder: Path, data: TaskData) -> ImageSource:
    """The images of a set: `data.images` where given, else a zip or folder of that name in it.

    Raises:
        DataError: there are none.
    """
    if data.images:
        return ImageSource(expand(data.images))
    for name in ("images.zip", "Images.zip", "images", "Images"):
        if (folder / name).exists():
            return ImageSource(folder / name)
    return ImageSource(folder)


def _open_zip(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except FileNotFoundError:
        raise DataError(
            f"{path} is missing: expected a zip archive or a folder of images."
        ) from None
    except (zipfile.BadZipFile, OSError) as error:
        raise DataError(
            f"{path} is neither a folder nor a readable zip archive ({error})."
        ) from None


def _is_picture(name: str) -> bool:
    path = PurePosixPath(name)
    hidden = any(part.startswith((".", "__MACOSX")) for part in path.parts)
    return path.suffix.lower() in SUFFIXES and not hidden
