"""Output of img2dataset: tar shards or numbered folders with a parquet table of what came down.

    00000.tar  or  00000/     members 000000000.jpg, 000000000.txt (caption), 000000000.json
    00000.parquet             rows with url, caption, key and status ("success" or why not)

A file is found by the URL it came from, so that an annotation file in its official format can be
laid over the download. Nothing is unpacked; names inside a tar are never used as paths.
"""

from __future__ import annotations

import hashlib
from array import array
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flava.data.archive import IMAGE_SUFFIXES, check_name
from flava.data.lines import as_text, parse_json, whole_number
from flava.data.shard_members import FolderMembers, ImagePlaces, TarMembers
from flava.errors import DataError, MissingFileError

OPEN_SHARDS = 8
COLUMNS = ["url", "caption", "key", "status"]


class Img2Dataset:
    """The folder that img2dataset wrote.

    Raises:
        DataError: it holds no shards.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.shards = shard_paths(path)
        if not self.shards:
            raise DataError(f"{path} has neither 00000.tar nor a folder 00000 of img2dataset.")
        self._open: OrderedDict[int, TarMembers | FolderMembers] = OrderedDict()
        self._closed: dict[int, ImagePlaces] = {}
        self._urls: tuple[NDArray[np.uint64], NDArray[np.int64], NDArray[np.bytes_]] | None = None

    def rows(self, shard: int) -> Iterator[dict[str, str]]:
        """url, caption, key and status of every link of a shard, in order of the keys.

        Without the parquet table only what came down is known, from the .json files.
        """
        table = self.shards[shard].with_suffix(".parquet")
        rows = _parquet(table) if table.is_file() else self._sidecars(shard)
        yield from sorted(rows, key=lambda row: row["key"])

    def _sidecars(self, shard: int) -> list[dict[str, str]]:
        members = self._members(shard, whole=True)
        rows = []
        for name in members.places:
            if not name.endswith(".json"):
                continue
            where = f"{members.path}, {name}"
            value = _json(members.read(name), where)
            if not isinstance(value, dict):
                raise DataError(f"{where}: expected a JSON object, a row of img2dataset.")
            rows.append(
                _row({"key": name.removesuffix(".json"), "status": "success", **value}, where)
            )
        return rows

    def find(self, name: str) -> str:
        """`<shard>/<file>` for `<shard>/<key>`, whatever the image's extension.

        Raises:
            MissingFileError: the image did not come down.
        """
        check_name(name, self.path)
        shard, _, key = name.partition("/")
        places = self._members(int(shard)).places
        for suffix in IMAGE_SUFFIXES:
            if key + suffix in places:
                return f"{shard}/{key}{suffix}"
        raise MissingFileError(f"{self.shards[int(shard)]} has no image '{key}'.")

    def find_url(self, url: str) -> str:
        """`<shard>/<file>` of the image that came from `url`. Raises as `find`."""
        hashes_N, shards_N, keys_N = self._url_index()
        wanted = url_hash(url)
        place = int(np.searchsorted(hashes_N, wanted))
        if place == len(hashes_N) or hashes_N[place] != wanted:
            raise MissingFileError(f"{self.path} has no image from {url}.")
        return self.find(f"{shards_N[place]}/{bytes(keys_N[place]).decode()}")

    def _url_index(self) -> tuple[NDArray[np.uint64], NDArray[np.int64], NDArray[np.bytes_]]:
        """Sorted hashes of the URLs that came down, with shard and key: 30 bytes a link."""
        if self._urls is None:
            hashes, shards, keys = array("Q"), array("q"), []
            for shard in range(len(self.shards)):
                for row in self.rows(shard):
                    if row["status"] == "success":
                        hashes.append(int(url_hash(row["url"])))
                        shards.append(shard)
                        keys.append(row["key"].encode())
            hashes_N = np.array(hashes, np.uint64)
            order_N = np.argsort(hashes_N, kind="stable")  # of equal URLs the first comes first
            keys_N = np.array(keys or [b""])[: len(keys)]
            self._urls = (hashes_N[order_N], np.array(shards, np.int64)[order_N], keys_N[order_N])
        return self._urls

    def read(self, member: str) -> bytes:
        """Bytes of what `find` or `find_url` gave. Raises as `TarMembers.read`."""
        shard, _, name = member.partition("/")
        return self._members(int(shard)).read(name)

    def _members(self, shard: int, whole: bool = False) -> TarMembers | FolderMembers:
        """An open shard: its images or, `whole`, all of its files."""
        if shard not in self._open or (whole and not self._open[shard].whole):
            path = self.shards[shard]
            known = None if whole else self._closed.get(shard)
            kind = FolderMembers if path.is_dir() else TarMembers
            self._open[shard] = kind(path, known)
        self._open.move_to_end(shard)
        while len(self._open) > OPEN_SHARDS:
            number, oldest = self._open.popitem(last=False)
            if number not in self._closed:
                self._closed[number] = ImagePlaces(oldest.places)
        return self._open[shard]


def shard_paths(path: Path) -> list[Path]:
    """The shards of a folder of img2dataset in order: <number>.tar, or folders <number>."""
    if not path.is_dir():
        return []
    tars = [file for file in path.glob("*.tar") if whole_number(file.stem) is not None]
    folders = [folder for folder in path.iterdir() if folder.is_dir() and _is_shard(folder)]
    return sorted(tars or folders, key=lambda shard: int(shard.stem))


def _is_shard(folder: Path) -> bool:
    return len(folder.name) >= 5 and whole_number(folder.name) is not None


def url_hash(url: str) -> np.uint64:
    """64 bits of a URL's BLAKE2 hash: two of 100 million URLs collide with probability 3e-4."""
    return np.uint64(int.from_bytes(hashlib.blake2b(url.encode(), digest_size=8).digest(), "big"))


def _parquet(path: Path) -> list[dict[str, str]]:
    import pyarrow
    import pyarrow.parquet

    try:
        names = pyarrow.parquet.read_schema(path).names
        wanted = [name for name in COLUMNS if name in names]
        rows = pyarrow.parquet.read_table(path, columns=wanted).to_pylist()
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"{path} is not a readable parquet table ({error}). Download the shard again."
        ) from None
    return [_row(row, f"{path}, row {number}") for number, row in enumerate(rows, 1)]


def _json(content: bytes, where: str) -> Any:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{where} is not UTF-8 text ({error}). Download the shard again.") from None
    return parse_json(text, where)


def _row(value: Any, where: str) -> dict[str, str]:
    if not isinstance(value, dict) or not value.get("key") or not value.get("url"):
        raise DataError(f"{where}: not a row of img2dataset: 'url' or 'key' is missing.")
    known = {name: value[name] for name in COLUMNS if value.get(name) is not None}
    row = dict.fromkeys(COLUMNS, "")
    row |= {name: as_text(each, f"{where}: '{name}'") for name, each in known.items()}
    check_name(row["key"], where)
    return row
