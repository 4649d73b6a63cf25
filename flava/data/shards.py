"""Tar shards (readable by WebDataset) with an index for random access.

A corpus folder holds shards/<number>.tar, index.npy (int64 [N, 3]: shard, byte offset, bytes) and
keys.npy (bytes [N]). Sample n is the members <n>.<extension> and <n>.json.
"""

from __future__ import annotations

import io
import json
import os
import tarfile
import tempfile
from array import array
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flava.data.archive import image_extension
from flava.errors import DataError
from flava.io import read_json

HEADER = tarfile.BLOCKSIZE
FORMAT = 1


class ShardWriter:
    """Writes samples to tar shards of at most `shard_bytes` and remembers where they are."""

    def __init__(self, directory: Path, shard_bytes: int) -> None:
        self.directory = directory
        self.shard_bytes = shard_bytes
        self._rows = array("q")  # flat: a corpus may have a hundred million images
        self._keys = KeyWriter(directory / "keys.npy")
        self._tar: tarfile.TarFile | None = None
        self._shards = 0
        (directory / "shards").mkdir()

    def __len__(self) -> int:
        return len(self._rows) // 3

    def add(self, key: str, image: bytes, meta: dict[str, Any]) -> None:
        """Appends one image of a supported format and its JSON."""
        number = f"{len(self):09d}"
        text = json.dumps({"key": key, **meta}, ensure_ascii=False, sort_keys=True).encode()
        tar = self._tar_for(len(image) + len(text) + 4 * HEADER)
        offset = tar.offset + HEADER
        self._member(tar, f"{number}.{image_extension(image)}", image)
        self._member(tar, f"{number}.json", text)
        self._rows.extend((self._shards - 1, offset, len(image)))
        self._keys.add(key.encode())

    def _tar_for(self, size: int) -> tarfile.TarFile:
        if self._tar is not None and self._tar.offset + size > self.shard_bytes:
            self._tar.close()
            self._tar = None
        if self._tar is None:
            path = self.directory / "shards" / f"{self._shards:06d}.tar"
            self._tar = tarfile.TarFile(path, "w", format=tarfile.USTAR_FORMAT)
            self._shards += 1
        return self._tar

    @staticmethod
    def _member(tar: tarfile.TarFile, name: str, data: bytes) -> None:
        info = tarfile.TarInfo(name)  # times and owners stay 0: equal input gives equal bytes
        info.size = len(data)
        tar.addfile(info, io.BytesIO(data))

    def close(self) -> None:
        """Ends the last shard and writes the index."""
        if self._tar is not None:
            self._tar.close()
        np.save(self.directory / "index.npy", np.array(self._rows, np.int64).reshape(-1, 3))
        self._keys.close()


class KeyWriter:
    """Writes names to an array file of equally long bytes; only their lengths are in memory."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lengths = array("H")
        self._raw = tempfile.TemporaryFile(dir=path.parent)  # noqa: SIM115 - closed by close

    def add(self, key: bytes) -> None:
        """Appends a name."""
        self._raw.write(key)
        self._lengths.append(len(key))

    def close(self) -> None:
        """Writes the array, bytes [N]."""
        width = max(self._lengths, default=1)
        header = {
            "descr": f"|S{width}",
            "fortran_order": False,
            "shape": (len(self._lengths),),
        }
        self._raw.seek(0)
        with self.path.open("wb") as file:
            np.lib.format.write_array_header_1_0(file, header)
            for length in self._lengths:
                file.write(self._raw.read(length).ljust(width, b"\0"))
        self._raw.close()


class ShardReader:
    """Random access to the images of a prepared corpus.

    Raises:
        DataError: a file is missing, or has not the size that the manifest says (named).
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        manifest = read_manifest(directory)
        for name, file in manifest["files"].items():
            check_size(directory / name, int(file["bytes"]))
        self.index = load_array(directory / "index.npy")
        self.keys = load_array(directory / "keys.npy")
        self.names = sorted(name for name in manifest["files"] if name.startswith("shards/"))
        self._files: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self.index)

    def key(self, index: int) -> str:
        """Name of an image."""
        return bytes(self.keys[index]).decode()

    def read(self, index: int) -> bytes:
        """Bytes of an image; any number of threads may call this.

        Raises:
            DataError: the shard has become shorter since it was opened.
        """
        shard, offset, size = (int(value) for value in self.index[index])
        if shard not in self._files:
            self._files[shard] = os.open(self.directory / self.names[shard], os.O_RDONLY)
        data = os.pread(self._files[shard], size, offset)
        if len(data) != size:
            raise DataError(truncated(self.directory / self.names[shard]))
        return data

    def __del__(self) -> None:
        for file in getattr(self, "_files", {}).values():
            os.close(file)


def read_manifest(directory: Path) -> dict[str, Any]:
    """The manifest of a prepared corpus.

    Raises:
        DataError: it is missing, damaged or of another format.
    """
    path = directory / "manifest.json"
    if not path.is_file():
        raise DataError(
            f"{directory} is not a prepared corpus: manifest.json is missing. Prepare it."
        )
    manifest = read_json(path)
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise DataError(f"{path} is not of corpus format {FORMAT}. Prepare the corpus anew.")
    return manifest


def check_size(path: Path, size: int) -> None:
    """Raises DataError where `path` is missing or has not `size` bytes."""
    if not path.is_file():
        raise DataError(f"{path} is missing, but the manifest lists it. Prepare the corpus anew.")
    if path.stat().st_size != size:
        raise DataError(truncated(path, size))


def truncated(path: Path, size: int | None = None) -> str:
    """Sentence about a file of the wrong length."""
    wanted = "" if size is None else f"; the manifest says {size}"
    return (
        f"{path} has {path.stat().st_size} bytes{wanted}: truncated or replaced. "
        "Prepare the corpus anew."
    )


def load_array(path: Path) -> NDArray[Any]:
    """Memory-maps an array file.

    Raises:
        DataError: it is missing, truncated or not an array file.
    """
    try:
        return _array(path)
    except FileNotFoundError:
        raise DataError(f"{path} is missing. Prepare the corpus anew.") from None
    except Exception as error:  # NumPy reads a header as Python: damaged ones raise what code does
        raise DataError(f"{path} is damaged ({error}). Prepare the corpus anew.") from error


def _array(path: Path) -> NDArray[Any]:
    try:
        # A plain view: indexing a memmap object costs several times as much.
        return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
    except ValueError:
        whole: NDArray[Any] = np.load(path, allow_pickle=False)  # an empty array cannot be mapped
        return whole
