"""ImageNet-1k: ILSVRC 2012's tars and class folders give the same images."""

from __future__ import annotations

import io
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
from data_helpers import png, prepare_job, source
from pmd_files import add_member, write_images
from scipy.io import savemat

from flava.data.prepare import prepare
from flava.data.sources import Image, read_images
from flava.errors import DataError

TRAIN = [
    "n01440764/n01440764_10026.JPEG",
    "n01440764/n01440764_3.JPEG",
    "n02119789/n02119789_1.JPEG",
]
VAL = [f"ILSVRC2012_val_{number:08d}.JPEG" for number in (1, 2, 3)]
# ILSVRC2012_ID 1 is n02119789: its order is not that of the sorted wnids.
IDS = {1: "n02119789", 2: "n01440764"}
TRUTH = [2, 1, 2]


def class_tar(names: list[str], start: int) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for seed, name in enumerate(names, start):
            add_member(tar, Path(name).name, png(seed))
    return file.getvalue()


def write_train(folder: Path, layout: str) -> None:
    parts = {"n01440764.tar": class_tar(TRAIN[:2], 0), "n02119789.tar": class_tar(TRAIN[2:], 2)}
    if layout == "folders":
        write_images(folder / "train", TRAIN)
    elif layout == "tar":
        with tarfile.open(folder / "ILSVRC2012_img_train.tar", "w") as tar:
            for name, data in parts.items():
                add_member(tar, name, data)
    else:
        (folder / "train").mkdir()
        for name, data in parts.items():
            (folder / "train" / name).write_bytes(data)


def write_devkit(folder: Path, truth: list[int]) -> None:
    data = folder / "ILSVRC2012_devkit_t12" / "data"
    data.mkdir(parents=True)
    dtype = [("ILSVRC2012_ID", "O"), ("WNID", "O"), ("words", "O")]
    rows = [(identity, wnid, "words") for identity, wnid in IDS.items()]
    savemat(data / "meta.mat", {"synsets": np.array(rows, dtype)[:, None]})
    lines = "".join(f"{identity}\n" for identity in truth)
    (data / "ILSVRC2012_validation_ground_truth.txt").write_text(lines)


@pytest.mark.parametrize("layout", ["folders", "tar", "class tars"])
def test_train(tmp_path: Path, layout: str) -> None:
    write_train(tmp_path, layout)
    images = list(read_images(source("imagenet", tmp_path)))
    assert images == [
        Image(f"train/{name}", png(seed), name.split("/")[0]) for seed, name in enumerate(TRAIN)
    ]


@pytest.mark.parametrize("layout", ["folders", "zip", "tar", "class tars"])
def test_expected_images_are_counted_before_anything_is_written(
    tmp_path: Path, layout: str
) -> None:
    """Where the output should lie nothing can be written: the count is wrong before that shows."""
    write_train(tmp_path, "folders" if layout == "zip" else layout)
    given = source("imagenet", tmp_path)
    if layout == "zip":
        shutil.make_archive(str(tmp_path / "images"), "zip", tmp_path, "train")
        given = source("image_folder", tmp_path / "images.zip")
    (tmp_path / "file").touch()
    for wrong in (2, 4):
        last = given.model_copy(update={"expected_images": wrong, "name": "last"})
        with pytest.raises(DataError, match=rf"'last' has 3 images in .* expects {wrong} \("):
            prepare(prepare_job(tmp_path / "file", "images", [given, last]))
    right = given.model_copy(update={"expected_images": 3})
    prepare(prepare_job(tmp_path / "out", "images", [right]))


def test_a_train_folder_that_was_unpacked_in_part(tmp_path: Path) -> None:
    write_train(tmp_path, "class tars")
    write_images(tmp_path / "train", TRAIN[:2])
    with pytest.raises(DataError, match=r"train holds class folders and class tars, n0.*\.tar"):
        list(read_images(source("imagenet", tmp_path)))


@pytest.mark.parametrize("layout", ["tar", "flat folder"])
def test_validation_with_the_development_kit(tmp_path: Path, layout: str) -> None:
    write_devkit(tmp_path, TRUTH)
    if layout == "tar":
        with tarfile.open(tmp_path / "ILSVRC2012_img_val.tar", "w") as tar:
            for seed, name in enumerate(VAL):
                add_member(tar, name, png(seed))
    else:
        write_images(tmp_path / "val", VAL)
    images = list(read_images(source("imagenet", tmp_path, split="val")))
    assert images == [
        Image(f"val/{name}", png(seed), IDS[truth])
        for seed, (name, truth) in enumerate(zip(VAL, TRUTH, strict=True))
    ]


def test_validation_in_class_folders(tmp_path: Path) -> None:
    write_images(tmp_path / "val", TRAIN)
    labels = [image.label for image in read_images(source("imagenet", tmp_path, split="val"))]
    assert labels == ["n01440764", "n01440764", "n02119789"]


def test_bad_input(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no split 'test' with labels"):
        list(read_images(source("imagenet", tmp_path, split="test")))
    with pytest.raises(DataError, match=r"neither train/<wnid>/.* --how ImageNet-1k"):
        list(read_images(source("imagenet", tmp_path)))
    write_images(tmp_path / "val", VAL)
    with pytest.raises(DataError, match=r"unpack ILSVRC2012_devkit_t12"):
        list(read_images(source("imagenet", tmp_path, split="val")))
    write_devkit(tmp_path, [2, 1])
    with pytest.raises(DataError, match=r"'ILSVRC2012_val_00000003\.JPEG' is none of the 2"):
        list(read_images(source("imagenet", tmp_path, split="val")))
    truth = tmp_path / "ILSVRC2012_devkit_t12" / "data" / "ILSVRC2012_validation_ground_truth.txt"
    truth.write_text("2\n1\n2\n1\n")
    with pytest.raises(DataError, match="3 validation images, but 4 labels"):
        list(read_images(source("imagenet", tmp_path, split="val")))
    truth.write_text("2\nseven\n")
    with pytest.raises(DataError, match=r"ground_truth\.txt, line 2: 'seven' is no ILSVRC2012_ID"):
        list(read_images(source("imagenet", tmp_path, split="val")))
    for number in ("²", "9" * 5000):  # the first is a digit to `str.isdigit`
        truth.write_text(f"2\n{number}\n")
        with pytest.raises(DataError, match=r"line 2: '.*' is no ILSVRC2012_ID"):
            list(read_images(source("imagenet", tmp_path, split="val")))
    (tmp_path / "ILSVRC2012_img_train.tar").write_bytes(b"no tar")
    with pytest.raises(DataError, match=r"ILSVRC2012_img_train\.tar is not a readable tar"):
        list(read_images(source("imagenet", tmp_path)))


def test_a_damaged_meta_mat(tmp_path: Path) -> None:
    write_images(tmp_path / "val", VAL)
    write_devkit(tmp_path, [2, 1, 2])
    meta = tmp_path / "ILSVRC2012_devkit_t12" / "data" / "meta.mat"
    content = bytearray(meta.read_bytes())
    content[144] = 0  # a class of arrays that there is not: SciPy's UnboundLocalError
    meta.write_bytes(content)
    with pytest.raises(DataError, match=r"meta\.mat is not a readable MATLAB file"):
        list(read_images(source("imagenet", tmp_path, split="val")))


@pytest.mark.parametrize("layout", ["tar", "class tars"])
def test_a_train_tar_that_is_cut_off(tmp_path: Path, layout: str) -> None:
    write_train(tmp_path, layout)
    alone = tmp_path / "train" / "n02119789.tar"
    path, header = (tmp_path / "ILSVRC2012_img_train.tar", 512) if layout == "tar" else (alone, 0)
    with tarfile.open(path) as tar:
        end = tar.getmembers()[-1].offset_data + header + 40  # within the last image
    path.write_bytes(path.read_bytes()[:end])
    with pytest.raises(DataError, match=r"n02119789\.tar.* \(unexpected end of data\)\. Download"):
        list(read_images(source("imagenet", tmp_path)))


@pytest.mark.parametrize("layout", ["tar", "class tars"])
def test_a_train_tar_that_is_cut_off_between_two_members(tmp_path: Path, layout: str) -> None:
    write_train(tmp_path, layout)
    outer, alone = tmp_path / "ILSVRC2012_img_train.tar", tmp_path / "train" / "n01440764.tar"
    path = outer if layout == "tar" else alone
    with tarfile.open(path) as tar:
        end = tar.getmembers()[-1].offset
    path.write_bytes(path.read_bytes()[:end])
    with pytest.raises(DataError, match=r"\.tar is not .*cut off between two members.*Download"):
        list(read_images(source("imagenet", tmp_path)))


def test_validation_images_that_are_cut_off(tmp_path: Path) -> None:
    write_devkit(tmp_path, TRUTH)
    path = tmp_path / "ILSVRC2012_img_val.tar"
    with tarfile.open(path, "w") as tar:
        for seed, name in enumerate(VAL):
            add_member(tar, name, png(seed))
    with tarfile.open(path) as tar:
        end = tar.getmembers()[-1].offset_data + 40
    path.write_bytes(path.read_bytes()[:end])
    where = r"ILSVRC2012_img_val\.tar: 'ILSVRC2012_val_00000003\.JPEG' cannot be read"
    with pytest.raises(DataError, match=where):
        list(read_images(source("imagenet", tmp_path, split="val")))


def add_link(path: Path, kind: bytes, to: str) -> None:
    with tarfile.open(path, "a") as tar:
        link = tarfile.TarInfo("n02119789_2.JPEG")
        link.type, link.linkname = kind, to
        tar.addfile(link)


def test_links_within_a_class_tar(tmp_path: Path) -> None:
    """A hard link is a picture, a symbolic one is refused."""
    write_train(tmp_path, "class tars")
    path = tmp_path / "train" / "n02119789.tar"
    add_link(path, tarfile.LNKTYPE, "n02119789_1.JPEG")
    images = list(read_images(source("imagenet", tmp_path)))
    assert [image.key for image in images[2:]] == [
        f"train/n02119789/n02119789_{i}.JPEG" for i in (1, 2)
    ]
    assert images[2].image_bytes == images[3].image_bytes == png(2)
    add_link(path, tarfile.SYMTYPE, "n02119789_1.JPEG")
    with pytest.raises(DataError, match=r"n02119789\.tar: 'n02119789_2\.JPEG' is a symbolic link"):
        list(read_images(source("imagenet", tmp_path)))


@pytest.mark.parametrize("to", ["nothing.JPEG", "n02119789_2.JPEG"])
def test_a_hard_link_to_nothing(tmp_path: Path, to: str) -> None:
    write_train(tmp_path, "class tars")
    add_link(tmp_path / "train" / "n02119789.tar", tarfile.LNKTYPE, to)
    with pytest.raises(DataError, match=rf"n02119789\.tar is not a readable tar.*{to}"):
        list(read_images(source("imagenet", tmp_path)))
