"""YFCC100M in its tab-separated and its SQLite release, with the filter of Section 3.5."""

from __future__ import annotations

import bz2
import sqlite3
from collections import Counter
from pathlib import Path
from urllib.parse import quote_plus

import pytest
from data_helpers import png, source
from pmd_files import Link, write_images, write_img2dataset

from flava.config import CaptionFilterConfig
from flava.data.source_yfcc import bucket_name, plain
from flava.data.sources import read_captions, read_pairs
from flava.errors import DataError

PAPER = CaptionFilterConfig(min_words=3, english="function_words")
NAMES = (
    "photoid uid unickname datetaken dateuploaded capturedevice title description usertags "
    "machinetags longitude latitude accuracy pageurl downloadurl licensename licenseurl serverid "
    "farmid secret secretoriginal ext marker"
)
COLUMNS = NAMES.split()
# identifier, title, description, marker (1: a video)
PHOTOS = [
    ("1", "IMG_0520", 'My <a href="http://x">vacation</a> &amp; a boat on the sea', "0"),
    ("2", "The old harbour at night", "Schöner Abend mit der Familie", "0"),
    ("3", "Two words", "", "0"),
    ("4", "A film of the sea", "A film of the sea", "1"),
    ("5", "A title of three words", "The description of three words", "0"),
    ("6", "Noche en la playa", "Una noche en la playa", "0"),
]
EXPECTED = [
    ("1", ["My vacation & a boat on the sea"]),
    ("2", ["The old harbour at night"]),
    ("5", ["The description of three words"]),
]


def url(identity: str) -> str:
    return f"http://farm1.staticflickr.com/1/{identity}_x.jpg"


def rows() -> list[dict[str, str]]:
    """The photos with every column, URL-encoded as published."""
    return [
        dict.fromkeys(COLUMNS, "x")
        | {"photoid": identity, "downloadurl": url(identity), "marker": marker}
        | {"title": quote_plus(title), "description": quote_plus(description)}
        for identity, title, description, marker in PHOTOS
    ]


def write_tsv(path: Path, extra: bool) -> None:
    lines = []
    for number, row in enumerate(rows()):
        fields = [row[name] for name in COLUMNS]
        if extra:  # a line number, and a hash after the identifier
            fields = [str(number), fields[0], "hash", *fields[1:]]
        lines.append("\t".join(fields) + "\n")
    path.write_bytes(bz2.compress("".join(lines).encode()))


def write_sqlite(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute(f"CREATE TABLE yfcc100m_dataset ({', '.join(COLUMNS)})")
        marks = ", ".join("?" * len(COLUMNS))
        for row in rows():
            values = [row[name] for name in COLUMNS]
            database.execute(f"INSERT INTO yfcc100m_dataset VALUES ({marks})", values)
    database.close()


@pytest.fixture(params=["23 fields", "25 fields", "sqlite"])
def folder(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    if request.param == "sqlite":
        write_sqlite(tmp_path / "yfcc100m_dataset.sql")
    else:
        write_tsv(tmp_path / "yfcc100m_dataset.bz2", request.param == "25 fields")
    return tmp_path


def test_description_then_title(folder: Path) -> None:
    """Section 3.5, in every release, with the bucket's file names."""
    write_images(folder / "images", [bucket_name(url(photo[0])) for photo in PHOTOS])
    tally: Counter[str] = Counter()
    pairs = list(read_pairs(source("yfcc100m", folder, filter=PAPER), tally))
    assert [(pair.key, pair.captions) for pair in pairs] == EXPECTED
    assert [pair.image_bytes for pair in pairs] == [png(0), png(1), png(4)]
    assert tally == {
        "listed pairs": 5, "too few words": 1, "not English": 1, "images without caption": 2,
    }  # fmt: skip


def test_img2dataset_and_dead_links(folder: Path) -> None:
    links = [Link(url(photo[0]), "", None if photo[0] == "2" else 7) for photo in PHOTOS]
    write_img2dataset(folder / "images", links)
    tally: Counter[str] = Counter()
    pairs = list(read_pairs(source("yfcc100m", folder, filter=PAPER), tally))
    assert [(pair.key, pair.captions) for pair in pairs] == [EXPECTED[0], EXPECTED[2]]
    assert tally["missing images"] == tally["pairs of missing images"] == 1


def test_without_filter_the_first_field_that_is_not_empty(folder: Path) -> None:
    captions = list(read_captions(source("yfcc100m", folder)))
    assert captions[1:3] == [["Schöner Abend mit der Familie"], ["Two words"]]


def test_bucket_name() -> None:
    """The identifier that YFCC100M's own table gives its first photo is this MD5."""
    name = bucket_name("http://farm8.staticflickr.com/7205/6985418911_df7747990d.jpg")
    assert name == "4e2/f7a/4e2f7a26a1dfbf165a7e30bdabf7e72a.jpg"


def test_plain_text() -> None:
    assert plain("a%26amp%3Bb%0A+%3Cb%3Ebold%3C%2Fb%3E++%C3%A9+3+%3C+4") == "a&b bold é 3 < 4"


def test_malformed(tmp_path: Path) -> None:
    (tmp_path / "yfcc100m_dataset").write_text("\t".join("x" * 23) + "\n" + "\t".join("x" * 20))
    with pytest.raises(DataError, match=r"yfcc100m_dataset, line 2: 20 fields, expected 23 or 25"):
        list(read_captions(source("yfcc100m", tmp_path)))
    (tmp_path / "yfcc100m_dataset").unlink()
    (tmp_path / "yfcc100m_dataset.bz2").write_bytes(b"no archive")
    with pytest.raises(DataError, match=r"yfcc100m_dataset\.bz2 cannot be read after line 0"):
        list(read_captions(source("yfcc100m", tmp_path)))
    (tmp_path / "yfcc100m_dataset.bz2").unlink()
    (tmp_path / "yfcc100m_dataset.sql").write_text("CREATE TABLE")
    with pytest.raises(DataError, match="is not YFCC100M's SQLite release"):
        list(read_captions(source("yfcc100m", tmp_path)))
