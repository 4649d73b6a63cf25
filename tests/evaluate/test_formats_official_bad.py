"""Readers of official vision releases: every kind of bad file, each with its message."""

from __future__ import annotations

import gzip
import io
import shutil
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from scipy.io import loadmat, savemat

from flava.data.toy.layouts_a import write_mat
from flava.errors import DataError
from flava.evaluate.datasets import load_task
from flava.evaluate.formats import stl10
from tests.evaluate.fakes import data_config, task_config, web_dataset, write, write_zip
from tests.evaluate.fakes import load_official as load


def first_line(path: Path, new: str) -> None:
    lines = path.read_text().splitlines()
    path.write_text("\n".join([new, *lines[1:]]) + "\n")


def spoil_bytes(path):
    """Rewrites a MATLAB file compressed, with a stretch of its middle overwritten."""
    values = {k: v for k, v in loadmat(path).items() if not k.startswith("__")}
    savemat(path, values, do_compression=True)
    whole, middle = path.read_bytes(), path.stat().st_size // 2
    path.write_bytes(whole[:middle] + b"\xff" * 40 + whole[middle + 40 :])


def spoil_mat(path: Path, key: str, change) -> None:
    found = {k: v for k, v in loadmat(path).items() if not k.startswith("__")}
    found[key] = change(found[key])
    write_mat(path, found)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def byte_at(path: Path, place: int, value: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] = value
    path.write_bytes(content)


def first_byte(path: Path, value: int) -> None:
    byte_at(path, 0, value)


def no_class_folder(path: Path, folder: str) -> None:
    with zipfile.ZipFile(path) as archive:
        kept = {n: archive.read(n) for n in archive.namelist() if not n.startswith(folder + "/")}
    write_zip(path, kept)


def gzipped(path: Path) -> None:
    path.with_suffix(".tar").write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()


def pickled(root: Path, folder: str, file: str) -> None:
    shutil.rmtree(next(p for p in root.iterdir() if p.is_dir()))
    write(root / folder / file, "")


FOOD = "food-101/meta/"
BAD = {
    "food: list missing": ("food101", lambda r: (r / FOOD / "test.txt").unlink(),
        r"meta/test.txt is missing. Unpack food-101.tar.gz of"),
    "food: pictures missing": ("food101", lambda r: (r / "food-101/images.zip").unlink(),
        r"food-101/images is missing. Unpack food-101.tar.gz"),
    "food: class folder missing": ("food101",
        lambda r: no_class_folder(r / "food-101/images.zip", "blue_dotted"),
        r"txt, line \d+: .*images.zip: image 'blue_dotted/\d+' is not there"),
    "food: malformed line": ("food101", lambda r: first_line(r / FOOD / "train.txt", "no class"),
        r"train.txt, line 1: expected <class>/<picture>, got 'no class'"),
    "food: unknown class": ("food101", lambda r: first_line(r / FOOD / "test.txt", "pie/1"),
        r"test.txt, line 1: 'pie' is none of the 16 classes \(blue_dotted, "),
    "food: empty test split": ("food101", lambda r: (r / FOOD / "test.txt").write_text("\n"),
        r"split 'test' has no examples"),
    "food: a whole archive compressed": ("food101", lambda r: gzipped(r / "food-101/images.zip"),
        r"images.tar is compressed as a whole: .* Unpack it into a folder, or decompress it"),
    "dtd: no validation list": ("dtd", lambda r: (r / "dtd/labels/val1.txt").unlink(),
        r"labels/val1.txt is missing. Unpack dtd-r1.0.1.tar.gz"),
    "aircraft: malformed line": ("aircraft",
        lambda r: first_line(r / "fgvc-aircraft-2013b/data/images_variant_val.txt", "12"),
        r"images_variant_val.txt, line 1: expected <picture> <variant>, got '12'"),
    "aircraft: unknown variant": ("aircraft",
        lambda r: first_line(r / "fgvc-aircraft-2013b/data/images_variant_val.txt", "0000001 A380"),
        r"images_variant_val.txt, line 1: 'A380' is none of the 8 classes"),
    "aircraft: variant twice": ("aircraft",
        lambda r: (r / "fgvc-aircraft-2013b/data/variants.txt").write_text("707\n707\n"),
        r"variants.txt is empty or lists a class twice"),
    "pets: malformed line": ("pets",
        lambda r: first_line(r / "annotations/test.txt", "cat_1 0 1 1"),
        r"test.txt, line 1: expected <picture> <class> <species> <breed>, got 'cat_1 0 1 1'"),
    "pets: two names of a class": ("pets",
        lambda r: first_line(r / "annotations/trainval.txt", "cat_1 1 1 1"),
        r"line \d+: class 1 is '\w+' here, 'cat' before"),
    "pets: class left out": ("pets",
        lambda r: first_line(r / "annotations/trainval.txt", "cat_1 99 1 1"),
        r"annotations/ list no picture of class 13"),
    "pets: picture absent": ("pets",
        lambda r: first_line(r / "annotations/test.txt", "heart_orange_999 1 1 1"),
        r"test.txt, line 1: .*image 'heart_orange_999' is not there"),
    "caltech: too few": ("caltech101",
        lambda r: write_zip(r / "101_ObjectCategories.zip", {"ant/1.jpg": b"", "bee/1.jpg": b""}),
        r"class 'ant' has 1 pictures, at least 31 are needed"),
    "caltech: no classes": ("caltech101",
        lambda r: write_zip(r / "101_ObjectCategories.zip", {"1.jpg": b""}),
        r"'1.jpg' is not at <class>/<file>"),
    "caltech: missing": ("caltech101", lambda r: (r / "101_ObjectCategories.zip").unlink(),
        r"101_ObjectCategories is missing. Unpack caltech-101.zip of"),
    "cars: no labels of test": ("cars",
        lambda r: (r / "devkit/cars_test_annos_withlabels.mat").unlink(),
        r"cars_test_annos_withlabels.mat is missing. .*cars_test_annos.mat has no labels"),
    "cars: no MATLAB file": ("cars", lambda r: (r / "devkit/cars_meta.mat").write_text("x"),
        r"cars_meta.mat is not a readable MATLAB file"),
    "cars: damaged inside": ("cars", lambda r: spoil_bytes(r / "devkit/cars_train_annos.mat"),
        r"cars_train_annos.mat is not a readable MATLAB file"),
    "cars: unknown kind of array": ("cars",
        lambda r: byte_at(r / "devkit/cars_train_annos.mat", 144, 0),
        r"cars_train_annos.mat is not a readable MATLAB file"),
    "pets: class of many digits": ("pets",
        lambda r: first_line(r / "annotations/test.txt", f"Abyssinian_1 {'9' * 25} 1 1"),
        r"test.txt, line 1: expected <picture> <class> <species> <breed>"),
    "pets: class of a billion": ("pets",
        lambda r: first_line(r / "annotations/test.txt", "Abyssinian_1 999999999 1 1"),
        r"annotations/ list no picture of class \d+\. Unpack"),
    "pets: raised digit": ("pets",
        lambda r: first_line(r / "annotations/test.txt", "Abyssinian_1 ² 1 1"),
        r"test.txt, line 1: expected <picture> <class> <species> <breed>"),
    "cars: no annotations": ("cars",
        lambda r: write_mat(r / "devkit/cars_train_annos.mat", {"x": np.ones((1, 2))}),
        r"cars_train_annos.mat has no variable 'annotations'"),
    "cars: label out of range": ("cars",
        lambda r: write_mat(r / "devkit/cars_meta.mat", {"class_names": np.array([["a"]], object)}),
        r"cars_train_annos.mat, entry \d+: label \d+ is out of range; there are 1 classes"),
    "cars: fields missing": ("cars",
        lambda r: write_mat(r / "devkit/cars_train_annos.mat", {"annotations": np.ones((1, 2))}),
        r"cars_train_annos.mat, entry 1: expected fname and class"),
    "flowers: id without label": ("flowers",
        lambda r: spoil_mat(r / "setid.mat", "tstid", lambda ids: ids + 5000),
        r"setid.mat, tstid: picture \d+ has no label; there are \d+"),
    "flowers: class absent": ("flowers",
        lambda r: spoil_mat(r / "imagelabels.mat", "labels", lambda x: np.where(x == 3, 4, x)),
        r"imagelabels.mat: a class from 1 to 12 is absent"),
    "flowers: no numbers": ("flowers",
        lambda r: spoil_mat(r / "imagelabels.mat", "labels", lambda x: x / 2),
        r"imagelabels.mat: 'labels' is no list of whole numbers"),
    "flowers: no test": ("flowers",
        lambda r: spoil_mat(r / "setid.mat", "tstid", lambda x: x[:, :0]),
        r"split 'tstid' has no examples"),
    "cifar: cut off": ("cifar10", lambda r: cut(r / "cifar-10-batches-bin/data_batch_3.bin"),
        r"data_batch_3.bin has \d+ bytes, no multiple of a record's 3073"),
    "cifar: batch missing": ("cifar10",
        lambda r: (r / "cifar-10-batches-bin/data_batch_5.bin").unlink(),
        r"data_batch_5.bin is missing. Unpack cifar-10-binary.tar.gz \(the binary version\)"),
    "cifar: label out of range": ("cifar10",
        lambda r: first_byte(r / "cifar-10-batches-bin/test_batch.bin", 10),
        r"test_batch.bin: label 10 of example 0 is out of range; the task has 10 classes"),
    "cifar: empty": ("cifar100", lambda r: (r / "cifar-100-binary/test.bin").write_bytes(b""),
        r"test.bin has no examples"),
    "cifar: pickle": ("cifar10", lambda r: pickled(r, "cifar-10-batches-py", "data_batch_1"),
        r"holds the Python version, whose pickle files can run any code .* cifar-10-binary.tar.gz"),
    "cifar100: pickle": ("cifar100", lambda r: pickled(r, "cifar-100-python", "train"),
        r"holds the Python version, .* Unpack cifar-100-binary.tar.gz"),
    "stl10: cut off": ("stl10", lambda r: cut(r / "stl10_binary/train_X.bin"),
        r"train_X.bin has \d+ bytes, which are not \d+ pictures"),
    "stl10: no label": ("stl10", lambda r: first_byte(r / "stl10_binary/train_y.bin", 0),
        r"train_y.bin: label -1 of example 0 is out of range"),
    "stl10: fold of another set": ("stl10",
        lambda r: first_line(r / "stl10_binary/fold_indices.txt", "0 4999"),
        r"fold_indices.txt, line 1: the fold is empty or names a picture outside the 48"),
    "stl10: no numbers": ("stl10",
        lambda r: first_line(r / "stl10_binary/fold_indices.txt", "0 one"),
        r"fold_indices.txt, line 1: expected positions of pictures"),
    "stl10: picture twice": ("stl10",
        lambda r: first_line(r / "stl10_binary/fold_indices.txt", "0 1 0"),
        r"fold_indices.txt, line 1: the fold has a picture twice"),
    "stl10: no folds": ("stl10", lambda r: (r / "stl10_binary/fold_indices.txt").write_text(""),
        r"fold_indices.txt has 0 folds, not 10"),
    "stl10: names missing": ("stl10", lambda r: (r / "stl10_binary/class_names.txt").unlink(),
        r"class_names.txt is missing. Unpack stl10_binary.tar.gz"),
}  # fmt: skip


@pytest.mark.parametrize(
    ("release", "change", "message"), BAD.values(), ids=BAD.keys(), indirect=["release"]
)
def test_bad_releases(release, change, message):
    change(release)
    with pytest.raises(DataError, match=message):
        load(release.name, release)


def test_real_stl10_has_96_pixels(releases):
    with pytest.raises(DataError, match=r"not 48 pictures .* of 3 x 96 x 96"):
        load("stl10", releases / "stl10", stand_in=None)


def real_stl10(folder, folds):
    """50 pictures in the official layout, 5 a class, with these folds."""
    top = folder / "stl10_binary"
    top.mkdir()
    (top / "class_names.txt").write_text("\n".join(f"class {i}" for i in range(10)))
    for split in ("train", "test"):
        (top / f"{split}_X.bin").write_bytes(bytes(50 * 3 * 96 * 96))
        (top / f"{split}_y.bin").write_bytes(bytes(1 + i % 10 for i in range(50)))
    lines = [" ".join(map(str, fold)) for fold in folds]
    (top / "fold_indices.txt").write_text("\n".join(lines))
    return folder


def test_folds_of_real_stl10_are_ten_of_a_thousand(tmp_path, monkeypatch):
    folder = real_stl10(tmp_path, [range(i, i + 20) for i in range(10)])
    with pytest.raises(DataError, match=r"line 1: 20 pictures, but a fold has 1,000"):
        load("stl10", folder, stand_in=None)
    monkeypatch.setattr(stl10, "FOLD_SIZE", 20)
    task = load("stl10", folder, stand_in=None)
    assert len(task.folds) == 10 and task.counts["train"] == 50
    whole = (folder / "stl10_binary/fold_indices.txt").read_text()
    (folder / "stl10_binary/fold_indices.txt").write_text(whole.rpartition("\n")[0])
    with pytest.raises(DataError, match=r"fold_indices.txt has 9 folds, not 10"):
        load("stl10", folder, stand_in=None)


def test_a_release_of_another_size_is_refused(releases):
    task = task_config("linear_probe", counts={"train": 75750, "test": 25250}, title="Food101")
    with pytest.raises(DataError, match=r"not the official Food101 \(train: 64 found, 75750 expec"):
        load_task("food101", task, data_config("food101", releases / "food101"))


IMAGENET_BAD = {
    "folder of no wnid": ({"train/cat/1.png": b""}, r"'cat/1.png' lies in no folder named by one"),
    "class absent": ({"train/n01440764/1.png": b"", "val/n01440764/1.png": b""},
        r"no picture of n01443537. Get ILSVRC 2012"),
    "both": ({"train/n01440764.tar": b"", "train/n01440764/1.png": b""},
        r"train holds class folders and class tars, n01440764\.tar among them"),
    "class tar of nothing": ({"train/n01440764.tar": b""},
        r"n01440764\.tar is not a readable tar archive \(empty file\)\. Download it again"),
    "tar of nothing": ({"ILSVRC2012_img_train.tar": b""}, r"img_train\.tar is not a readable tar"),
    "no train": ({"val/n01440764/1.png": b""}, r"train is missing. Get ILSVRC 2012"),
}  # fmt: skip


@pytest.mark.parametrize(("files", "message"), IMAGENET_BAD.values(), ids=IMAGENET_BAD.keys())
def test_bad_imagenet(tmp_path, files, message):
    for name in files:
        write(tmp_path / name, "")
    with pytest.raises(DataError, match=message):
        load("imagenet", tmp_path)


def remove(path: Path, name: str) -> None:
    with tarfile.open(path) as tar:
        kept = [(m, tar.extractfile(m).read()) for m in tar if m.name != name]
    with tarfile.open(path, "w") as tar:
        for member, content in kept:
            tar.addfile(member, io.BytesIO(content))


def doubled(path: Path, name: str, other: str) -> None:
    with tarfile.open(path) as tar:
        kept = [(m, tar.extractfile(m).read()) for m in tar]
    with tarfile.open(path, "w") as tar:
        for member, content in kept:
            tar.addfile(member, io.BytesIO(content))
            if member.name == name:
                member.name = other
                tar.addfile(member, io.BytesIO(content))


def cut_last(path: Path) -> None:
    with tarfile.open(path) as tar:
        end = tar.getmembers()[-1].offset
    path.write_bytes(path.read_bytes()[:end])


WEB_BAD = {
    "two pictures": (lambda r: doubled(r / "test/0.tar", "s0000001.png", "s0000001.jpg"),
        r"test/0.tar: 's0000001' has two of a picture"),
    "label missing": (lambda r: remove(r / "test/0.tar", "s0000001.cls"),
        r"test/0.tar: 's0000001' lacks its picture or its .cls"),
    "picture missing": (lambda r: remove(r / "test/0.tar", "s0000001.png"),
        r"test/0.tar: 's0000001' lacks its picture or its .cls"),
    "shard missing": (lambda r: (r / "train/1.tar").unlink(),
        r"train/1.tar is missing; nshards.txt says 2. Get the set from"),
    "no count": (lambda r: write(r / "train/nshards.txt", "two"),
        r"nshards.txt: expected the number of tars, got 'two'"),
    "count missing": (lambda r: (r / "train/nshards.txt").unlink(), r"nshards.txt is missing"),
    "label out of range": (lambda r: write(r / "classnames.txt", "cat\n"),
        r"train: label 1 of example \d is out of range; the task has 1 classes"),
    "tar cut off": (lambda r: (r / "test/0.tar").write_bytes((r / "test/0.tar").read_bytes()[:700]),
        r"0.tar is neither a readable folder nor a readable zip archive or tar archive"),
    "tar cut between members": (lambda r: cut_last(r / "test/0.tar"),
        r"0.tar is neither .*cut off between two members"),
}  # fmt: skip


@pytest.mark.parametrize(("change", "message"), WEB_BAD.values(), ids=WEB_BAD.keys())
def test_bad_web_datasets(tmp_path, change, message):
    write(tmp_path / "classnames.txt", "cat\ndog\n")
    web_dataset(tmp_path, "train", [0, 1, 1, 0])
    web_dataset(tmp_path, "test", [1, 0], 1)
    change(tmp_path)
    with pytest.raises(DataError, match=message):
        load("webdataset", tmp_path)
