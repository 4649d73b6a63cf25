"""CLIP_benchmark's web datasets for retrieval and zero-shot rows, and their official counts."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from flava.data.transforms import decode_image
from flava.errors import DataError
from flava.evaluate import retrieval, zero_shot
from flava.evaluate.datasets import load_task
from tests.evaluate.fakes import context, data_config, noise_png, task_config, web_dataset, write

NAMES = "classnames.txt"
TEMPLATES = "zeroshot_classification_templates.txt"


def load(path, family, counts=None, **changes):
    changes.setdefault("stand_in", None if counts else "toy")
    task = task_config(family, counts=counts or {}, title="DTD")
    return load_task("x", task, data_config("webdataset", path, **changes))


@pytest.fixture
def captioned(tmp_path: Path) -> Path:
    """As the sets' own writer has it: a line break within a caption is a backslash and an n."""
    lines = [f"caption {n} of 1\\n" for n in range(6)]
    web_dataset(tmp_path, "test", ["caption of 0\n\nanother — of 0\n", "\n".join(lines), "of 2"])
    write(tmp_path / "dataset_type.txt", "retrieval\n")
    return tmp_path


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    web_dataset(tmp_path, "test", [2, 0, 1])
    write(tmp_path / NAMES, "tench\ngreen {dog}\n\nbird\n")
    write(tmp_path / TEMPLATES, "a bad photo of a {c}.\n{c}\n")
    return tmp_path


def assert_pictures(images, numbers) -> None:
    for row, number in enumerate(numbers):
        pixels = images.pixels(np.array([row]), 16)[0]
        assert (pixels == np.asarray(decode_image(noise_png(number)))).all()


def test_captions_of_a_web_dataset(captioned):
    task = load(captioned, "retrieval")
    assert task.counts == {"images": 3, "captions": 8}, "the first five of an image count"
    five = [f"caption {n} of 1\n" for n in range(5)]
    assert task.captions == ["caption of 0", "another — of 0", "of 2", *five]
    assert task.image_M.tolist() == [0, 0, 1, 2, 2, 2, 2, 2], "0.tar has the even ones"
    assert_pictures(task.images, (0, 2, 1))
    assert len(retrieval.evaluate(context("retrieval", "recall"), task)) == 2


def test_captions_of_another_split(captioned):
    web_dataset(captioned, "val", ["one\ntwo"], 1)
    assert load(captioned, "retrieval", split="val").captions == ["one", "two"]


def test_official_counts_decide_on_captions(captioned):
    assert load(captioned, "retrieval", {"images": 3, "captions": 8}).counts["captions"] == 8
    with pytest.raises(DataError, match=r"is not the official DTD \(captions: 8 found, 9 expec"):
        load(captioned, "retrieval", {"images": 3, "captions": 9})


def test_zero_shot_takes_the_names_and_templates_of_the_set(labelled):
    task = load(labelled, "zero_shot")
    assert task.classes == ["tench", "green {dog}", "bird"]
    assert task.templates == ["a bad photo of a {}.", "{}"]
    assert task.test.targets.tolist() == [2, 1, 0]
    assert_pictures(task.test.images, (0, 2, 1))
    assert len(zero_shot.evaluate(context("zero_shot"), task)) == 1


def prompts(folder: Path, names: list[str]) -> str:
    write(folder / "classnames.json", json.dumps(names))
    write(folder / "templates.json", '["my {}"]')
    return str(folder)


def test_prompts_of_the_study_win(labelled):
    (labelled / TEMPLATES).unlink()
    task = load(labelled, "zero_shot", prompts=prompts(labelled / "p", ["a", "b", "c"]))
    assert task.classes == ["a", "b", "c"] and task.templates == ["my {}"]
    with pytest.raises(DataError, match=r"2 class names, but .*classnames.txt has 3. Leave out"):
        load(labelled, "zero_shot", prompts=prompts(labelled / "p", ["a", "b"]))


def test_official_counts_decide_on_names_and_templates(labelled):
    counts = {"test": 3, "classes": 3, "templates": 80}
    with pytest.raises(DataError, match=r"is not the official DTD \(templates: 2 found, 80 expec"):
        load(labelled, "zero_shot", counts)


def test_splits_that_are_merged_are_told_from_missing_examples(labelled):
    web_dataset(labelled, "train", [0, 1, 2, 0])
    assert load(labelled, "linear_probe", {"train": 4, "test": 3}).counts == {"train": 4, "test": 3}
    merged = (
        r"has the official DTD in other splits \(train: 4 found, 2 expected; validation: none "
        r"found, 2 expected\). Get the official files from example.org, or name .*x.stand_in"
    )
    with pytest.raises(DataError, match=merged):
        load(labelled, "linear_probe", {"train": 2, "validation": 2, "test": 3})
    with pytest.raises(DataError, match=r"is not the official DTD .* Get the whole set from"):
        load(labelled, "linear_probe", {"train": 4, "validation": 2, "test": 3})


def rewritten(root: Path, labels: list[int | str | bytes]) -> None:
    shutil.rmtree(root / "test")
    web_dataset(root, "test", labels, 1)


@pytest.mark.parametrize("scored", ["test", "val"])
def test_a_scored_class_occurs_in_training(labelled, scored):
    web_dataset(labelled, "train", [0, 1, 2])
    web_dataset(labelled, "val", [0, 1])
    assert load(labelled, "linear_probe").counts == {"train": 3, "validation": 2, "test": 3}
    shutil.rmtree(labelled / "train")
    web_dataset(labelled, "train", [0, 1] if scored == "test" else [0, 2])
    shutil.rmtree(labelled / "test")
    web_dataset(labelled, "test", [2] if scored == "test" else [0])
    missing = {"test": "bird", "val": "green {dog}"}[scored]
    with pytest.raises(DataError, match=f"class '{missing}' is scored but never occurs in train"):
        load(labelled, "linear_probe")


CAPTIONS_BAD = {
    "shard missing": (lambda r: (r / "test/1.tar").unlink(),
        r"test/1.tar is missing; nshards.txt says 2. Get the set from"),
    "more shards": (lambda r: write(r / "test/nshards.txt", "1\n"),
        r"test: nshards.txt says 1, but 1.tar is there. Get the set from"),
    "no number of shards": (lambda r: write(r / "test/nshards.txt", "²\n"),
        r"nshards.txt: expected the number of tars, got '²'"),
    "no such split": (lambda r: (r / "test").rename(r / "val"),
        r"test/nshards.txt is missing. Get the set from"),
    "captions missing": (lambda r: rewritten(r, [0]),
        r"0.tar: 's0000000' lacks its picture or its .txt. Get the tar anew"),
    "no caption in the file": (lambda r: rewritten(r, [" \n\n"]),
        r"0.tar: 's0000000.txt': image '0.tar/s0000000.png' has no caption"),
    "not UTF-8": (lambda r: rewritten(r, [b"caf\xe9"]),
        r"0.tar: 's0000000.txt' is not UTF-8 text"),
    "no picture": (lambda r: rewritten(r, []), r"test holds no picture"),
}  # fmt: skip


@pytest.mark.parametrize(("change", "message"), CAPTIONS_BAD.values(), ids=CAPTIONS_BAD.keys())
def test_bad_captions_of_a_web_dataset(captioned, change, message):
    change(captioned)
    with pytest.raises(DataError, match=message):
        load(captioned, "retrieval")


LABELS_BAD = {
    "template without place": (lambda r: write(r / TEMPLATES, "a {c}\n\na photo\n"),
        r"templates.txt, line 3: template 'a photo' must have exactly one {c}"),
    "template with two places": (lambda r: write(r / TEMPLATES, "{c} or {c}\n"),
        r"line 1: template '{c} or {c}' must have exactly one {c}"),
    "template of another style": (lambda r: write(r / TEMPLATES, "{} {c}\n"),
        r"templates.txt: template '{} {}' must have exactly one {}"),
    "no template": (lambda r: write(r / TEMPLATES, "\n"), r"templates.txt is empty. Get the set"),
    "templates missing": (lambda r: (r / TEMPLATES).unlink(), r"templates.txt is missing. Get the"),
    "names missing": (lambda r: (r / NAMES).unlink(), r"classnames.txt is missing. Get the set"),
    "no name": (lambda r: write(r / NAMES, " \n"), r"classnames.txt is empty. Get the set"),
    "too few names": (lambda r: write(r / NAMES, "tench\nbird\n"),
        r"test: label 2 of example 0 is out of range; the task has 2 classes"),
    "captions": (lambda r: rewritten(r, ["a cat"]),
        r"0.tar: 's0000000' lacks its picture or its .cls"),
}  # fmt: skip


@pytest.mark.parametrize(("change", "message"), LABELS_BAD.values(), ids=LABELS_BAD.keys())
def test_bad_labels_of_a_web_dataset(labelled, change, message):
    change(labelled)
    with pytest.raises(DataError, match=message):
        load(labelled, "zero_shot")


@pytest.mark.parametrize("text", ["-1", "x", "1" * 5000, "²"])
def test_labels_are_class_numbers(labelled, text):
    from webdataset import TarWriter

    with TarWriter(str(labelled / "test/0.tar")) as tar:
        tar.write({"__key__": "s0", "png": noise_png(0), "cls": text.encode()})
    with pytest.raises(DataError, match=r"0.tar: 's0.cls' is no class number"):
        load(labelled, "zero_shot")
