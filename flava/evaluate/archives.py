"""Files of a folder, a zip or an uncompressed tar, read by name; archives are never extracted."""

from __future__ import annotations

import tarfile
import zipfile
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol

import numpy as np

from flava.data.archive import UNREADABLE, read_span, tar_files
from flava.data.walk import files_below
from flava.errors import DataError

COMPRESSED = (b"\x1f\x8b", b"BZh9", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd")  # gzip, bzip2, xz, zstd


class Members(Protocol):
    """Regular files by name, with random access."""

    @property
    def names(self) -> list[str]:
        """Relative names, sorted."""
        ...

    def size(self, name: str) -> int:
        """Bytes of a file, as the folder or the archive's index states it."""
        ...

    def read(self, name: str) -> bytes:
        """Content of a file."""
        ...


def open_members(path: Path) -> Members:
    """The files of a folder, zip or plain tar; the kind of an archive is told by its content.

    Raises:
        DataError: the path is missing, unreadable or none of these, or is a compressed tar.
    """
    try:
        if path.is_dir():
            return _Folder(path)
        with open(path, "rb") as file:
            start = file.read(8)
        if start.startswith(COMPRESSED):
            raise DataError(
                f"{path} is compressed as a whole: no image can be read without all before it. "
                "Unpack it into a folder, or decompress it to a plain .tar."
            )
        return TarFiles(_tar_places(path)) if tarfile.is_tarfile(path) else _Zip(path)
    except FileNotFoundError:
        raise DataError(
            f"{path} is missing: expected a folder of images, or a zip or tar archive."
        ) from None
    except (*UNREADABLE, tarfile.TarError) as error:
        raise DataError(
            f"{path} is neither a readable folder nor a readable zip archive or tar archive "
            f"({error}). Check its permissions, or get it anew."
        ) from None


class _Folder:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.names = files_below(path)

    def size(self, name: str) -> int:
        return (self.path / name).stat().st_size

    def read(self, name: str) -> bytes:
        return (self.path / name).read_bytes()


class _Zip:
    def __init__(self, path: Path) -> None:
        self._zip = zipfile.ZipFile(path)
        self.names = sorted(i.filename for i in self._zip.infolist() if not i.is_dir())

    def size(self, name: str) -> int:
        return self._zip.getinfo(name).file_size

    def read(self, name: str) -> bytes:
        return self._zip.read(name)


class TarFiles:
    """Files within plain tars, read where they lie: 24 bytes a file beside its name.

    Args:
        found: name, tar, offset and size of each. Of equal names the last counts, as where a tar
            is unpacked.
    """

    def __init__(self, found: Iterable[tuple[str, Path, int, int]]) -> None:
        tars: dict[Path, int] = {}
        rows: dict[str, int] = {}
        places = array("q")
        for row, (name, tar, offset, size) in enumerate(found):
            places.extend((tars.setdefault(tar, len(tars)), offset, size))
            rows[name] = row
        self.names = sorted(rows)
        self._tars = list(tars)
        order_N = np.array([rows[name] for name in self.names], np.int64)
        self._places_N3 = np.array(places, np.int64).reshape(-1, 3)[order_N]

    def _place(self, name: str) -> tuple[Path, int, int]:
        row = bisect_left(self.names, name)
        if row == len(self.names) or self.names[row] != name:
            raise KeyError(name)
        tar, offset, size = self._places_N3[row].tolist()
        return self._tars[tar], offset, size

    def size(self, name: str) -> int:
        return self._place(name)[2]

    def read(self, name: str) -> bytes:
        tar, offset, size = self._place(name)
        # Opened for each file: ImageNet has 1,000 tars, as many as a process may keep open.
        with open(tar, "rb", buffering=0) as file:
            return read_span(file, offset, size)


def _tar_places(path: Path) -> Iterator[tuple[str, Path, int, int]]:
    with tarfile.open(path, "r:") as tar:
        for name, stored in tar_files(tar, path):
            yield name, path, stored.offset_data, stored.size
