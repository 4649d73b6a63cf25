"""The hash of a task's examples: by content and order, whatever the names."""

from __future__ import annotations

import io
import zipfile
from dataclasses import replace
from pathlib import Path
from threading import Barrier

import numpy as np
import pytest
from PIL import Image

from flava.config import ProbeConfig
from flava.evaluate import vision
from flava.evaluate.digest import task_use
from flava.evaluate.feature_cache import FeatureCache
from flava.evaluate.images import ArrayImages, EncodedImages, ImageSource
from flava.evaluate.taskdata import LabelledTask, RetrievalTask, SoftLabels, Split, ZeroShotTask
from flava.io import sha256_parts
from tests.evaluate.fakes import context


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


class Reading:
    """Files of memory that counts what is read, two at a time where it is told so."""

    path = Path("memory")

    def __init__(self, together: int = 1) -> None:
        self.read_names: list[str] = []
        self.together = Barrier(together)

    def read(self, name: str) -> bytes:
        self.together.wait(timeout=20)
        self.read_names.append(name)
        return picture(int(name))


def test_a_job_reads_each_image_once_for_hashes_and_once_for_pixels(tmp_path: Path) -> None:
    source = Reading()
    names = [str(i) for i in range(40)]
    whole, labels = EncodedImages(source, names), np.arange(40) % 2
    parts = [Split(labels[rows], whole, rows) for rows in (np.arange(30), np.arange(30, 40))]
    data = LabelledTask(parts[0], {"test": parts[1]}, ["even", "odd"])
    task_use(data)
    assert source.read_names == names
    cached = context("linear_probe", cache=FeatureCache(tmp_path, "a model"))
    vision.evaluate(cached, data, ProbeConfig(steps=12))
    assert source.read_names == 2 * names
    vision.evaluate(cached, data, ProbeConfig(steps=12))
    task_use(data)
    assert source.read_names == 2 * names


def test_files_are_read_side_by_side_and_hashed_in_their_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("flava.evaluate.content.reading_threads", lambda _: 2)
    rows = np.array([5, 3, 1, 4])
    together = EncodedImages(Reading(together=2), [str(i) for i in range(6)])
    assert together.digest(rows) == sha256_parts(picture(row) for row in rows.tolist())
    other = np.array([5, 3])
    assert together.digest(other) == sha256_parts([picture(5), picture(3)])


def test_hashes_of_arrays_are_of_shape_and_pixels() -> None:
    pixels = np.arange(3 * 4 * 4, dtype=np.uint8).reshape(3, 4, 4)
    expected = sha256_parts(b"(4, 4)" + pixels[i].tobytes() for i in (2, 0))
    assert ArrayImages(pixels).digest(np.array([2, 0])) == expected
    assert ArrayImages(pixels).digest(np.array([], np.int64)) == sha256_parts([])


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
