"""ImageNet in the layouts that it is kept in: official tars, class folders, zips."""

from __future__ import annotations

import io
import json
import os
import shutil
import tarfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from flava.data.toy.layouts_a import write_mat
from flava.errors import DataError
from flava.evaluate.datasets import load_task
from flava.evaluate.digest import task_use
from flava.evaluate.formats.prompts import imagenet_wnids
from tests.evaluate.fakes import (
    data_config,
    load_official,
    noise_png,
    task_config,
    write,
    write_zip,
)

WNIDS = imagenet_wnids()
SHOWN = [WNIDS[5], WNIDS[900], WNIDS[5]]  # by the validation images
# In class 7 the order of the names is not that of the numbers.
TRAIN = {
    f"{wnid}/{wnid}_{number}.JPEG": noise_png(label + number, 2)
    for label, wnid in enumerate(WNIDS)
    for number in ((10026, 3, 1) if label == 7 else (1,))
}
VAL = {f"ILSVRC2012_val_{number:08d}.JPEG": noise_png(number) for number in (3, 1, 2)}
LAYOUTS = ["folders", "tar", "class tars"]


def tar_of(members: Mapping[str, bytes]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return file.getvalue()


def write_files(folder: Path, files: Mapping[str, bytes]) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def write_devkit(root: Path) -> None:
    ids = {wnid: number for number, wnid in enumerate(reversed(WNIDS), start=1)}
    kinds = [("ILSVRC2012_ID", object), ("WNID", object)]
    synsets = np.array([[(ids[wnid], wnid) for wnid in WNIDS]], kinds)
    write_mat(root / "data" / "meta.mat", {"synsets": synsets})
    truth = "".join(f"{ids[wnid]}\n" for wnid in SHOWN)
    write(root / "data" / "ILSVRC2012_validation_ground_truth.txt", truth)


def class_tars() -> dict[str, bytes]:
    """In another order than that of the wnids, one with a file of macOS's."""
    found = {}
    for wnid in reversed(WNIDS):
        members = {name.split("/")[1]: data for name, data in TRAIN.items() if wnid in name}
        found[f"{wnid}.tar"] = tar_of(members | ({"._1.JPEG": b"x"} if wnid == WNIDS[7] else {}))
    return found


def write_imagenet(root: Path, layout: str) -> Path:
    """Training and validation images and the development kit."""
    write_devkit(root)
    if layout == "folders":
        write_files(root / "train", TRAIN)
        write_files(root / "val", VAL)
        return root
    if layout == "tar":
        write_files(root, {"ILSVRC2012_img_train.tar": tar_of(class_tars())})
    else:
        write_files(root / "train", class_tars())
    write_files(root, {"ILSVRC2012_img_val.tar": tar_of(VAL)})
    return root


def write_prompts(folder: Path) -> Path:
    write(folder / "classnames.json", json.dumps([f"thing {label}" for label in range(1000)]))
    write(folder / "templates.json", '["a {}"]')
    return folder


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("imagenet")
    for layout in LAYOUTS:
        write_imagenet(root / layout, layout)
    return root


@pytest.mark.parametrize("layout", LAYOUTS[1:])
def test_official_tars_are_read_as_if_they_were_unpacked(written, tmp_path, layout):
    unpacked, packed = (load_official("imagenet", written / name) for name in ("folders", layout))
    assert packed.classes == unpacked.classes == WNIDS
    splits = [(task.train, task.tests["test"]) for task in (packed, unpacked)]
    for split, other in zip(*splits, strict=True):
        assert split.targets.tolist() == other.targets.tolist()
        assert split.images.names == other.images.names
    assert task_use(packed) == task_use(unpacked), "the hash of record.json"
    rows = np.array([1001, 7, 8, 9, 0])
    pixels = [task.train.images.pixels(rows, 2) for task in (packed, unpacked)]
    assert (pixels[0] == pixels[1]).all()
    prompts = str(write_prompts(tmp_path / "prompts"))
    scored = [
        load_official("imagenet", written / name, "zero_shot", prompts=prompts)
        for name in ("folders", layout)
    ]
    assert task_use(scored[0]) == task_use(scored[1])
    assert scored[1].test.targets.tolist() == [WNIDS.index(wnid) for wnid in SHOWN]


def test_a_thousand_tars_are_not_all_kept_open(written):
    task = load_official("imagenet", written / "class tars")
    opened = len(list(Path("/proc/self/fd").iterdir()))
    task_use(task)
    assert len(list(Path("/proc/self/fd").iterdir())) <= opened


def test_class_folders_win_over_the_archive_that_they_came_from(written, tmp_path):
    root = tmp_path / "both"
    shutil.copytree(written / "folders", root)
    write_files(root, {"ILSVRC2012_img_train.tar": b"not read"})
    assert task_use(load_official("imagenet", root)) == task_use(
        load_official("imagenet", written / "folders")
    )


def test_another_number_than_the_official_one_is_refused(written):
    task = task_config("linear_probe", counts={"train": 1003, "test": 3}, title="ImageNet-1k")
    with pytest.raises(
        DataError, match=r"not the official ImageNet-1k \(train: 1002 found, 1003 e"
    ):
        load_task("imagenet", task, data_config("imagenet", written / "tar"))


def test_bad_archives(written, tmp_path):
    root = tmp_path / "imagenet"
    shutil.copytree(written / "tar", root)
    val = root / "ILSVRC2012_img_val.tar"
    val.write_bytes(tar_of(dict(list(VAL.items())[1:])))
    with pytest.raises(DataError, match=r"img_val\.tar: 2 images, but 3 labels\. Get ILSVRC 2012"):
        load_official("imagenet", root)
    val.write_bytes(tar_of({"ILSVRC2012_val_00000004.JPEG": b""}))
    with pytest.raises(DataError, match=r"'ILSVRC2012_val_00000004\.JPEG' is none of the 3 valid"):
        load_official("imagenet", root)
    train = root / "ILSVRC2012_img_train.tar"
    whole = train.read_bytes()
    train.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"img_train\.tar.* is not a readable tar archive"):
        load_official("imagenet", root)
    parts = class_tars()
    train.write_bytes(tar_of({name: parts[name] for name in list(parts)[:999]}))
    with pytest.raises(DataError, match=rf"img_train\.tar: no picture of {WNIDS[0]}\. Get ILSVRC"):
        load_official("imagenet", root)
    train.write_bytes(tar_of({"1.JPEG": b""}))
    with pytest.raises(DataError, match=r"'1\.JPEG' lies in no folder named by one of the 1,000"):
        load_official("imagenet", root)


def test_an_archive_that_is_cut_off_after_its_headers_were_read(written, tmp_path):
    root = tmp_path / "imagenet"
    shutil.copytree(written / "tar", root)
    task = load_official("imagenet", root)
    os.truncate(root / "ILSVRC2012_img_train.tar", 512)
    with pytest.raises(DataError, match=r"img_train\.tar: 'n\d+/.*JPEG' cannot be read \(unexpec"):
        task.train.images.pixels(np.array([0]), 8)


def test_validation_images_in_class_folders(tmp_path):
    write_zip(tmp_path / "train.zip", TRAIN)
    write_zip(tmp_path / "val.zip", {f"{w}/{i}.JPEG": noise_png(i) for i, w in enumerate(SHOWN)})
    task = load_official("imagenet", tmp_path)
    assert task.counts == {"train": 1002, "test": 3} and task.classes == WNIDS
    assert sorted(task.tests["test"].targets) == [5, 5, 900]
