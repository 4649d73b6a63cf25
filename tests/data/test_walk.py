"""Folders that symbolic links lead to are read as if they lay there; loops and dead links."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from data_helpers import png, source
from pmd_files import write_images

from flava.data.archive import Archive
from flava.data.source_articles import text_files
from flava.data.sources import read_images, read_pairs, read_texts
from flava.data.walk import files_below, files_in_order
from flava.errors import DataError
from flava.evaluate.images import ImageSource


def link(place: Path, to: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(to, target_is_directory=True)


def test_linked_narratives_have_their_images(tmp_path: Path) -> None:
    """One of four image folders is another set's, by a link."""
    write_images(tmp_path / "coco" / "train2017", ["000000000007.jpg"])
    folder = tmp_path / "narratives"
    write_images(folder / "images" / "open_images", ["oi.jpg"])
    link(folder / "images" / "train2017", tmp_path / "coco" / "train2017")
    about = [("mscoco_train2017", "7"), ("open_images_train", "oi")]
    entries = [
        {"dataset_id": data, "image_id": image, "annotator_id": 1, "caption": "A dog."}
        for data, image in about
    ]
    (folder / "all_train_captions.jsonl").write_text("\n".join(map(json.dumps, entries)))
    tally: Counter[str] = Counter()
    wanted = source("localized_narratives", folder, images=str(folder / "images"))
    assert len(list(read_pairs(wanted, tally))) == 2
    assert not tally["missing images"]


@pytest.mark.parametrize("linked", ["imagenet/train", "imagenet/train/n01440764"])
def test_linked_imagenet(tmp_path: Path, linked: str) -> None:
    """The split, or each class, is a link: both readers see its pictures."""
    names = [f"n01440764/n01440764_{i}.JPEG" for i in range(3)]
    write_images(tmp_path / "disk" / "imagenet" / "train", names)
    link(tmp_path / linked, tmp_path / "disk" / linked)
    images = read_images(source("imagenet", tmp_path / "imagenet"))
    assert [image.key for image in images] == [f"train/{name}" for name in names]
    assert ImageSource(tmp_path / "imagenet" / "train").names == names


def test_linked_pictures_of_vqav2(tmp_path: Path) -> None:
    write_images(tmp_path / "coco" / "train2014", ["COCO_train2014_000000000009.jpg"])
    link(tmp_path / "vqav2" / "images" / "train2014", tmp_path / "coco" / "train2014")
    found = ImageSource(tmp_path / "vqav2" / "images")
    assert found.find("COCO_train2014_000000000009") == found.names[0]


def test_linked_news(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk" / "1.jsonl").write_text('{"maintext": "Linked."}\n')
    link(tmp_path / "ccnews" / "part", tmp_path / "disk")
    assert list(read_texts(source("news_articles", tmp_path / "ccnews"))) == ["Linked."]


def test_a_loop_ends(tmp_path: Path) -> None:
    write_images(tmp_path, ["a/1.png"])
    link(tmp_path / "a" / "up", tmp_path)
    link(tmp_path / "a" / "deep" / "self", tmp_path / "a")
    assert files_below(tmp_path) == ["a/1.png"]
    assert list(files_in_order(tmp_path)) == [tmp_path / "a" / "1.png"]


def test_one_file_under_two_names_is_not_ambiguous(tmp_path: Path) -> None:
    write_images(tmp_path, ["a/1.png", "b/2.png"])
    link(tmp_path / "c", tmp_path / "a")
    assert files_below(tmp_path) == ["a/1.png", "b/2.png", "c/1.png"]
    for found in (Archive(tmp_path), ImageSource(tmp_path)):
        assert found.read(found.find("1.png")) == png(0)
    (tmp_path / "b" / "1.png").write_bytes(png(1))
    for found in (Archive(tmp_path), ImageSource(tmp_path)):
        with pytest.raises(DataError, match=r"3 times|ambiguous"):
            found.find("1.png")


READERS: list[Callable[[Path], object]] = [
    lambda path: Archive(path).names(),
    ImageSource,
    lambda path: list(text_files(source("text_files", path))),
]


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("target", ["nowhere", "lost.png"])
def test_a_link_that_leads_nowhere_is_named(
    tmp_path: Path, read: Callable[[Path], object], target: str
) -> None:
    """The other one leads to itself."""
    write_images(tmp_path, ["a/1.png"])
    (tmp_path / "a" / "2.txt").write_text("a")
    (tmp_path / "a" / "lost.png").symlink_to(target)
    with pytest.raises(DataError, match=rf"a/lost\.png is a link to {target}.*Mend the link"):
        read(tmp_path)


def test_without_links_the_order_is_that_of_the_names(tmp_path: Path) -> None:
    names = ["a-b/1.png", "a/2.png", "a.txt", ".hidden/x", "é/ü.png", "B/1", "a/b/c/d.png"]
    write_images(tmp_path, names)
    expected = (p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file())
    assert files_below(tmp_path) == sorted(expected)
    assert list(files_in_order(tmp_path)) == sorted(tmp_path / name for name in names)
    (tmp_path / "a" / "1.txt").write_text("first: a folder comes before what only begins alike")
    (tmp_path / "a.txt").write_text("last")
    (tmp_path / "a-b" / "1.txt").write_text("second")
    texts = list(text_files(source("text_files", tmp_path)))
    assert [text.split(":")[0] for text in texts] == ["first", "second", "last"]
