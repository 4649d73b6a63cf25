"""Readers of image folders, MNIST, captions and prompts: good files, and every kind of bad one."""

from __future__ import annotations

import gzip
import io
import json

import numpy as np
import pytest
from PIL import Image

from flava.data.transforms import decode_image
from flava.errors import DataError
from flava.evaluate.images import MAX_PIXELS, EncodedImages, ImageSource
from tests.evaluate.fakes import (
    colour_folder,
    load,
    noise_png,
    write,
    write_zip,
)

# --- Images

TWO = {"train/a/1.png": b"x", "test/a/2.png": b"x"}


def test_folder_and_zip_read_alike(tmp_path):
    source = colour_folder(tmp_path / "a.zip", 6, 4)
    import zipfile

    with zipfile.ZipFile(source) as archive:
        archive.extractall(tmp_path / "folder")
    tasks = [load("dtd", "linear_probe", "image_folder", p) for p in (source, tmp_path / "folder")]
    for task in tasks:
        assert task.classes == ["blue", "red"]
        assert task.train.targets.tolist() == [0, 0, 0, 1, 1, 1]
    pixels = [t.train.images.pixels(np.arange(6), 8) for t in tasks]
    assert (pixels[0] == pixels[1]).all()


def test_limits_take_the_same_random_subset_of_all_classes(tmp_path):
    path = colour_folder(tmp_path / "a.zip", 40, 4)
    first, again = (
        load("dtd", "linear_probe", "image_folder", path, train_limit=20) for _ in range(2)
    )
    assert len(first.train) == 20
    assert set(first.train.targets) == {0, 1}
    assert first.train.image_N.tolist() == again.train.image_N.tolist()


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"train/a/1.png": b"x"}, "no split 'test' or 'val'"),
        ({"test/a/1.png": b"x"}, "no split 'train'"),
        ({"train/a/1.png": b"x", "test/b/1.png": b"x"}, "class 'b' of split 'test' never occurs"),
        ({"train/1.png": b"x"}, "is not at <split>/<class>/<file>. Bring the pictures"),
        (TWO | {"train/a/sub/3.png": b"x"}, "'train/a/sub/3.png' is in 'a', which is no split"),
        (TWO | {"hidden/a/3.png": b"x"}, "is in 'hidden', which is no split .train, training,"),
        (TWO | {"training/a/3.png": b"x"}, "has split 'train' twice: train, training"),
        (TWO | {f"{v}/a/3.png": b"x" for v in ("val", "valid")}, "split 'val' twice: val, valid"),
        (TWO | {"more/test/a/3.png": b"x"}, "split 'test' twice: more/test, test"),
        (TWO | {"train/b/3.png": b"x"}, "split 'test' has no picture of class 'b', which training"),
        (
            TWO | {f"{split}/b/3.png": b"x" for split in ("train", "test")} | {"val/b/3.png": b"x"},
            "split 'val' has no picture of class 'a', which training",
        ),
        ({"readme.txt": b"x"}, "holds no picture files"),
    ],
)
def test_bad_image_folders(tmp_path, members, message):
    with pytest.raises(DataError, match=message):
        load("dtd", "linear_probe", "image_folder", write_zip(tmp_path / "a.zip", members))


def test_undecodable_image_is_named(tmp_path):
    path = write_zip(tmp_path / "a.zip", {"train/a/1.png": noise_png(0), "test/a/2.png": b"no png"})
    task = load("dtd", "linear_probe", "image_folder", path)
    wanted = r"a.zip: image 'test/a/2.png': cannot decode .*\. Get that file anew\."
    with pytest.raises(DataError, match=wanted):
        task.tests["test"].images.pixels(np.array([0]), 8)
    truncated = noise_png(0)[:200]
    path = write_zip(tmp_path / "b.zip", {"train/a/1.png": truncated, "test/a/2.png": truncated})
    task = load("dtd", "linear_probe", "image_folder", path)
    with pytest.raises(DataError, match=r"image 'train/a/1.png'"):
        task.train.images.pixels(np.array([0]), 8)


def test_large_originals_are_scored_though_training_leaves_them_out(tmp_path):
    file = io.BytesIO()
    Image.new("L", (8001, 8000), 50).save(file, "PNG", compress_level=1)
    source = ImageSource(write_zip(tmp_path / "a.zip", {"large.png": file.getvalue()}))
    found = EncodedImages(source, ["large.png"]).pixels(np.array([0]), 8)
    assert (found == 50).all()
    with pytest.raises(DataError, match="8001x8000 pixels exceeds"):
        decode_image(file.getvalue())


def test_pictures_that_pillow_refuses_are_refused(tmp_path, monkeypatch):
    assert MAX_PIXELS == 2 * Image.MAX_IMAGE_PIXELS
    monkeypatch.setattr("flava.evaluate.images.MAX_PIXELS", 255)
    source = ImageSource(write_zip(tmp_path / "a.zip", {"a.png": noise_png(0, 16)}))
    with pytest.raises(DataError, match=r"'a\.png': image of 16x16 pixels exceeds 255 pixels"):
        EncodedImages(source, ["a.png"]).pixels(np.array([0]), 8)


def test_bad_archives(tmp_path):
    path = write(tmp_path / "a.zip", "not a zip")
    with pytest.raises(DataError, match="neither a readable folder nor a readable zip"):
        load("dtd", "linear_probe", "image_folder", path)


def test_finding_images_by_the_end_of_their_path(tmp_path):
    names = ["x/train/images/1.png", "x/test/images/1.png", "x/test/images/11.jpg", "v1.2.png"]
    source = ImageSource(write_zip(tmp_path / "a.zip", dict.fromkeys(names, b"")))
    assert source.find("test/images/1") == names[1]
    assert source.find("11.png") == names[2], "the suffix may differ"
    assert source.find("v1.2") == "v1.2.png"
    with pytest.raises(DataError, match="ambiguous"):
        source.find("1.png")
    with pytest.raises(DataError, match="not there"):
        source.find("../secret")


# --- MNIST


def idx(*shape):
    return b"\0\0\x08" + bytes([len(shape)]) + b"".join(s.to_bytes(4, "big") for s in shape)


def mnist(folder, images, labels):
    for split in ("train", "t10k"):
        (folder / f"{split}-images-idx3-ubyte.gz").write_bytes(gzip.compress(images))
        (folder / f"{split}-labels-idx1-ubyte").write_bytes(labels)
    return folder


IMAGES = idx(2, 3, 3) + bytes(18)


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (IMAGES[:-1], idx(2) + b"\1\2", r"do not fill shape \[2, 3, 3\]: truncated"),
        (b"PNG" + IMAGES, idx(2) + b"\1\2", "bad magic number"),
        (b"", idx(2) + b"\1\2", "bad magic number"),
        (IMAGES, idx(3) + b"\1\2\3", "do not fit"),
        (IMAGES, idx(2) + b"\1\x0b", "label 11 of example 1 is out of range"),
        (idx(0, 3, 3), idx(0), "has no examples"),
    ],
)
def test_bad_mnist(tmp_path, images, labels, message):
    with pytest.raises(DataError, match=message):
        load("mnist", "linear_probe", "mnist_idx", mnist(tmp_path, images, labels))


def test_good_and_missing_mnist(tmp_path):
    mnist(tmp_path, IMAGES, idx(2) + b"\1\2")
    assert load("mnist", "linear_probe", "mnist_idx", tmp_path).train.targets.tolist() == [1, 2]
    (tmp_path / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(DataError, match=r"t10k-labels-idx1-ubyte\[.gz\] is missing. Download"):
        load("mnist", "linear_probe", "mnist_idx", tmp_path)
    whole = gzip.compress(np.random.default_rng(0).bytes(9999))
    for damaged in (b"junk", whole[:999], whole[:500] + b"\xff" * 99 + whole[599:]):
        (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(damaged)
        with pytest.raises(DataError, match=r"ubyte\.gz is not a valid gzip .*Download MNIST"):
            load("mnist", "linear_probe", "mnist_idx", tmp_path)
    (tmp_path / "train-images-idx3-ubyte.gz").unlink()
    (tmp_path / "train-images-idx3-ubyte").mkdir()
    with pytest.raises(DataError, match=r"idx3-ubyte cannot be read .*\. Download MNIST's four"):
        load("mnist", "linear_probe", "mnist_idx", tmp_path)


# --- Captions


def karpathy(folder, entries):
    write(folder / "dataset_toy.json", json.dumps({"images": entries, "dataset": "toy"}))
    write_zip(folder / "images.zip", {f"images/{i}.png": noise_png(i) for i in range(4)})
    return folder


def entry(name, split="test", captions=("a", "b")):
    return {"filename": name, "split": split, "sentences": [{"raw": c} for c in captions]}


def test_karpathy(tmp_path):
    six = entry("0.png", captions=["a", " ", "b", "c", "d", "e", "f"])
    folder = karpathy(tmp_path, [six, entry("1.png", "train"), entry("2.png")])
    task = load("coco", "retrieval", "karpathy", folder / "dataset_toy.json")
    assert task.captions == ["a", "b", "c", "d", "e", "a", "b"]
    assert task.image_M.tolist() == [0] * 5 + [1] * 2


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([entry("0.png", "train")], "no image with split 'test'"),
        ([entry("9.png")], "image '9.png' is not there"),
        ([entry("0.png", captions=[" "])], "image '0.png' has no caption"),
        ([{"split": "test", "filename": "0.png"}], r"images\[0\]: a list 'sentences' is missing"),
        ([{"split": 3}], r"images\[0\]: key 'split' has the wrong type"),
    ],
)
def test_bad_karpathy(tmp_path, entries, message):
    with pytest.raises(DataError, match=message):
        load("coco", "retrieval", "karpathy", karpathy(tmp_path, entries))


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([entry("2.png"), entry("9.png")], r"images\[1\]: .*image '9\.png' is not there"),
        ([entry("2.png"), entry("1.png", "train"), entry("2.png")], r"images\[2\]: .* twice"),
    ],
)
def test_karpathy_entries_are_named(tmp_path, entries, message):
    with pytest.raises(DataError, match=rf"dataset_toy\.json, {message}"):
        load("coco", "retrieval", "karpathy", karpathy(tmp_path, entries))


def test_bad_flickr8k_tokens(tmp_path):
    write_zip(tmp_path / "Images.zip", {"0.png": noise_png(0)})
    write(tmp_path / "Flickr_8k.testImages.txt", "0.png\n")
    write(tmp_path / "Flickr8k.token.txt", "0.png#0\tone\n0.png two\n")
    with pytest.raises(DataError, match=r"Flickr8k.token.txt, line 2: expected '<image>#<number>"):
        load("flickr30k", "retrieval", "flickr8k_tokens", tmp_path)


# --- Zero-shot


def prompts(folder, names=("blue", "red"), templates=("a {} picture",)):
    write(folder / "classnames.json", json.dumps(list(names)))
    write(folder / "templates.json", json.dumps(list(templates)))
    return str(folder)


def test_zero_shot_folder(tmp_path):
    path = colour_folder(tmp_path / "a.zip", 4, 6)
    task = load("x", "zero_shot", "image_folder", path, prompts=prompts(tmp_path))
    assert task.classes == ["blue", "red"]
    assert task.test.targets.tolist() == [0, 0, 0, 1, 1, 1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"names": ["blue"]}, "2 class folders, but 1 class names"),
        ({"templates": ["no place"]}, "must have exactly one {}"),
        ({"templates": []}, "expected a non-empty list of texts"),
    ],
)
def test_bad_prompts(tmp_path, changes, message):
    path = colour_folder(tmp_path / "a.zip", 4, 6)
    with pytest.raises(DataError, match=message):
        load("x", "zero_shot", "image_folder", path, prompts=prompts(tmp_path, **changes))


def test_missing_prompts_and_unknown_wnids(tmp_path):
    path = colour_folder(tmp_path / "a.zip", 4, 6)
    with pytest.raises(DataError, match=r"names no prompts. Set the task's 'prompts'"):
        load("x", "zero_shot", "image_folder", path)
    thousand = prompts(tmp_path, [f"name {i}" for i in range(1000)])
    with pytest.raises(DataError, match="does not begin with one of ImageNet's wnids"):
        load("x", "zero_shot", "zero_shot", path, prompts=thousand)
