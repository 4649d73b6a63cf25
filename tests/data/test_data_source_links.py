"""SBU, CC3M, CC12M, WIT and RedCaps in their official layouts over img2dataset's output."""

from __future__ import annotations

import csv
import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from data_helpers import png, source
from pmd_files import Link, write_images, write_img2dataset

from flava.data.sources import read_captions, read_pairs
from flava.errors import DataError

LINKS = [
    Link("http://a/1.jpg", "a red square", 1),
    Link("http://a/2.jpg", "a dead link", None),
    Link("http://a/3.jpg", "a blue star", 3),
]
WIT_HEADER = [
    "language", "page_url", "image_url", "page_title", "section_title",
    "hierarchical_section_title", "caption_reference_description",
    "caption_attribution_description", "caption_alt_text_description", "mime_type",
    "original_height", "original_width", "is_main_image", "attribution_passes_lang_id",
    "page_changed_recently", "context_page_description", "context_section_description",
]  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data set's folder with img2dataset's output of LINKS under images/."""
    # The order of the download need not be that of the annotations.
    write_img2dataset(tmp_path / "images", LINKS[::-1])
    return tmp_path


def check(adapter: str, folder: Path) -> list[str]:
    tally: Counter[str] = Counter()
    pairs = list(read_pairs(source(adapter, folder), tally))
    assert [(pair.captions, pair.image_bytes) for pair in pairs] == [
        (["a red square"], png(1)),
        (["a blue star"], png(3)),
    ]
    assert (tally["missing images"], tally["pairs of missing images"]) == (1, 1)
    assert tally["listed pairs"] == 3
    return [pair.key for pair in pairs]


def test_sbu_json(folder: Path) -> None:
    value = {"image_urls": [link.url for link in LINKS], "user_ids": ["u"] * 3}
    captions = [link.caption for link in LINKS]
    (folder / "sbu-captions-all.json").write_text(json.dumps(value | {"captions": captions}))
    assert check("sbu", folder) == ["000000000", "000000002"]


@pytest.mark.parametrize(
    ("name", "value"), [("captions", None), ("captions", {}), ("image_urls", 1.5)]
)
def test_what_is_no_text_in_sbu_is_no_caption(folder: Path, name: str, value: object) -> None:
    entry = {"image_urls": ["http://a"], "captions": ["a dog"]} | {name: [value]}
    (folder / "sbu-captions-all.json").write_text(json.dumps(entry))
    with pytest.raises(DataError, match=r"all\.json, entry 0 is missing or no text"):
        list(read_captions(source("sbu", folder)))


def test_sbu_text_files(folder: Path) -> None:
    stem = folder / "SBU_captioned_photo_dataset"
    Path(f"{stem}_urls.txt").write_text("".join(f"{link.url}\r\n" for link in LINKS))
    captions = Path(f"{stem}_captions.txt")
    captions.write_text("".join(f"{link.caption}\n" for link in LINKS))
    check("sbu", folder)
    captions.write_text("a red square\n\na blue star\n")  # an empty caption keeps its line
    assert list(read_captions(source("sbu", folder)))[2] == ["a blue star"]
    captions.write_text("one\n")
    with pytest.raises(DataError, match=r"_urls\.txt: 3 URLs, 1 captions"):
        list(read_pairs(source("sbu", folder)))
    captions.write_bytes(b"caf\xe9\n")
    with pytest.raises(
        DataError, match=r"_captions\.txt cannot be read after line 0 .*get it again"
    ):
        list(read_pairs(source("sbu", folder)))


def test_cc3m(folder: Path) -> None:
    text = "".join(f"{link.caption}\t{link.url}\n" for link in LINKS)
    (folder / "Train_GCC-training.tsv").write_text(text)
    assert check("cc3m_tsv", folder) == ["000000001", "000000003"]


def test_cc12m(folder: Path) -> None:
    text = "".join(f"{link.url}\t{link.caption}\n" for link in LINKS)
    (folder / "cc12m.tsv.gz").write_bytes(gzip.compress(text.encode()))
    check("cc12m_tsv", folder)


def wit_row(**fields: str) -> list[str]:
    return [fields.get(name, "") for name in WIT_HEADER]


def write_wit(path: Path, rows: list[list[str]]) -> None:
    with gzip.open(path, "wt", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter="\t").writerows([WIT_HEADER, *rows])


def wit_rows() -> list[list[str]]:
    """English with a reference, with an attribution, in another language, without a caption."""
    url, reference = "image_url", "caption_reference_description"
    attribution, passes = "caption_attribution_description", "attribution_passes_lang_id"
    return [
        wit_row(language="en", **{url: LINKS[0].url, reference: "a red square"}),
        wit_row(language="de", **{url: LINKS[0].url, reference: "ein rotes Quadrat"}),
        wit_row(language="en", **{url: LINKS[1].url, attribution: "dead", passes: "true"}),
        wit_row(language="en", **{url: LINKS[2].url, attribution: "una stella", passes: "false"}),
        wit_row(
            language="en",
            **{url: LINKS[2].url, attribution: "English: a blue star", passes: "true"},
            context_page_description='with "quotes",\ta tab and\na line break',
        ),
    ]


def test_wit(folder: Path) -> None:
    write_wit(folder / "wit_v1.train.all-00000-of-00010.tsv.gz", wit_rows()[:2])
    write_wit(folder / "wit_v1.train.all-00001-of-00010.tsv.gz", wit_rows()[2:])
    tally: Counter[str] = Counter()
    pairs = list(read_pairs(source("wit_tsv", folder), tally))
    assert [(pair.key[:3], pair.captions) for pair in pairs] == [
        ("00-", ["a red square"]),
        ("01-", ["a blue star"]),
    ]
    assert tally == {
        "listed pairs": 4, "missing images": 1, "pairs of missing images": 1,
        "empty captions": 1, "images without caption": 1,
    }  # fmt: skip


def test_wit_malformed(folder: Path) -> None:
    path = folder / "wit_v1.train.all-00000-of-00010.tsv.gz"
    write_wit(path, [*wit_rows(), ["en", "too few"]])
    with pytest.raises(DataError, match=r"00000-of-00010\.tsv\.gz, line 8: 2 fields, expected 17"):
        list(read_pairs(source("wit_tsv", folder)))
    path.write_bytes(gzip.compress(b"language\tpage_url\n"))
    with pytest.raises(DataError, match="column 'image_url' of WIT is missing"):
        list(read_pairs(source("wit_tsv", folder)))
    write_wit(path, wit_rows())
    path.write_bytes(path.read_bytes()[:-6])
    with pytest.raises(DataError, match=r"tsv\.gz cannot be read after line \d"):
        list(read_pairs(source("wit_tsv", folder)))


def redcaps_entry(identity: str, link: Link, **changes: Any) -> dict[str, Any]:
    entry = {"image_id": identity, "author": "x", "url": link.url, "subreddit": "pics"}
    return {**entry, "raw_caption": "RAW", "caption": link.caption, "score": 3, **changes}


def write_redcaps(folder: Path, entries: list[dict[str, Any]]) -> None:
    (folder / "annotations").mkdir()
    value = {"info": {}, "annotations": entries}
    (folder / "annotations" / "pics_2017.json").write_text(json.dumps(value))


def test_redcaps_by_url_and_by_name(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    entries = [redcaps_entry(f"i{n}", link) for n, link in enumerate(LINKS)]
    write_redcaps(folder, entries)
    assert check("redcaps", folder) == ["i0", "i2"]
    other = tmp_path_factory.mktemp("redcaps")
    write_redcaps(other, [*entries, entries[0]])
    write_images(other / "images", ["pics/none.jpg", "pics/i0.jpg", "cats/i1.jpg", "pics/i2.jpg"])
    tally: Counter[str] = Counter()
    pairs = list(read_pairs(source("redcaps", other), tally))
    assert [(pair.key, pair.image_bytes) for pair in pairs] == [("i0", png(1)), ("i2", png(3))]
    assert tally["missing images"] == tally["duplicate keys"] == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"caption": None}, r"pics_2017\.json, annotations\[0\]: 'caption' is missing"),
        ({"image_id": "i" * 300}, "the key 'iiii.*' has over 255 characters"),
        ({"image_id": "../../secret"}, "no name of a file in it"),
        ({"subreddit": "/etc"}, "no name of a file in it"),
    ],
)
def test_redcaps_malformed(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    write_redcaps(tmp_path, [redcaps_entry("i", LINKS[0], **changes)])
    write_images(tmp_path / "images", ["pics/i.jpg"])
    with pytest.raises(DataError, match=message):
        list(read_pairs(source("redcaps", tmp_path)))


@pytest.mark.parametrize(
    ("adapter", "name"), [("cc3m_tsv", "Train_GCC-training.tsv"), ("cc12m_tsv", "cc12m.tsv")]
)
def test_malformed_lines(folder: Path, adapter: str, name: str) -> None:
    (folder / name).write_text("a\tb\n\nonly one field\n")
    with pytest.raises(DataError, match=rf"{name}, line 3: 1 fields, expected 2"):
        list(read_pairs(source(adapter, folder)))
    (folder / name).write_bytes(b"a\tb\n\xff\xfe\tb\n")
    with pytest.raises(DataError, match=rf"{name} cannot be read after line"):
        list(read_pairs(source(adapter, folder)))


def test_download_is_missing(tmp_path: Path) -> None:
    (tmp_path / "cc12m.tsv").write_text("http://a\ta cat\n")
    with pytest.raises(DataError, match=r"images has neither 00000\.tar nor a folder 00000"):
        list(read_pairs(source("cc12m_tsv", tmp_path)))
