"""Files of one shard of img2dataset, a tar or a folder, by name; and where its images lie."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from flava.data.archive import IMAGE_SUFFIXES, MAX_FILE_BYTES, tar_members
from flava.errors import DataError, MissingFileError


class ImagePlaces(Mapping[str, tuple[int, int]]):
    """Offset and size of a shard's images by name, in some 30 bytes an image.

    A URL may stand in a list many times, far apart: to read a shard's headers each time that one
    leads back to it would take days.
    """

    def __init__(self, places: Mapping[str, tuple[int, int]]) -> None:
        names = sorted(name.encode() for name in places if name.endswith(IMAGE_SUFFIXES))
        self._names_N = np.array(names or [b""])[: len(names)]
        spans = [places[name.decode()] for name in names]
        self._spans_N2 = np.array(spans, np.int64).reshape(len(names), 2)

    def __getitem__(self, name: str) -> tuple[int, int]:
        wanted = name.encode()
        place = int(np.searchsorted(self._names_N, wanted))
        if place == len(self) or bytes(self._names_N[place]) != wanted:
            raise KeyError(name)
        offset, size = self._spans_N2[place]
        return int(offset), int(size)

    def __iter__(self) -> Iterator[str]:
        return (bytes(name).decode() for name in self._names_N)

    def __len__(self) -> int:
        return len(self._names_N)


class TarMembers:
    """Regular files of an uncompressed tar by name, read in place.

    Args:
        path: the tar.
        known: where its images lie, if it was opened before: then no other file is found.

    Raises:
        DataError: the file is missing or no readable tar archive.
    """

    def __init__(self, path: Path, known: ImagePlaces | None = None) -> None:
        self.path, self.whole = path, known is None
        self.places: Mapping[str, tuple[int, int]] = _headers(path) if known is None else known
        self._file = os.open(path, os.O_RDONLY)

    def read(self, name: str) -> bytes:
        """Bytes of a member.

        Raises:
            MissingFileError: there is no such member.
            DataError: it is larger than 64 MB or cut short.
        """
        if name not in self.places:
            raise MissingFileError(f"{self.path} has no member '{name}'.")
        offset, size = self.places[name]
        if size > MAX_FILE_BYTES:
            raise DataError(f"{self.path}: '{name}' has {size} bytes, over {MAX_FILE_BYTES}.")
        data = os.pread(self._file, size, offset)
        if len(data) != size:
            raise DataError(f"{self.path}: '{name}' is cut short. Download the shard again.")
        return data

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            os.close(self._file)


def _headers(path: Path) -> dict[str, tuple[int, int]]:
    try:
        with tarfile.open(path, "r:") as tar:
            return {m.name: (m.offset_data, m.size) for m in tar_members(tar) if m.isreg()}
    except (tarfile.TarError, OSError) as error:
        raise DataError(f"{path} is not a readable tar archive ({error}).") from None


class FolderMembers:
    """Files of one numbered folder; the counterpart of `TarMembers`."""

    def __init__(self, path: Path, known: ImagePlaces | None = None) -> None:
        self.path, self.whole = path, known is None
        self.places: Mapping[str, tuple[int, int]] = _entries(path) if known is None else known

    def read(self, name: str) -> bytes:
        """Bytes of a file. Raises as `TarMembers.read`."""
        if name not in self.places:
            raise MissingFileError(f"{self.path} has no file '{name}'.")
        if (self.path / name).stat().st_size > MAX_FILE_BYTES:
            raise DataError(f"{self.path / name} is larger than {MAX_FILE_BYTES} bytes.")
        return (self.path / name).read_bytes()


def _entries(path: Path) -> dict[str, tuple[int, int]]:
    with os.scandir(path) as entries:
        return {entry.name: (0, 0) for entry in entries if entry.is_file()}
