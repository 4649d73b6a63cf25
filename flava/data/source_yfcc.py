"""Adapter of YFCC100M, from its tab-separated metadata or its SQLite release."""

from __future__ import annotations

import hashlib
import html
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import unquote_plus

from flava.config import SourceConfig
from flava.data.lines import matching_files, tab_fields
from flava.data.paths import expand
from flava.data.sources import Captioned
from flava.errors import DataError

# Zero-based fields of a line: identifier, title, description, download URL, marker (0: a photo).
# The first release has 23 fields; the later one begins with a line number and has a hash.
FIELDS = {23: (0, 6, 7, 14, 22), 25: (1, 8, 9, 16, 24)}
QUERY = "SELECT photoid, title, description, downloadurl, marker FROM yfcc100m_dataset"
_TAG = re.compile(r"<[^<>]*>")


def yfcc100m(source: SourceConfig) -> Iterator[Captioned]:
    """Photos of YFCC100M with their description, else their title, as the caption (Section 3.5).

    `path` is a file or folder of yfcc100m_dataset* (tab-separated, may be .bz2 or .gz) or
    yfcc100m_dataset.sql (SQLite). Both fields are URL-encoded; entities are decoded and HTML tags
    taken out. Images: img2dataset's output by URL, or the folder layout of the multimedia-commons
    bucket, <3 digits>/<3 digits>/<hash>.jpg.

    Raises:
        DataError: a file is missing or damaged, or a line malformed (file and line are named).
    """
    path = expand(source.path)
    names = ("yfcc100m_dataset*.sql", "yfcc100m_dataset", "yfcc100m_dataset-*")
    for file in matching_files(path, *names, "yfcc100m_dataset*.bz2", "yfcc100m_dataset*.gz"):
        for identity, title, description, url, marker in _rows(file):
            if marker.strip() == "0":
                captions = [plain(description), plain(title)]
                yield Captioned(identity, bucket_name(url), captions, url=url, alternatives=True)


def _rows(path: Path) -> Iterator[list[str]]:
    if path.suffix == ".sql":
        yield from _database(path)
        return
    for _, fields in tab_fields(path, tuple(FIELDS)):
        yield [fields[place] for place in FIELDS[len(fields)]]


def _database(path: Path) -> Iterator[list[str]]:
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as database:
            for row in database.execute(QUERY):
                yield ["" if value is None else str(value) for value in row]
    except sqlite3.Error as error:
        raise DataError(f"{path} is not YFCC100M's SQLite release ({error}).") from None


def plain(field: str) -> str:
    """Text of a URL-encoded field, on one line, without HTML tags and entities."""
    return " ".join(_TAG.sub(" ", html.unescape(unquote_plus(field))).split())


def bucket_name(url: str) -> str:
    """Name of a photo in the multimedia-commons bucket, below data/images/.

    The MD5 of the download URL, each byte in hexadecimal without a leading zero.
    """
    digest = hashlib.md5(url.encode(), usedforsecurity=False).digest()
    name = "".join(f"{byte:x}" for byte in digest)
    return f"{name[:3]}/{name[3:6]}/{name}.jpg"
