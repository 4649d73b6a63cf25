"""img2dataset's output in its layouts: by itself, by URL, dead links, damage."""

from __future__ import annotations

import json
import tarfile
from collections import Counter
from pathlib import Path

import pytest
from data_helpers import png, source
from pmd_files import Link, add_member, write_img2dataset, write_shard

from flava.data import shard_members
from flava.data.img2dataset import Img2Dataset
from flava.data.sources import read_pairs
from flava.errors import DataError, MissingFileError

LINKS = [
    Link("http://a/1.jpg", "a red square", 1),
    Link("http://a/2.jpg", "a dead link", None),
    Link("http://b/ü?x=3&y", "a blue star", 3),
    Link("http://a/1.jpg", "a red square again", 4),
    Link("http://a/5.jpg", "", 5),
]


def open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


@pytest.mark.parametrize("layout", ["tar", "folder"])
@pytest.mark.parametrize("table", [True, False])
def test_every_link_with_its_caption(tmp_path: Path, layout: str, table: bool) -> None:
    write_img2dataset(tmp_path / "out", LINKS, layout=layout, table=table)
    tally: Counter[str] = Counter()
    pairs = list(read_pairs(source("img2dataset", tmp_path / "out"), tally))
    assert [pair.key for pair in pairs] == ["000000000", "000010000", "000010001", "000020000"]
    assert [pair.image_bytes for pair in pairs] == [png(seed) for seed in (1, 3, 4, 5)]
    assert pairs[1].captions == ["a blue star"]
    # Without the tables nothing is known of links that are dead.
    assert tally["listed pairs"] == (5 if table else 4)
    assert tally["missing images"] == int(table)


@pytest.mark.parametrize("layout", ["tar", "folder"])
@pytest.mark.parametrize("table", [True, False])
def test_by_url(tmp_path: Path, layout: str, table: bool) -> None:
    write_img2dataset(tmp_path, LINKS, layout=layout, table=table)
    images = Img2Dataset(tmp_path)
    assert images.read(images.find_url("http://b/ü?x=3&y")) == png(3)
    assert images.read(images.find_url("http://a/1.jpg")) == png(1), "of equal URLs the first"
    for url in ("http://a/2.jpg", "http://nowhere"):
        with pytest.raises(MissingFileError, match=url):
            images.find_url(url)


def test_shards_are_closed_again(tmp_path: Path) -> None:
    """Files of more shards than are kept open are read, and stay open no longer than that."""
    links = [Link(f"http://a/{i}", f"number {i}", i) for i in range(40)]
    write_img2dataset(tmp_path, links, shard=1)
    before = open_files()
    pairs = read_pairs(source("img2dataset", tmp_path))
    assert [pair.image_bytes for pair in pairs] == [png(i) for i in range(40)]
    images = Img2Dataset(tmp_path)
    assert all(images.read(images.find_url(link.url)) for link in links)
    assert open_files() <= before + 8


@pytest.mark.parametrize("layout", ["tar", "folder"])
@pytest.mark.parametrize("table", [True, False])
def test_a_url_that_comes_back_reads_no_shard_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: str, table: bool
) -> None:
    """Articles share images: each row's URL stands again after more shards than stay open."""
    links = [Link(f"http://a/{i}", f"number {i}", i) for i in range(24)]
    write_img2dataset(tmp_path, links, shard=2, layout=layout, table=table)
    listed: Counter[str] = Counter()
    name = "_headers" if layout == "tar" else "_entries"
    read = getattr(shard_members, name)

    def counted(path: Path) -> dict[str, tuple[int, int]]:
        listed[path.name] += 1
        return read(path)

    images = Img2Dataset(tmp_path)
    images.find_url("http://a/0")  # without tables the index of URLs lists each shard
    monkeypatch.setattr(shard_members, name, counted)
    for _ in range(3):
        assert [images.read(images.find_url(link.url)) for link in links] == [
            png(i) for i in range(24)
        ]
    assert max(listed.values(), default=0) <= 1
    for shard in range(12):  # what lies beside the images is found afterwards too
        assert [row["caption"] for row in images.rows(shard)] == [
            f"number {i}" for i in (2 * shard, 2 * shard + 1)
        ]


def test_success_without_a_file_is_a_dead_link(tmp_path: Path) -> None:
    write_img2dataset(tmp_path, LINKS[:1])
    with tarfile.open(tmp_path / "00000.tar", "w") as tar:
        add_member(tar, "000000000.txt", b"a red square")
    tally: Counter[str] = Counter()
    assert not list(read_pairs(source("img2dataset", tmp_path), tally))
    assert tally["missing images"] == tally["pairs of missing images"] == 1


def test_links_inside_a_tar_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret.jpg").write_bytes(png(9))
    write_img2dataset(tmp_path / "out", LINKS[:1])
    with tarfile.open(tmp_path / "out" / "00000.tar", "w") as tar:
        link = tarfile.TarInfo("000000000.jpg")
        link.type, link.linkname = tarfile.SYMTYPE, str(tmp_path / "secret.jpg")
        tar.addfile(link)
    assert not list(read_pairs(source("img2dataset", tmp_path / "out")))


@pytest.mark.parametrize("key", ["../../secret", "/etc/passwd", "a\\b", ""])
def test_bad_keys_are_refused(tmp_path: Path, key: str) -> None:
    (tmp_path / "secret.jpg").write_bytes(png(9))
    folder = tmp_path / "out" / "00000"
    folder.mkdir(parents=True)
    (folder / "x.json").write_text(json.dumps({"url": "http://a", "key": key}))
    with pytest.raises(DataError, match=r"00000, x\.json: "):
        list(read_pairs(source("img2dataset", tmp_path / "out")))


@pytest.mark.parametrize(
    "content",
    [b"[1]", b"[" * 100_000, b"{", b'{"url": "\xfc"}', b'{"key": "x", "url": ["http://a"]}'],
)
def test_a_sidecar_that_is_no_row_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "00000").mkdir()
    (tmp_path / "00000" / "x.json").write_bytes(content)
    with pytest.raises(DataError, match=r"00000, x\.json"):
        list(read_pairs(source("img2dataset", tmp_path)))


def test_half_an_emoji_in_a_sidecar_is_replaced(tmp_path: Path) -> None:
    """JSON allows it, and no tokenizer takes it."""
    write_img2dataset(tmp_path, LINKS[:1], layout="folder", table=False)
    sidecar = tmp_path / "00000" / "000000000.json"
    sidecar.write_text(sidecar.read_text().replace("a red square", r"cut \ud83d"))
    (pair,) = read_pairs(source("img2dataset", tmp_path))
    assert pair.captions == ["cut \ufffd"]


@pytest.mark.parametrize("layout", ["tar", "folder"])
def test_only_digits_from_0_to_9_number_a_shard(tmp_path: Path, layout: str) -> None:
    write_img2dataset(tmp_path, LINKS[:1], layout=layout)
    write_shard(tmp_path / "0000\N{SUPERSCRIPT TWO}", {"a.txt": b"kept copy"}, layout)
    assert len(list(read_pairs(source("img2dataset", tmp_path)))) == 1


def test_a_table_with_damaged_text_is_named(tmp_path: Path) -> None:
    write_img2dataset(tmp_path, LINKS)
    table = tmp_path / "00000.parquet"
    table.write_bytes(table.read_bytes().replace(b"a red square", b"a red \xff\xfeuare"))
    with pytest.raises(DataError, match=r"00000\.parquet is not a readable parquet .* Download"):
        list(read_pairs(source("img2dataset", tmp_path)))


def test_damage_is_named(tmp_path: Path) -> None:
    write_img2dataset(tmp_path, LINKS)
    (tmp_path / "00001.tar").write_bytes(b"no tar" * 200)
    with pytest.raises(DataError, match=r"00001\.tar is not a readable tar"):
        list(read_pairs(source("img2dataset", tmp_path)))
    write_img2dataset(tmp_path, LINKS)
    (tmp_path / "00001.parquet").write_bytes(b"no table")
    with pytest.raises(DataError, match=r"00001\.parquet is not a readable parquet"):
        list(read_pairs(source("img2dataset", tmp_path)))


def test_truncated_tar(tmp_path: Path) -> None:
    write_img2dataset(tmp_path, LINKS)
    path = tmp_path / "00000.tar"
    with tarfile.open(path) as tar:
        between = tar.getmembers()[-1].offset
    path.write_bytes(path.read_bytes()[:between])
    with pytest.raises(DataError, match=r"00000\.tar is not .*cut off between two members"):
        list(read_pairs(source("img2dataset", tmp_path)))
    path.write_bytes(path.read_bytes()[:600])
    with pytest.raises(DataError, match=r"00000\.tar .*unexpected end of data"):
        list(read_pairs(source("img2dataset", tmp_path)))


def test_no_shards(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"neither 00000\.tar nor a folder 00000"):
        list(read_pairs(source("img2dataset", tmp_path)))
