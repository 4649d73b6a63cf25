"""GLUE's sentences as pictures: drawn whole, read lazily, written in the layout of OpenAI's set."""

from __future__ import annotations

import subprocess
import sys
import zipfile

import numpy as np
import pytest

from flava.data.draw_text import MARGIN, SIDE, draw_text, wrap
from flava.errors import DataError
from flava.evaluate.datasets import load_task
from tests.evaluate.fakes import data_config, task_config, write

LONG = "a gorgeous , witty , seductive movie that one can only recommend to all " * 3


def load(adapter, path, **changes):
    return load_task("sst", task_config("linear_probe"), data_config(adapter, path, **changes))


@pytest.mark.parametrize("text", ["bad", "good", "it 's a charming journey .", LONG])
def test_all_of_a_text_is_in_the_picture(text):
    ink_HW = np.asarray(draw_text(text)) < 128
    assert ink_HW.shape == (SIDE, SIDE) and ink_HW.sum() > 500
    edge = MARGIN // 2
    assert not ink_HW[:edge].any() and not ink_HW[-edge:].any()
    assert not ink_HW[:, :edge].any() and not ink_HW[:, -edge:].any()


def test_lines_hold_all_words_in_order_and_the_largest_size_is_taken():
    words = LONG.split()
    lines = wrap(words, 24)
    assert lines is not None and " ".join(lines).split() == words
    assert wrap(words, 96) is None and wrap(["unflinchingly"], 96) is None
    assert wrap(["good"], 96) == ["good"]
    few, many = (np.flatnonzero((np.asarray(draw_text(t)) < 128).any(axis=1)) for t in ("x", LONG))
    assert many[-1] - many[0] > few[-1] - few[0]


def test_other_texts_make_other_pictures():
    pictures = {draw_text(text).tobytes() for text in ("not good", "good", "good not", "bad")}
    assert len(pictures) == 4
    assert draw_text("good").tobytes() == draw_text(" good  ").tobytes()


@pytest.mark.parametrize(
    ("text", "message"), [("  ", "empty text"), ("word " * 900, "of 900 words is too long to draw")]
)
def test_texts_that_cannot_be_drawn(text, message):
    with pytest.raises(DataError, match=message):
        draw_text(text)


@pytest.fixture
def glue(tmp_path):
    rows = [f"a {'fine' if i % 2 else 'dull'} film number {i} \t{i % 2}" for i in range(30)]
    for name, part in (("train", rows[:20]), ("dev", rows[20:])):
        write(tmp_path / "SST-2" / f"{name}.tsv", "\n".join(["sentence\tlabel", *part]) + "\n")
    return tmp_path / "SST-2"


def test_pictures_are_of_their_sentences(glue):
    task = load("rendered_sst2", glue, train_limit=8)
    assert task.counts == {"train": 8, "test": 10} and task.classes == ["negative", "positive"]
    test = task.tests["test"]
    expected = np.asarray(draw_text("a dull film number 22"))
    found = test.images.take(np.array([2, 3])).pixels(np.array([1, 0]), SIDE)
    assert (found[1] == expected[..., None]).all() and test.targets[2] == 0
    assert not (found[0] == found[1]).all()
    (glue / "dev.tsv").unlink()
    with pytest.raises(DataError, match=r"dev.tsv is missing"):
        load("rendered_sst2", glue)


def render(glue, output, *more):
    command = [sys.executable, "-m", "flava.evaluate.render_sst2", "--glue", str(glue)]
    return subprocess.run(
        [*command, "--output", str(output), *more], capture_output=True, text=True, check=False
    )


def test_the_command_writes_what_image_folder_reads(glue, tmp_path):
    output = tmp_path / "rendered-sst2.zip"
    done = render(glue, output, "--train", "18")
    assert done.returncode == 0, done.stderr
    assert "'train': 14, 'valid': 4, 'test': 10" in done.stdout
    written, drawn = load("image_folder", output), load("rendered_sst2", glue)
    assert written.counts == {"train": 14, "validation": 4, "test": 10}
    assert written.classes == drawn.classes
    rows = np.argsort(drawn.tests["test"].targets, kind="stable")
    pixels = written.tests["test"].images.pixels(np.arange(10), 64)
    assert (pixels == drawn.tests["test"].images.pixels(rows, 64)).all()
    names = zipfile.ZipFile(output).namelist()
    assert all(n.startswith("rendered-sst2/") and n.endswith(".png") for n in names)


def test_a_failed_command_leaves_nothing(glue, tmp_path):
    write(glue / "dev.tsv", "sentence\tlabel\n" + "word " * 900 + "\t1\n")
    done = render(glue, tmp_path / "out" / "a.zip")
    assert done.returncode == 3 and "too long to draw" in done.stderr
    assert not list((tmp_path / "out").iterdir())
    done = render(glue, tmp_path / "folder")
    assert done.returncode == 2 and "--output must end in .zip" in done.stderr


def test_real_sentences_can_all_be_drawn(real_data):
    path = real_data / "glue" / "SST-2"
    task = load("rendered_sst2", path, train_limit=300)
    for split in (task.train, task.tests["test"]):
        pixels = split.images.pixels(split.image_N[:300], 112)
        assert pixels.min() < 60 and (pixels.reshape(len(pixels), -1).min(axis=1) < 128).all()
    assert len(task.tests["test"]) > 500
