"""The hash of a task's examples: by content and order, whatever the names."""

from __future__ import annotations

import io
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from flava.evaluate.digest import task_use
from flava.evaluate.images import EncodedImages, ImageSource
from flava.evaluate.taskdata import LabelledTask, RetrievalTask, SoftLabels, Split, ZeroShotTask


def picture(shade: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (4, 4), (shade, 0, 0)).save(file, "PNG")
    return file.getvalue()


def images(path: Path, shades: list[int], stem: str = "a") -> EncodedImages:
    """Pictures in a zip; their names begin with `stem`."""
    with zipfile.ZipFile(path, "w") as archive:
        for i, shade in enumerate(shades):
            archive.writestr(f"{stem}{i}.png", picture(shade))
    source = ImageSource(path)
    return EncodedImages(source, source.names)


def labelled(labels: list[int], text: str = "a dog") -> LabelledTask:
    split = Split(np.array(labels), texts=[(text, None)] * len(labels))
    return LabelledTask(split, {"test": split}, ["no", "yes"])


def test_labels_texts_and_classes_count() -> None:
    whole = task_use(labelled([0, 1, 1]))
    assert whole.counts == {"train": 3, "test": 3}
    assert task_use(labelled([0, 1, 1])) == whole
    changed = [
        labelled([1, 0, 1]),
        labelled([0, 1, 1], "a cat"),
        replace(labelled([0, 1, 1]), classes=["yes", "no"]),
        replace(labelled([0, 1, 1]), validation=labelled([0]).train),
        replace(labelled([0, 1, 1]), tests={"dev": labelled([0, 1, 1]).train}),
        replace(labelled([0, 1, 1]), folds=(np.array([0, 1]), np.array([2]))),
        replace(labelled([0, 1, 1]), folds=(np.array([0]), np.array([1, 2]))),
    ]
    hashes = {task_use(data).sha256 for data in changed}
    assert len(hashes) == len(changed) and whole.sha256 not in hashes


def test_images_count_by_content_and_order_not_by_name(tmp_path: Path) -> None:
    def use(name: str, shades: list[int], stem: str = "a", at: tuple[int, ...] = (0, 1, 1)) -> str:
        split = Split(np.zeros(3, np.int64), images(tmp_path / name, shades, stem), np.array(at))
        return task_use(ZeroShotTask(split, ["x"], ["a {}"])).sha256

    whole = use("one.zip", [10, 20])
    assert use("two.zip", [10, 20], stem="other") == whole
    assert use("three.zip", [10, 21]) != whole
    assert use("four.zip", [20, 10]) != whole
    assert use("five.zip", [10, 20], at=(0, 0, 1)) != whole


@pytest.mark.parametrize("change", ["captions", "image_M"])
def test_captions_and_their_images_count(tmp_path: Path, change: str) -> None:
    pictures = images(tmp_path / "r.zip", [1, 2])
    data = RetrievalTask(pictures, ["a", "b"], np.array([0, 1]))
    other = {"captions": ["a", "c"], "image_M": np.array([1, 0])}[change]
    assert task_use(data).counts == {"images": 2, "captions": 2}
    assert task_use(replace(data, **{change: other})).sha256 != task_use(data).sha256


def test_soft_answers_count() -> None:
    def task(score: float) -> LabelledTask:
        soft = SoftLabels(np.array([[0, 1]]), np.array([[1.0, score]], np.float32), 2)
        split = Split(soft, texts=[("what?", None)])
        return LabelledTask(split, {"val": split}, ["a", "b"])

    assert task_use(task(0.3)).sha256 != task_use(task(0.6)).sha256
