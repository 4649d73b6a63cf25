"""Readers of DAQUAR and NLVR on small files written here, and every bad input."""

from __future__ import annotations

import pytest

from flava.errors import DataError
from flava.evaluate.datasets import load_task
from tests.evaluate.fakes import (
    data_config,
    noise_png,
    task_config,
    write,
    write_json_lines,
    write_zip,
)


def load(name, family, adapter, path):
    return load_task(name, task_config(family), data_config(adapter, path))


@pytest.fixture
def daquar(tmp_path):
    write(tmp_path / "answer_space.txt", "2\nchair\ntable\n")
    write(tmp_path / "data_train.csv", 'question,answer,image_id\nwhat,"chair, table",image1\n')
    write(
        tmp_path / "data_eval.csv", "question,answer,image_id\nhow many,2,image1\nwho,me,image1\n"
    )
    write_zip(tmp_path / "images.zip", {"images/image1.jpg": noise_png(1)})
    return tmp_path


def test_daquar_lists_share_the_score_and_unknown_answers_count_as_wrong(daquar):
    task = load("vqav2", "multimodal", "daquar_csv", daquar)
    assert task.train.targets.dense().tolist() == [[0, 0.5, 0.5]]
    assert task.tests["eval"].targets.scores_NK.tolist() == [[1], [0]]


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("data_train.csv", "question,answer\n", "line 1: column 'image_id' is missing"),
        ("data_train.csv", "question,answer,image_id\na,2\n", "line 2: expected 3 cells"),
        ("data_train.csv", 'question,answer,image_id\n"a,2,image1\n', "not a readable CSV file"),
        ("data_eval.csv", "question,answer,image_id\na,2,image9\n", "line 2.*image9.*not there"),
        ("data_eval.csv", "question,answer,image_id\n", "has no examples"),
    ],
    ids=["header", "columns", "quote", "image", "empty"],
)
def test_bad_daquar_files_are_refused(daquar, file, text, message):
    write(daquar / file, text)
    with pytest.raises(DataError, match=f"(?s){file}.*{message}"):
        load("vqav2", "multimodal", "daquar_csv", daquar)


def nlvr_row(identifier, label="true", boxes=((1, 2), (3,), (4, 5, 6))):
    return {
        "identifier": identifier, "label": label, "sentence": "There is a box.",
        "structured_rep": [[{"size": n} for n in box] for box in boxes],
    }  # fmt: skip


@pytest.fixture
def nlvr(tmp_path):
    names = {"test": "1-0", "hidden": "2-0", "dev": "3-0", "train": "4-0"}
    for split in ("test", "hidden", "dev"):
        write_json_lines(tmp_path / split / f"{split}.json", [nlvr_row(names[split])])
    write_zip(
        tmp_path / "images.zip",
        {f"{s}/images/7/{s}-{name}-0.png": noise_png(1) for s, name in names.items()},
    )
    return tmp_path


def test_nlvr_trains_on_train_where_there_is_one(nlvr):
    without = load("hateful_memes", "multimodal", "nlvr", nlvr)
    assert (len(without.train), without.notes["trained on"]) == (2, "test and hidden")
    write_json_lines(nlvr / "train" / "train.json", [nlvr_row("4-0", "false")])
    task = load("hateful_memes", "multimodal", "nlvr", nlvr)
    assert task.train.targets.tolist() == [0] and task.notes["trained on"] == "train"
    counted = load("clevr", "linear_probe", "nlvr_counts", nlvr)
    assert counted.classes[counted.train.targets[0]] == "6"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (nlvr_row("3-0", "maybe"), "line 1: label 'maybe'"),
        (nlvr_row("9-0"), "line 1.*dev-9-0-0.*not there"),
        ({"identifier": "3-0", "label": "true"}, "line 1: key 'sentence' is missing"),
    ],
    ids=["label", "image", "key"],
)
def test_bad_nlvr_lines_are_refused(nlvr, row, message):
    write_json_lines(nlvr / "dev" / "dev.json", [row])
    with pytest.raises(DataError, match=f"dev.json, {message}"):
        load("hateful_memes", "multimodal", "nlvr", nlvr)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"identifier": "3-0"}, "line 1: a list 'structured_rep' is missing"),
        ({"identifier": "3-0", "structured_rep": [[], 4]}, "line 1: 'structured_rep' is no list"),
        ({"identifier": "9-0", "structured_rep": [[]]}, "line 1: .*dev-9-0-0' is not there"),
    ],
)
def test_nlvr_counts_need_the_object_lists(nlvr, row, message):
    write_json_lines(nlvr / "dev" / "dev.json", [row])
    with pytest.raises(DataError, match=rf"dev\.json, {message}"):
        load("clevr", "linear_probe", "nlvr_counts", nlvr)
