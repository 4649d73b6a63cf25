"""Files of a folder or a zip archive, read by name; names from data files are not trusted."""

from __future__ import annotations

import lzma
import os
import tarfile
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import IO

from flava.data.walk import files_below, one_file
from flava.errors import DataError, MissingFileError

MAX_FILE_BYTES = 64_000_000
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".ppm", ".tif", ".tiff")
# What a damaged, encrypted or unsupported member raises.
UNREADABLE = (
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, OSError, EOFError, ValueError, KeyError,
    RuntimeError,
)  # fmt: skip
_SIGNATURES = (
    (b"\xff\xd8\xff", "jpg"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"GIF8", "gif"),
    (b"BM", "bmp"),
    (b"P5", "ppm"),
    (b"P6", "ppm"),
    (b"II*\x00", "tif"),
    (b"MM\x00*", "tif"),
)


class Archive:
    """A folder or zip archive.

    Args:
        path: a folder, or a file ending in .zip.

    Raises:
        DataError: the path is missing or is not a readable zip archive.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._zip: zipfile.ZipFile | None = None
        self._by_name: dict[str, list[str]] | None = None
        if path.is_dir():
            return
        if not path.is_file():
            raise DataError(f"{path} is missing. Check the 'path' of the data source.")
        try:
            self._zip = zipfile.ZipFile(path)
        except UNREADABLE as error:
            raise DataError(f"{path} is not a readable zip archive ({error}).") from None

    def names(self) -> list[str]:
        """Relative names of all files, sorted; of a folder as `files_below` lists them."""
        if self._zip is not None:
            return sorted(name for name in self._zip.namelist() if not name.endswith("/"))
        return files_below(self.path)

    def images(self) -> list[str]:
        """Relative names of the image files, sorted."""
        return [name for name in self.names() if name.lower().endswith(IMAGE_SUFFIXES)]

    def find(self, name: str, anywhere: bool = True) -> str:
        """The one file whose relative name is `name` or, `anywhere`, ends with "/" + `name`.

        Raises:
            MissingFileError: there is none.
            DataError: there is more than one, or `name` leads out of the archive.
        """
        check_name(name, self.path)
        if self._has(name):
            return name
        found = self._ending(name) if anywhere else []
        if not found:
            raise MissingFileError(
                f"{self.path}: the file '{name}', named by the captions, is not there."
            )
        if len(found) > 1 and not one_file(self.path, found):
            raise DataError(
                f"{self.path}: the file '{name}', named by the captions, is there "
                f"{len(found)} times."
            )
        return found[0]

    def _has(self, name: str) -> bool:
        if self._zip is not None:
            return name in self._zip.NameToInfo and not name.endswith("/")
        return (self.path / name).is_file()

    def _ending(self, name: str) -> list[str]:
        if self._by_name is None:
            self._by_name = defaultdict(list)
            for member in self.names():
                self._by_name[member.rsplit("/", 1)[-1]].append(member)
        same_file = self._by_name.get(name.rsplit("/", 1)[-1], [])
        return [member for member in same_file if member.endswith("/" + name)]

    def read(self, member: str) -> bytes:
        """Bytes of a file that `names` or `find` has given.

        Raises:
            DataError: larger than 64 MB, or the archive is damaged.
        """
        try:
            size = self._size(member)
            if size > MAX_FILE_BYTES:
                raise DataError(f"{self.path}: '{member}' has {size} bytes, over {MAX_FILE_BYTES}.")
            if self._zip is None:
                return (self.path / member).read_bytes()
            return self._zip.read(member)
        except UNREADABLE as error:
            raise DataError(
                f"{self.path}: '{member}' cannot be read ({error}). Get it again."
            ) from None

    def _size(self, member: str) -> int:
        if self._zip is not None:
            return self._zip.getinfo(member).file_size
        return (self.path / member).stat().st_size


def check_name(name: str, where: Path | str) -> None:
    """Refuses names from data files that are empty, absolute or lead out of their folder.

    Raises:
        DataError: it is such a name.
    """
    parts = PurePosixPath(name).parts
    if not parts or parts[0] == "/" or ".." in parts or "\\" in name or "\0" in name:
        raise DataError(f"{where}: '{name}' is no name of a file in it (empty, absolute or '..').")


def tar_members(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """Members of an uncompressed tar in its order.

    A whole tar ends with a block of zeros. `tarfile` does not ask for it, so one that is cut
    between two members would seem to hold the first of them alone.

    Raises:
        tarfile.ReadError: the archive is damaged or cut off.
    """
    yield from tar
    if tar.fileobj is None:
        raise tarfile.ReadError("closed")
    tar.fileobj.seek(tar.offset)
    if tar.fileobj.read(tarfile.BLOCKSIZE) != tarfile.NUL * tarfile.BLOCKSIZE:
        raise tarfile.ReadError("it has no end mark: cut off between two members")


def tar_files(tar: tarfile.TarFile, where: Path | str) -> Iterator[tuple[str, tarfile.TarInfo]]:
    """Name of each file of an uncompressed tar, and the member that has its bytes.

    That is another member for a hard link. The bytes lie at `offset_data` in the tar, whole.

    Raises:
        DataError: a member is a symbolic link: left out, its picture would be missing without a
            word. The message begins with `where`.
        tarfile.ReadError: as `tar_members`; or a file is sparse, or a link to none before it.
    """
    files: dict[str, tarfile.TarInfo] = {}
    for member in tar_members(tar):
        if member.issym():
            raise DataError(
                f"{where}: '{member.name}' is a symbolic link, which is not followed within a tar. "
                "Unpack the tar into a folder of its own: there links are followed."
            )
        if not (member.isreg() or member.islnk()):
            continue
        name, target = (text.removeprefix("./") for text in (member.name, member.linkname))
        stored = files.get(target) if member.islnk() else member
        if stored is None:
            raise tarfile.ReadError(f"'{name}' is a link to '{target}', not before it")
        if stored.issparse():
            raise tarfile.ReadError(f"'{name}' is sparse")
        files[name] = stored
        yield name, stored


def read_span(file: IO[bytes], offset: int, size: int) -> bytes:
    """Bytes at a place of an opened file, whose own position stays; safe among threads.

    Raises:
        OSError: they cannot be read.
        EOFError: the file ends before they do.
    """
    data = os.pread(file.fileno(), size, offset)
    if len(data) != size:
        raise EOFError("unexpected end of data")
    return data


def first_existing(folder: Path, names: Sequence[str], what: str) -> Path:
    """The first of `names` in `folder`.

    Raises:
        DataError: there is none; says where it looked.
    """
    for name in names:
        if (folder / name).exists():
            return folder / name
    raise DataError(f"{folder} has no {what}: looked for {', '.join(names)}.")


def image_extension(data: bytes) -> str | None:
    """File extension by the first bytes; None if they belong to no supported image format."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    return next((name for start, name in _SIGNATURES if data.startswith(start)), None)
