"""VQAv2's reader on small files written here, and every bad input."""

from __future__ import annotations

import json

import numpy as np
import pytest

from flava.errors import DataError
from flava.evaluate.datasets import load_task
from tests.evaluate.fakes import (
    data_config,
    noise_png,
    task_config,
    write,
    write_zip,
)


def load(path, **changes):
    return load_task("vqav2", task_config("multimodal"), data_config("vqav2", path, **changes))


def vqa_files(root, split, questions):
    """questions: [(id, image, text, ten answers)]."""
    write(
        root / f"v2_OpenEnded_mscoco_{split}_questions.json",
        json.dumps({"questions": [
            {"question_id": q, "image_id": i, "question": text} for q, i, text, _ in questions
        ]}),
    )  # fmt: skip
    write(
        root / f"v2_mscoco_{split}_annotations.json",
        json.dumps({"annotations": [
            {"question_id": q, "image_id": i, "multiple_choice_answer": answers[0],
             "answers": [{"answer": a, "answer_id": k} for k, a in enumerate(answers, 1)]}
            for q, i, _, answers in reversed(questions)
        ]}),
    )  # fmt: skip


@pytest.fixture
def vqa(tmp_path):
    vqa_files(tmp_path, "train2014", [
        (1, 7, "What colour?", ["red"] * 8 + ["blue"] * 2),
        (2, 7, "How many?", ["two"] * 10),
        (3, 8, "Is it?", ["yes"] * 3 + ["no"] * 7),
    ])  # fmt: skip
    vqa_files(tmp_path, "val2014", [(9, 4, "How many?", ["2"] * 3 + ["Red."] + ["zebra"] * 6)])
    write_zip(tmp_path / "images.zip", {
        f"{split}/COCO_{split}_{image:012d}.png": noise_png(image)
        for split, image in (("train2014", 7), ("train2014", 8), ("val2014", 4))
    })  # fmt: skip
    return tmp_path


def test_vqav2(vqa):
    task = load(vqa)
    assert task.classes == ["2", "red", "yes"]
    assert [t for t, _ in task.train.texts] == ["What colour?", "How many?", "Is it?"]
    assert task.train.image_N.tolist() == [0, 0, 1]
    expected = [[0, 1, 0], [1, 0, 0], [0, 0, 0.9]]
    assert np.allclose(task.train.targets.dense(), expected)
    assert np.allclose(task.tests["val2014"].targets.dense(), [[0.9, 0.3, 0]])


def test_vqa_bad_entries(vqa):
    path = vqa / "v2_mscoco_val2014_annotations.json"
    good = json.loads(path.read_text())
    few = json.loads(path.read_text())
    few["annotations"][0]["answers"].pop()
    path.write_text(json.dumps(few))
    with pytest.raises(DataError, match=r"val2014_annotations.json, annotations\[0\]: 9 answers"):
        load(vqa)
    good["annotations"][0]["question_id"] = 77
    path.write_text(json.dumps(good))
    with pytest.raises(DataError, match=r"questions\[0\]: question 9 has no entry"):
        load(vqa)
    path.write_text('{"annotations": [\n{"question_id": 9,,}]}')
    with pytest.raises(DataError, match=r"annotations.json, line 2: not valid JSON"):
        load(vqa)
    path.unlink()
    with pytest.raises(DataError, match=r"is missing. Get VQAv2's .* from visualqa.org"):
        load(vqa)


def test_vqa_vocabulary_of_train_alone(vqa):
    both = load(vqa)
    assert both.notes["answers of"] == "train_val" and both.notes["answer vocabulary"] == 3
    alone = load(vqa, answers="train")
    assert alone.classes == ["2", "red", "yes"] and alone.notes["answers of"] == "train"
    more = [(i, 4, "Where?", ["sky"] * 10) for i in range(9)]
    vqa_files(vqa, "val2014", more)
    both = load(vqa)
    assert both.classes == ["sky", "2", "red", "yes"]
    assert both.notes["answers given at least 9 times"] == 1
    assert "sky" not in load(vqa, answers="train").classes


@pytest.mark.parametrize("kind", ["annotations", "questions"])
def test_vqa_entries_that_occur_twice(vqa, kind):
    (path,) = vqa.glob(f"*val2014_{kind}.json")
    entries = json.loads(path.read_text())[kind]
    path.write_text(json.dumps({kind: entries * 2}))
    with pytest.raises(DataError, match=rf"val2014_{kind}\.json, {kind}\[1\]: question 9 .* twice"):
        load(vqa)


def test_vqa_annotations_of_another_image(vqa):
    (path,) = vqa.glob("*val2014_annotations.json")
    entries = json.loads(path.read_text())["annotations"]
    path.write_text(json.dumps({"annotations": [entries[0] | {"image_id": 5}]}))
    wanted = r"annotations\[0\]: question 9 is about image 5, in .*questions\[0\] about image 4"
    with pytest.raises(DataError, match=wanted):
        load(vqa)


def test_vqa_image_that_is_not_there(vqa):
    vqa_files(vqa, "val2014", [(9, 5, "How many?", ["2"] * 10)])
    with pytest.raises(DataError, match=r"questions\[0\]: .*COCO_val2014_000000000005' is not th"):
        load(vqa)


def test_vqa_without_questions(vqa):
    vqa_files(vqa, "val2014", [])
    with pytest.raises(DataError, match=r"val2014_questions.json has no examples"):
        load(vqa)
