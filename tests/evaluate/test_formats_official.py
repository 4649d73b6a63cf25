"""Readers of official vision releases: good files, some written by hand, some of real pictures."""

from __future__ import annotations

import shutil
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from flava.data.toy.layouts_a import write_mat
from flava.data.transforms import decode_image
from flava.errors import DataError
from tests.evaluate.fakes import load_official as load
from tests.evaluate.fakes import noise_png, web_dataset, write

FOLDERS = {
    "food101": ("food-101", "images.zip"), "dtd": ("dtd", "images.zip"),
    "aircraft": ("fgvc-aircraft-2013b/data", "images.zip"), "pets": (".", "images.zip"),
    "caltech101": (".", "101_ObjectCategories.zip"), "flowers": (".", "jpg.zip"),
    "cars": (".", "cars_train.zip"),
}  # fmt: skip


@pytest.mark.parametrize("release", FOLDERS, indirect=True)
@pytest.mark.parametrize("kind", ["folder", "tar"])
def test_pictures_may_lie_in_a_zip_a_folder_or_a_tar(releases, release, kind):
    folder, file = FOLDERS[release.name]
    path = release / folder / file
    unpacked = path.with_suffix("")
    with zipfile.ZipFile(path) as archive:
        archive.extractall(unpacked)
    path.unlink()
    if kind == "tar":
        with tarfile.open(path.with_suffix(".tar"), "w") as tar:
            tar.add(unpacked, arcname=f"./{unpacked.name}")
        shutil.rmtree(unpacked)
    first, again = load(release.name, releases / release.name), load(release.name, release)
    assert first.classes == again.classes and first.counts == again.counts
    rows = np.arange(len(first.train))
    assert (first.train.targets == again.train.targets).all()
    assert (first.train.images.pixels(rows, 8) == again.train.images.pixels(rows, 8)).all()


@pytest.mark.parametrize("name", ["food101", "dtd", "pets", "caltech101"])
def test_labels_are_those_of_the_files_names(releases, name):
    task = load(name, releases / name)
    for split in (task.train, *task.tests.values(), *filter(None, [task.validation])):
        named = [f"/{n}".replace("_", " ") for n in split.images.names]
        for label, file in zip(split.targets, named, strict=True):
            assert f"/{task.classes[label]}".replace("_", " ") in file
    names = {n for s in (task.train, *task.tests.values()) for n in s.images.names}
    assert len(names) == len(task.train) + len(task.tests["test"]), "no picture is in both"


def test_caltech101_draws_thirty_a_class_always_the_same(releases):
    first, again = (load("caltech101", releases / "caltech101") for _ in range(2))
    assert set(np.bincount(first.train.targets)) == {30}
    assert first.train.images.names == again.train.images.names
    assert first.train.images.names != sorted(first.train.images.names)[:30]


def test_cifar_s_planes_are_red_green_blue_row_by_row(tmp_path):
    image = np.arange(3 * 1024, dtype=np.uint32).reshape(3, 32, 32) % 251
    one = bytes([7, 1]) + image.astype(np.uint8).tobytes()
    top = tmp_path / "cifar-100-binary"
    write(top / "fine_label_names.txt", "apple\nfish\n\n")
    for name in ("train", "test"):
        (top / f"{name}.bin").write_bytes(one)
    for path in (tmp_path, top):
        task = load("cifar100", path)
        assert task.train.targets.tolist() == [1], "the fine label is the second byte"
        pixels = task.train.images.pixels(np.array([0]), 32)[0]
        assert (pixels == image.transpose(1, 2, 0)).all()


def test_stl10_s_planes_are_column_by_column_and_its_folds_are_read(tmp_path):
    image = (
        (np.arange(3 * 96 * 96) % 253).astype(np.uint8).reshape(3, 96, 96)
    )  # colour, row, column
    top = tmp_path / "stl10_binary"
    write(top / "class_names.txt", "airplane\nbird\n")
    write(top / "fold_indices.txt", "2 0\n1\n")
    stored = [np.full_like(image, k).transpose(0, 2, 1) for k in (10, 20)]
    for name in ("train", "test"):
        bytes_of = [stored[0], stored[1], image.transpose(0, 2, 1)]
        (top / f"{name}_X.bin").write_bytes(b"".join(a.tobytes() for a in bytes_of))
        (top / f"{name}_y.bin").write_bytes(bytes([1, 1, 2]))
    task = load("stl10", tmp_path, stand_in="part")
    assert [task.train.targets[fold].tolist() for fold in task.folds] == [[1, 0], [0]]
    assert task.counts == {"train": 3, "folds": 2, "test": 3}
    assert task.tests["test"].targets.tolist() == [0, 0, 1]
    for split, row in ((task.train, 2), (task.tests["test"], 2)):
        pixels = split.images.pixels(np.array([row]), 96)[0]
        assert (pixels == image.transpose(1, 2, 0)).all()


def test_web_datasets(tmp_path):
    write(tmp_path / "classnames.txt", "cat\ndog\n")
    web_dataset(tmp_path, "train", [0, 1, 1, 0, 1])
    web_dataset(tmp_path, "test", [1, 0], 1)
    task = load("webdataset", tmp_path)
    assert task.counts == {"train": 5, "test": 2} and task.classes == ["cat", "dog"]
    assert task.train.targets.tolist() == [0, 1, 1, 1, 0], "0.tar has the even ones"
    for row, number in enumerate((0, 2, 4, 1, 3)):
        pixels = task.train.images.pixels(np.array([row]), 16)[0]
        assert (pixels == np.asarray(decode_image(noise_png(number)))).all()
    web_dataset(tmp_path, "val", [1, 0], 1)
    assert len(load("webdataset", tmp_path).validation) == 2


# --- Real pictures in official layouts: as read from class folders


def real_split(real_data, name):
    path = real_data / name / "images.zip"
    task = load("image_folder", path)
    found = {"train": task.train, "test": task.tests["test"]}
    return path, task.classes, found


def same(read, split, size=24):
    """Equal pictures by name, and equal labels."""
    assert len(read) == len(split)
    wanted = dict(zip(split.images.names, split.targets, strict=True))
    assert wanted == dict(zip(read.images.names, read.targets, strict=True))
    rows = np.array([0, len(read) - 1])
    back = np.array([split.images.names.index(read.images.names[row]) for row in rows])
    assert (read.images.pixels(rows, size) == split.images.pixels(back, size)).all()


def test_real_textures(real_data, tmp_path):
    path, _, splits = real_split(real_data, "dtd")
    (tmp_path / "images.zip").symlink_to(path)
    for list_file, split, rows in (
        ("train1", "train", slice(0, None, 2)),
        ("val1", "train", slice(1, None, 2)),
        ("test1", "test", slice(None)),
    ):
        names = [n.removeprefix(f"{split}/") for n in splits[split].images.names[rows]]
        write(tmp_path / "labels" / f"{list_file}.txt", "\n".join(names) + "\n")
    task = load("dtd", tmp_path)
    assert task.counts == {"train": 300, "validation": 300, "test": 280}
    same(task.tests["test"], splits["test"])
    named = [Path(name).parent.name for name in task.validation.images.names]
    assert [task.classes[label] for label in task.validation.targets] == named


def test_real_cars(real_data, tmp_path):
    path, classes, splits = real_split(real_data, "stanford_cars")
    write_mat(tmp_path / "devkit/cars_meta.mat", {"class_names": np.array([classes], object)})
    for split, name in (("train", "train_annos"), ("test", "test_annos_withlabels")):
        (tmp_path / f"cars_{split}.zip").symlink_to(path)
        files = [Path(name).name for name in splits[split].images.names]
        rows = [(label + 1, file) for label, file in zip(splits[split].targets, files, strict=True)]
        table = np.array([rows], [("class", object), ("fname", object)])
        write_mat(tmp_path / f"devkit/cars_{name}.mat", {"annotations": table})
    task = load("cars", tmp_path)
    assert task.classes == classes
    same(task.train, splits["train"])
    same(task.tests["test"], splits["test"])


def test_real_cifar10(real_data, tmp_path):
    _, classes, splits = real_split(real_data, "cifar10")
    top = tmp_path / "cifar-10-batches-bin"
    write(top / "batches.meta.txt", "\n".join(classes) + "\n\n")
    for split, files in (
        ("train", [f"data_batch_{i}.bin" for i in range(1, 6)]),
        ("test", ["test_batch.bin"]),
    ):
        labels, images = splits[split].targets, splits[split].images
        pixels = images.pixels(np.arange(len(labels)), 32).transpose(0, 3, 1, 2)
        records = np.concatenate([labels[:, None], pixels.reshape(len(labels), -1)], axis=1)
        for file, part in zip(files, np.array_split(records, len(files)), strict=True):
            (top / file).write_bytes(part.astype(np.uint8).tobytes())
    task = load("cifar10", tmp_path)
    for read, split in ((task.train, splits["train"]), (task.tests["test"], splits["test"])):
        assert (read.targets == split.targets).all()
        rows = np.arange(0, len(read), 101)
        assert (read.images.pixels(rows, 32) == split.images.pixels(rows, 32)).all()


def test_a_part_of_real_caltech101_is_no_whole_release(real_data, tmp_path):
    (tmp_path / "101_ObjectCategories.zip").symlink_to(real_data / "caltech101" / "images.zip")
    with pytest.raises(DataError, match=r"class 'BACKGROUND_Google' has 11 pictures, at least 31"):
        load("caltech101", tmp_path)
