"""Source adapters on the real files, and on files that are missing or malformed."""

from __future__ import annotations

import json
import os
import re
import zipfile
from itertools import chain, islice
from pathlib import Path

import pytest
from data_helpers import pairs_source, png, source

from flava.data.adapters import KINDS
from flava.data.archive import Archive
from flava.data.paths import expand
from flava.data.sources import read_captions, read_images, read_pairs, read_texts
from flava.data.transforms import decode_image
from flava.errors import ConfigError, DataError


def test_flickr8k_layouts_agree(real_data: Path) -> None:
    karpathy = source("karpathy", "$FLAVA_DATA/flickr8k")
    tokens = source("flickr8k_tokens", "$FLAVA_DATA/flickr8k")
    assert list(read_captions(karpathy)) == list(read_captions(tokens))
    first, other = (next(read_pairs(each)) for each in (karpathy, tokens))
    assert first == other
    assert first.key == "2903617548_d3e38d7f88.jpg"
    assert len(first.captions) == 5
    assert first.captions[0] == "A little baby plays croquet ."
    assert decode_image(first.image_bytes).size == (112, 112)


@pytest.mark.parametrize(
    ("adapter", "split", "images"),
    [
        ("karpathy", "train", 4500),
        ("karpathy", "val+test", 1400),
        ("flickr8k_tokens", "dev", 700),
        ("flickr8k_tokens", "test", 700),
    ],
)
def test_flickr8k_counts(real_data: Path, adapter: str, split: str, images: int) -> None:
    captions = list(read_captions(source(adapter, "$FLAVA_DATA/flickr8k", split=split)))
    assert len(captions) == images
    assert all(len(five) == 5 for five in captions)


def test_limit_counts_items(real_data: Path) -> None:
    assert len(list(read_pairs(source("karpathy", "$FLAVA_DATA/flickr8k", limit=3)))) == 3


def test_image_folder_real(real_data: Path) -> None:
    images = list(read_images(source("image_folder", "$FLAVA_DATA/cifar10/images.zip")))
    assert len(images) == 3000
    assert len({image.label for image in images}) == 10
    assert images[0].key.startswith("train/airplane/")
    flat = next(read_images(source("image_folder", "$FLAVA_DATA/imagenet_samples", split="images")))
    assert flat.label is None


@pytest.mark.parametrize("packed", [False, True], ids=["folder", "zip"])
def test_what_a_system_put_beside_pictures_is_no_picture(tmp_path: Path, packed: bool) -> None:
    """As in evaluation: macOS leaves such files in a zip, and no one can decode them."""
    names = ["train/a/1.png", "train/a/._1.png", "train/.b/1.png", "__MACOSX/train/a/._1.png"]
    names += ["train/__MACOSX/1.png", ".c/1.png"]
    path = tmp_path / ("a.zip" if packed else "a")
    for name in names if not packed else ():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(b"x")
    if packed:
        with zipfile.ZipFile(path, "w") as archive:
            for name in names:
                archive.writestr(name, b"x")
    assert [image.key for image in read_images(source("image_folder", path))] == names[:1]
    with pytest.raises(DataError, match=r"no image in 'test/'\. Its top folders: train\.$"):
        next(read_images(source("image_folder", path, split="test")))


def test_wikitext_real(real_data: Path) -> None:
    documents = list(read_texts(source("wikitext", "$FLAVA_DATA/text/wikitext-2", split="valid")))
    assert len(documents) == 60
    assert documents[0].startswith("= Homarus gammarus =\n")
    joined = "\n".join(documents)
    assert "[UNK]" in joined
    assert "<unk>" not in joined
    assert "@-@" not in joined


def test_ag_news_real(real_data: Path) -> None:
    documents = list(
        read_texts(source("ag_news_csv", "$FLAVA_DATA/text/ag_news_csv", split="test"))
    )
    assert len(documents) == 5548
    assert documents[0].startswith("The Race is On: Second Private Team")
    assert all(document.count("\n") == 1 for document in documents)
    assert not re.search(r"#\d+;|\\", "".join(documents))


def test_gutenberg_real(real_data: Path) -> None:
    books = list(read_texts(source("gutenberg", "$FLAVA_DATA/text/gutenberg")))
    assert len(books) == 2
    assert "It is a truth universally acknowledged" in books[0]
    assert not any("Project Gutenberg License" in book for book in books)


def test_tinyshakespeare_documents(real_data: Path) -> None:
    path = "$FLAVA_DATA/text/tinyshakespeare/input.txt"
    first = next(read_texts(source("text_lines", path)))
    assert first.startswith("First Citizen:\nBefore we proceed")


def test_text_lines(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\ntwo\n")
    (tmp_path / "b.txt").write_text("\nthree\nfour\n \n\nfive")
    documents = list(read_texts(source("text_lines", tmp_path)))
    assert documents == ["one", "two", "three\nfour", "five"]


def test_only_newline_ends_a_line(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"one\rand more\r\ntwo\x0band more\n")
    documents = list(read_texts(source("text_lines", tmp_path / "a.txt")))
    assert documents == ["one\rand more", "two\x0band more"]
    (tmp_path / "train.csv").write_bytes('"1","a\u2028b","c\nd"\r\n"2","e","f"\n'.encode())
    assert list(read_texts(source("ag_news_csv", tmp_path))) == ["a b\nc d", "e\nf"]
    (tmp_path / "wiki.train.tokens").write_bytes(b" = A = \n one\r = two = \n")
    article = "= A =\none\r = two ="
    assert list(read_texts(source("wikitext", tmp_path))) == [article]


def test_captions_jsonl(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").write_bytes(png(1))
    file = tmp_path / "captions.jsonl"
    file.write_text('{"file": "a.png", "captions": ["one", "two"]}\n')
    item = next(read_pairs(source("captions_jsonl", file)))
    assert (item.key, item.captions) == ("a.png", ["one", "two"])
    file.write_text('{"file": "a.png", "captions": "one"}\n')
    with pytest.raises(DataError, match=r"captions\.jsonl, line 1: a list 'captions' is missing"):
        list(read_pairs(source("captions_jsonl", file)))
    for caption in ("null", "1.5", '["x"]', "true"):
        file.write_text('{"file": "a.png", "captions": ["one", ' + caption + "]}\n")
        with pytest.raises(DataError, match=r"line 1: captions\[1\] is missing or no text"):
            list(read_pairs(source("captions_jsonl", file)))
    file.write_text("[" * 100_000)
    with pytest.raises(DataError, match=r"captions\.jsonl, line 1: not valid JSON"):
        list(read_pairs(source("captions_jsonl", file)))
    file.write_text('{"file": "a.png", "captions": ["one"]}\n{"file": "a.png"\n')
    with pytest.raises(DataError, match=r"captions\.jsonl, line 2"):
        list(read_pairs(source("captions_jsonl", file)))


def test_emoji_annotations(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        archive.writestr("png/emoji_u1f600.png", png(1))
    file = tmp_path / "annotations.jsonl"
    line = '{"file": "emoji_u1f600.png", "name": "grinning face", "keywords": '
    for keywords, captions in (
        ('["face", "grin"]', ["grinning face", "face, grin"]),
        ("[]", ["grinning face"]),
    ):
        file.write_text(line + keywords + "}\n")
        item = next(read_pairs(source("emoji_annotations", file)))
        assert (item.key, item.captions) == ("emoji_u1f600.png", captions)
        assert item.image_bytes == png(1)
    for keywords, message in (
        ('"grin"', "line 1: a list 'keywords' is missing"),
        ("[null]", r"line 1: keywords\[0\] is missing or no text"),
    ):
        file.write_text(line + keywords + "}\n")
        with pytest.raises(DataError, match=message):
            list(read_pairs(source("emoji_annotations", file)))


def test_emoji_real(real_data: Path) -> None:
    items = list(read_captions(source("emoji_annotations", "$FLAVA_DATA/emoji/annotations.jsonl")))
    assert len(items) == 1150
    assert items[0] == ["hash sign", "hash, hashtag, lb, number, pound, sign"]


def test_unset_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FLAVA_DATA", raising=False)
    with pytest.raises(DataError, match=r"FLAVA_DATA, which is not set.*export FLAVA_DATA="):
        next(read_pairs(source("karpathy", "$FLAVA_DATA/flickr8k")))
    monkeypatch.setenv("FLAVA_DATA", "/data")
    assert expand("${FLAVA_DATA}/x") == expand("$FLAVA_DATA/x") == Path("/data/x")


def test_unknown_adapter() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'karpathy'"):
        next(read_pairs(source("karpaty", "x")))
    with pytest.raises(ConfigError, match="unknown adapter 'karpathy'"):
        next(read_images(source("karpathy", "x")))
    with pytest.raises(ConfigError, match="source 'karpathy' of texts: unknown adapter 'karpathy'"):
        next(read_texts(source("karpathy", "x")))


@pytest.mark.parametrize("adapter", [*chain.from_iterable(KINDS.values())])
def test_missing_path(adapter: str, tmp_path: Path) -> None:
    missing = source(adapter, tmp_path / "nowhere")
    kind = next(kind for kind, names in KINDS.items() if adapter in names)
    read = {"pairs": read_pairs, "images": read_images, "texts": read_texts}[kind]
    with pytest.raises(DataError, match="nowhere"):
        next(iter(read(missing)))


def test_missing_image(raw: Path, tmp_path: Path) -> None:
    (tmp_path / "dataset_x.json").write_text((raw / "pairs" / "dataset_toy.json").read_text())
    with pytest.raises(DataError, match=r"no image zip or folder: looked for images\.zip"):
        next(read_pairs(source("karpathy", tmp_path)))
    zipfile.ZipFile(tmp_path / "images.zip", "w").close()
    with pytest.raises(DataError, match=r"'000\.png', named by the captions, is not there"):
        next(read_pairs(source("karpathy", tmp_path)))


@pytest.mark.parametrize("name", [b"train/caf\xe9/1.png", b"train/cafe/\xe9.png"])
def test_a_file_name_that_is_not_utf_8(tmp_path: Path, name: bytes) -> None:
    path = tmp_path / os.fsdecode(name)
    path.parent.mkdir(parents=True)
    path.write_bytes(png(1))
    says = r"Source 'image_folder': the file name '.*\\udce9.*' is not UTF-8\. Rename it"
    with pytest.raises(DataError, match=says):
        list(read_images(source("image_folder", tmp_path)))


def test_an_unreadable_file_of_a_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").symlink_to("a.jpg")  # a loop, unreadable for everyone
    with pytest.raises(DataError, match=r"'a\.jpg' cannot be read .*Get it again"):
        Archive(tmp_path).read("a.jpg")


def test_names_cannot_leave_the_folder(tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(png(1))
    (tmp_path / "set" / "images").mkdir(parents=True)
    entry = {"filename": "../../secret.png", "split": "train", "sentences": [{"raw": "a"}]}
    (tmp_path / "set" / "dataset_x.json").write_text(json.dumps({"images": [entry]}))
    with pytest.raises(DataError, match="no name of a file in it"):
        next(read_pairs(source("karpathy", tmp_path / "set")))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not valid JSON"),
        ("[]", "a list 'images' is missing"),
        ('{"images": [{"filename": "a"}]}', r"images\[0\].*'split' is missing"),
        ('{"images": [{"filename": null, "split": "train"}]}', "'filename' is missing or no text"),
        (
            '{"images": [{"filename": "a", "split": "train", "sentences": null}]}',
            "'sentences' is m",
        ),
        ('{"images": [null]}', r"images\[0\]: 'filename' is missing"),
        ('{"images": [{"filename": "a", "split": "test", "sentences": []}]}', "no image of split"),
    ],
)
def test_malformed_karpathy(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "dataset_x.json").write_text(text)
    with pytest.raises(DataError, match=message):
        list(read_captions(source("karpathy", tmp_path)))


def test_malformed_token_line(tmp_path: Path) -> None:
    (tmp_path / "Flickr_8k.trainImages.txt").write_text("a.jpg\nb.jpg\n")
    (tmp_path / "Flickr8k.token.txt").write_text("a.jpg#0\tone\nb.jpg two\n")
    with pytest.raises(DataError, match=r"token\.txt, line 2: expected"):
        list(read_captions(source("flickr8k_tokens", tmp_path)))
    (tmp_path / "Flickr8k.token.txt").write_text("a.jpg#0\tone\n")
    with pytest.raises(DataError, match=r"trainImages\.txt, line 2: 'b\.jpg' has no caption"):
        list(read_captions(source("flickr8k_tokens", tmp_path)))


def test_malformed_csv(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text('"1","a","b"\n"1","a"\n')
    with pytest.raises(DataError, match=r"train\.csv, line 2: 2 fields"):
        list(read_texts(source("ag_news_csv", tmp_path)))
    (tmp_path / "train.csv").write_text('"1","a"x,"b"\n')
    with pytest.raises(DataError, match=r"train\.csv, line 1: malformed CSV"):
        list(read_texts(source("ag_news_csv", tmp_path)))


def test_malformed_text_files(tmp_path: Path) -> None:
    (tmp_path / "book.txt").write_text("no marks")
    with pytest.raises(DataError, match="START OF"):
        list(read_texts(source("gutenberg", tmp_path)))
    (tmp_path / "book.txt").write_bytes(b"caf\xe9\n")
    with pytest.raises(DataError, match="not UTF-8"):
        list(read_texts(source("text_lines", tmp_path)))


def test_damaged_archives(tmp_path: Path) -> None:
    (tmp_path / "images.zip").write_bytes(b"PK not really")
    with pytest.raises(DataError, match="not a readable zip"):
        next(read_images(source("image_folder", tmp_path / "images.zip")))
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        archive.writestr("test/a/1.png", png(1))
    with pytest.raises(DataError, match=r"no image in 'train/'\. Its top folders: test"):
        next(read_images(source("image_folder", tmp_path)))


def test_duplicate_names_are_ambiguous(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        archive.writestr("a/1.png", png(1))
        archive.writestr("b/1.png", png(2))
    entry = {"filename": "1.png", "split": "train", "sentences": [{"raw": "x"}]}
    (tmp_path / "dataset_x.json").write_text(json.dumps({"images": [entry]}))
    with pytest.raises(DataError, match="is there 2 times"):
        next(read_pairs(source("karpathy", tmp_path)))
    (tmp_path / "dataset_x.json").write_text(json.dumps({"images": [{**entry, "filepath": "b"}]}))
    assert next(read_pairs(source("karpathy", tmp_path))).image_bytes == png(2)


def test_captions_are_read_without_images(raw: Path) -> None:
    assert len(list(islice(read_captions(pairs_source(raw)), 5))) == 5
