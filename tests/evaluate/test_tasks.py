"""tasks.yaml against the paper's table and protocol; every toy stand-in is readable."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest

from flava.config import CARD, TaskConfig, TaskData, ToyWorldConfig
from flava.errors import ConfigError, DataError
from flava.evaluate.datasets import load_task
from flava.evaluate.formats.glue_tsv import LAYOUTS
from flava.evaluate.metrics import METRICS
from flava.evaluate.retrieval import parse_row
from flava.evaluate.taskdata import LabelledTask, RetrievalTask, ZeroShotTask
from flava.studies import load_study, load_tasks
from tests.toy_study import toy_data

AUXILIARY = {"imagenet_zero_shot", "easy_vqa"}


@pytest.fixture(scope="module")
def tasks(root) -> dict[str, TaskConfig]:
    return load_tasks(root / "params" / "tasks.yaml")


def test_35_tasks_fill_the_41_rows_of_table_c1_once(tasks, root):
    with open(root / "params" / "paper" / "table_c1.csv", newline="") as file:
        published = {r["row"]: r for r in csv.DictReader(file) if r["domain"] != "average"}
    assert len(published) == 41 and len(tasks) == 37
    table = (task for name, task in tasks.items() if name not in AUXILIARY)
    rows = [(row, task) for task in table for row in task.rows]
    assert sorted(row for row, _ in rows) == sorted(published)
    families = {"linear eval": {"linear_probe"}, "zero-shot": {"retrieval"},
                "fine-tuning": {"glue", "multimodal"}}  # fmt: skip
    for row, task in rows:
        assert task.domain == published[row]["domain"]
        assert task.family in families[published[row]["eval"]]
    assert all(not set(tasks[name].rows) & set(published) for name in AUXILIARY)


def test_hyper_parameters_are_the_published_ones(tasks):
    glue = {
        "mnli": (1e-5, 32, 123873, 7432), "qnli": (1e-5, 32, 33112, 1986),
        "qqp": (1e-5, 32, 113272, 28318), "sst2": (1e-5, 32, 20935, 1256),
        "cola": (1e-5, 16, 5336, 320), "mrpc": (1e-5, 16, 2296, 137),
        "rte": (2e-5, 16, 2036, 122), "stsb": (2e-5, 16, 3598, 214),
    }  # fmt: skip
    assert set(glue) == set(LAYOUTS) == {n for n, t in tasks.items() if t.family == "glue"}
    for name, expected in glue.items():
        f = tasks[name].finetune
        assert (f.learning_rate, f.batch_size, f.updates, f.warmup_updates) == expected
        assert (f.weight_decay, f.beta2, f.eps, f.dropout) == (0.1, 0.98, 1e-6, 0.1)
        assert f.encoder_dropout == 0.1
        assert f.schedule == "polynomial" and f.head_hidden is None
    multimodal = {"vqav2": (1e-4, 44000, 480), "snli_ve": (1e-5, 24000, None),
                  "hateful_memes": (1e-5, 24000, None)}  # fmt: skip
    for name, expected in multimodal.items():
        f = tasks[name].finetune
        assert (f.learning_rate, f.updates, f.image_size) == expected
        assert (f.batch_size, f.weight_decay, f.warmup_updates) == (256, 1e-2, 2000)
        assert f.schedule == "cosine" and f.head_hidden == 1536
    for name, task in tasks.items():
        if task.family == "linear_probe":
            assert (task.probe.lambda_min, task.probe.lambda_max) == (1e-6, 1e6), name
            assert (task.probe.steps, task.probe.max_iterations) == (96, 1000), name


def test_metrics_are_those_of_the_paper(tasks):
    special = {
        "cola": "matthews", "stsb": "pearson", "mrpc": "accuracy_f1", "qqp": "accuracy_f1",
        "hateful_memes": "auroc", "vqav2": "vqa_score", "easy_vqa": "vqa_score",
        "flickr30k": "recall", "coco": "recall",
        **dict.fromkeys(("aircraft", "pets", "caltech101", "flowers"), "mean_per_class"),
    }  # fmt: skip
    for name, task in tasks.items():
        assert task.metric == special.get(name, "accuracy")
        if task.family == "retrieval":
            assert [parse_row(row) for row in task.rows] == [
                ("TR", 1), ("TR", 5), ("IR", 1), ("IR", 5)
            ]  # fmt: skip
        else:
            assert len(task.rows) == 1 and task.metric in METRICS


def test_every_row_has_a_whole_card(tasks):
    """Splits, counts, chance and the toy stand-in; Table C.1's number where there are two."""
    for name, task in tasks.items():
        assert task.splits and task.counts and task.chance and task.toy, name
        assert bool(task.printed) == (name in ("mnli", "mrpc", "qqp", "stsb")), name
        for file, checksum in task.checksums.items():
            assert re.fullmatch("md5:[0-9a-f]{32}|sha256:[0-9a-f]{64}", checksum), (name, file)


# Sizes of CLIP's Table 9 that the card's counts do not add up to, each with the number.
OTHER_THAN_CLIP = {
    "ucf101": (9537, 1794), "fer2013": (32140, 3574), "caltech101": (3060, 6085),
}  # fmt: skip


def test_counts_of_the_vision_sets_are_those_of_clip_s_table_9(tasks):
    """Training pictures are train and validation; differences are said on the card."""
    table = {
        "imagenet": (1281167, 50000), "food101": (75750, 25250), "cifar10": (50000, 10000),
        "cifar100": (50000, 10000), "cars": (8144, 8041), "aircraft": (6667, 3333),
        "dtd": (3760, 1880), "pets": (3680, 3669),
        "flowers": (2040, 6149), "stl10": (1000, 8000), "eurosat": (10000, 5000),
        "gtsrb": (26640, 12630), "kitti": (6770, 711),
        "pcam": (294912, 32768), "clevr": (2000, 500), "sun397": (19850, 19850),
        "sst": (7792, 1821), "country211": (42200, 21100), "mnist": (60000, 10000),
        **OTHER_THAN_CLIP,
    }  # fmt: skip
    assert set(table) == {n for n, t in tasks.items() if t.family == "linear_probe"}
    for name, sizes in table.items():
        counts = tasks[name].counts
        found = (counts["train"] + counts.get("validation", 0), counts["test"])
        if name == "stl10":  # its ten folds of 1,000 overlap, and a probe is trained on one
            assert found == (5000, 8000) and counts["folds"] == 10
            continue
        assert (found == sizes) == (name not in OTHER_THAN_CLIP), name
        if name in OTHER_THAN_CLIP:
            assert f"{sizes[1]:,}" in tasks[name].splits


def test_the_toy_study_has_every_row(tasks, root):
    config = load_study(root / "params", "toy").config
    wanted = set(tasks) - {"easy_vqa"}
    assert set(config.tasks) == wanted
    assert sorted(name for job in config.evaluate_jobs.values() for name in job) == sorted(wanted)


@pytest.mark.parametrize("labelled", [False, True], ids=["real", "stand-in"])
def test_a_set_of_another_size_is_refused_unless_it_is_called_a_stand_in(tasks, toy, labelled):
    data = toy_data("sst2", toy).model_copy(update={"stand_in": "toy" if labelled else None})
    if labelled:
        assert len(load_task("sst2", tasks["sst2"], data).train) == 60
        return
    with pytest.raises(DataError, match=r"not the official SST-2 \(train: 60 found, 67349 expec"):
        load_task("sst2", tasks["sst2"], data)


def test_every_refusal_of_a_real_set_says_where_it_comes_from(tasks, tmp_path):
    data = TaskData(adapter="image_folder", path=str(tmp_path))
    with pytest.raises(DataError, match=r"no picture files .* comes from .*country211"):
        load_task("country211", tasks["country211"], data)
    with pytest.raises(DataError) as found:
        load_task("country211", tasks["country211"], data.model_copy(update={"stand_in": "mine"}))
    assert "comes from" not in str(found.value)


def test_the_text_of_a_card_is_no_part_of_a_jobs_configuration(tasks):
    dumped = tasks["mrpc"].model_dump()
    assert {"splits", "chance", "toy", "printed", "checksums", *CARD}.isdisjoint(dumped)
    assert TaskConfig.model_validate(dumped).counts == {"train": 3668, "dev": 408}


def test_a_job_that_lacks_the_words_says_where_they_are(tasks, tmp_path):
    plain = TaskConfig.model_validate(tasks["country211"].model_dump())
    data = TaskData(adapter="image_folder", path=str(tmp_path))
    where = "the place that `obtain` of 'country211' in tasks.yaml names"
    with pytest.raises(DataError, match=rf"no picture files .* The set comes from {where}\."):
        load_task("country211", plain, data)
    lost = data.model_copy(update={"path": str(tmp_path / "lost")})
    with pytest.raises(DataError, match=rf"the data of country211\. Get it from {where}, bring"):
        load_task("country211", plain, lost)


@pytest.mark.parametrize("key", CARD)
def test_a_task_must_say_what_it_is(root, tmp_path, key):
    text = (root / "params" / "tasks.yaml").read_text()
    path = tmp_path / "tasks.yaml"
    path.write_text(re.sub(rf"^  {key}: .*\n", "", text, count=1, flags=re.MULTILINE))
    with pytest.raises(ConfigError, match=rf"tasks.yaml: mnli: no {key}\."):
        load_tasks(path)


@pytest.fixture(scope="module")
def toy(tmp_path_factory) -> Path:
    from flava.data.toy.generate import generate
    from flava.jobs import ToyWorldJob

    root = tmp_path_factory.mktemp("toy")
    world = ToyWorldConfig(pairs=20, images=10, sentences=20, task_train=60, task_test=60)
    generate(ToyWorldJob(study="toy", toy_world=world, output=str(root)))
    return root


def test_the_toy_study_names_each_stand_in_as_its_card_does(tasks, root):
    for study in ("toy", "smoke"):
        for name, data in load_study(root / "params", study).config.tasks.items():
            if tasks[name].toy:
                assert data.stand_in == f"toy: {tasks[name].toy}", (study, name)


def test_every_task_reads_its_toy_stand_in(tasks, toy):
    for name in sorted(set(tasks) - {"easy_vqa"}):
        data = load_task(name, tasks[name], toy_data(name, toy))
        match data:
            case LabelledTask():
                assert len(data.train) > 40, name
                assert all(len(split) > 20 for split in data.tests.values()), name
                assert len(data.classes) > 1 or name == "stsb"
            case RetrievalTask():
                assert len(data.captions) == 5 * len(data.images)
            case ZeroShotTask():
                assert len(data.classes) == len(set(data.classes)) > 1
