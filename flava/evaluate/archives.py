"""Files of a folder, a zip or an uncompressed tar, read by name; archives are never extracted."""

from __future__ import annotations

import os
import tarfile
import zipfile
from pathlib import Path
from typing import Protocol

from flava.data.archive import UNREADABLE, refuse_link, tar_members
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
        return _Tar(path) if tarfile.is_tarfile(path) else _Zip(path)
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


class _Tar:
    """Offsets of an uncompressed tar, from one pass over its headers."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = open(path, "rb")  # noqa: SIM115 (kept open as long as the archive is)
        end = os.fstat(self._file.fileno()).st_size
        self._spans: dict[str, tuple[int, int]] = {}
        with tarfile.open(path, "r:") as tar:
            for member in tar_members(tar):
                refuse_link(member, path)
                if member.isreg() or member.islnk():
                    self._spans[_plain(member.name)] = self._span(member, end)
        self.names = sorted(self._spans)

    def _span(self, member: tarfile.TarInfo, end: int) -> tuple[int, int]:
        """Where a file's bytes begin, and how many they are; a hard link has another file's."""
        if member.islnk():
            target = _plain(member.linkname)
            if target not in self._spans:
                raise tarfile.ReadError(f"'{member.name}' is a link to '{target}', not before it")
            return self._spans[target]
        if member.issparse() or member.offset_data + member.size > end:
            raise tarfile.ReadError(f"'{member.name}' is cut off or sparse")
        return member.offset_data, member.size

    def size(self, name: str) -> int:
        return self._spans[name][1]

    def read(self, name: str) -> bytes:
        offset, size = self._spans[name]
        return os.pread(self._file.fileno(), size, offset)

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            self._file.close()


def _plain(name: str) -> str:
    return name.removeprefix("./")
