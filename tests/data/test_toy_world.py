"""The toy world: equal bytes from equal seeds, official formats, labels that are true."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest

from flava.config import SourceConfig, TaskConfig, TaskData, ToyWorldConfig
from flava.data.sources import read_images, read_pairs, read_texts
from flava.data.toy import vocabulary as v
from flava.data.toy.generate import generate
from flava.data.toy.glue_tasks import GLUE_TASKS
from flava.data.toy.vision_tasks import VISION_TASKS
from flava.data.toy.write_vision import LAYOUTS
from flava.evaluate.datasets import load_task
from flava.evaluate.taskdata import LabelledTask, RetrievalTask, SoftLabels, ZeroShotTask
from flava.io import read_json, sha256_file
from flava.jobs import ToyWorldJob
from flava.studies import load_tasks
from tests.toy_study import toy_data

SMOKE = ToyWorldConfig(seed=3, pairs=60, images=30, sentences=200, task_train=40, task_test=20)
GLUE_NAMES = {"CoLA": "cola", "SST-2": "sst2", "MRPC": "mrpc", "QQP": "qqp", "STS-B": "stsb",
              "MNLI": "mnli", "QNLI": "qnli", "RTE": "rte"}  # fmt: skip


def make(folder: Path, config: ToyWorldConfig, threads: int = 1) -> Path:
    generate(ToyWorldJob(study="test", toy_world=config, output=str(folder / "raw")), threads)
    return folder / "raw"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small toy world; each test only reads it."""
    return make(tmp_path_factory.mktemp("toy"), SMOKE)


@pytest.fixture(scope="module")
def tasks(root: Path) -> dict[str, TaskConfig]:
    return load_tasks(root / "params" / "tasks.yaml")


def source(adapter: str, path: Path) -> SourceConfig:
    return SourceConfig(adapter=adapter, path=str(path), name="toy", licence="-", version="1")


def stand_in(adapter: str, path: Path, **keys: str) -> TaskData:
    return TaskData(adapter=adapter, path=str(path), stand_in="toy", **keys)


def labelled(world: Path, tasks: dict[str, TaskConfig], name: str) -> LabelledTask:
    task = load_task(name, tasks[name], toy_data(name, world))
    assert isinstance(task, LabelledTask)
    return task


# Files without pictures or drawn labels: names of classes, numbers of pictures, prompts.
NAMES_ALONE = (
    "classnames.json", "templates.json", "variants.txt", "cars_meta.mat", "batches.meta.txt",
    "fine_label_names.txt", "setid.mat", "class_names.txt", "ClassName.txt", "classInd.txt",
)  # fmt: skip


def test_same_seed_gives_the_same_bytes_and_another_seed_others(world: Path, tmp_path: Path):
    again = read_json(make(tmp_path / "a", SMOKE, threads=2) / "manifest.json")
    other = make(tmp_path / "b", SMOKE.model_copy(update={"seed": 4}))
    first = read_json(world / "manifest.json")
    assert again == first
    changed = read_json(other / "manifest.json")["files"]
    same = [
        name for name in first["files"] if changed[name]["sha256"] == first["files"][name]["sha256"]
    ]
    assert all(name.endswith(NAMES_ALONE) for name in same), same


def test_manifest_lists_every_file_with_its_hash(world: Path):
    manifest = read_json(world / "manifest.json")
    files = {p.relative_to(world).as_posix() for p in world.rglob("*") if p.is_file()}
    assert files - {"manifest.json"} == set(manifest["files"])
    for name in ("pairs/dataset_toy.json", "tasks/CoLA/dev.tsv", "images/images.zip"):
        assert manifest["files"][name]["sha256"] == sha256_file(world / name)
    assert manifest["counts"]["pairs"]["images"] == SMOKE.pairs


def test_corpora_are_read_by_the_real_adapters(world: Path):
    pairs = list(read_pairs(source("karpathy", world / "pairs")))
    assert len(pairs) == SMOKE.pairs
    assert all(1 <= len(pair.captions) <= 2 and all(pair.captions) for pair in pairs)
    images = list(read_images(source("image_folder", world / "images" / "images.zip")))
    assert len(images) == SMOKE.images
    for name in ("news", "books"):
        documents = list(read_texts(source("text_lines", world / "texts" / f"{name}.txt")))
        assert sum(document.count(" .") for document in documents) >= 80
        assert all(document.endswith((" .", " ?")) for document in documents)


@pytest.mark.parametrize("name", [*VISION_TASKS, "sst"])
def test_vision_tasks_have_every_class_in_all_parts(
    world: Path, tasks: dict[str, TaskConfig], name: str
):
    task = labelled(world, tasks, name)
    held = [] if task.validation is None else [(task.validation, 1)]
    assert bool(held) == (name in LAYOUTS and LAYOUTS[name].validation)
    for split, least in ((task.train, 4 - len(held)), (task.tests["test"], 1), *held):
        counts = np.bincount(split.targets, minlength=len(task.classes))
        assert counts.min() >= least
        assert counts.max() - counts.min() <= 1
    assert task.train.images.pixels(np.arange(2), 32).shape == (2, 32, 32, 3)


def test_mnist_is_in_idx_files(world: Path, tasks: dict[str, TaskConfig]):
    task = labelled(world, tasks, "mnist")
    assert set(task.train.targets.tolist()) == set(range(10))
    assert len(task.tests["test"].targets) == SMOKE.task_test


@pytest.mark.parametrize("name", list(GLUE_TASKS))
def test_glue_tasks_are_balanced(world: Path, tasks: dict[str, TaskConfig], name: str):
    task = labelled(world, tasks, GLUE_NAMES[name])
    assert len(task.train.targets) == SMOKE.task_train
    for split in (task.train, *task.tests.values()):
        if name == "STS-B":
            assert 0 <= split.targets.min() < 0.2 < 0.8 < split.targets.max() <= 1
        else:
            counts = np.bincount(split.targets, minlength=len(task.classes))
            assert counts.max() - counts.min() <= 1


@pytest.mark.parametrize("name", ["snli_ve", "vqav2", "hateful_memes"])
def test_multimodal_tasks_are_read(world: Path, tasks: dict[str, TaskConfig], name: str):
    task = labelled(world, tasks, name)
    for split in (task.train, *task.tests.values()):
        count = len(split.texts or [])
        assert count >= 20
        if isinstance(split.targets, SoftLabels):
            assert (split.targets.scores_NK.max(axis=1) > 0.5).mean() > 0.3
        else:
            counts = np.bincount(split.targets, minlength=len(task.classes))
            assert counts.max() - counts.min() <= 0.2 * count


@pytest.mark.parametrize("name", ["flickr30k", "coco"])
def test_retrieval_has_five_captions_an_image(world: Path, tasks: dict[str, TaskConfig], name: str):
    task = load_task(name, tasks[name], stand_in("karpathy", world / "tasks" / name))
    assert isinstance(task, RetrievalTask)
    assert len(task.captions) == 5 * SMOKE.task_test // 2
    assert len(task.images) == SMOKE.task_test // 2


def test_zero_shot_names_are_in_the_order_of_the_folders(world: Path, tasks: dict[str, TaskConfig]):
    folder = world / "tasks" / "imagenet"
    data = stand_in("image_folder", folder / "images.zip", prompts=str(folder))
    task = load_task("imagenet_zero_shot", tasks["imagenet_zero_shot"], data)
    assert isinstance(task, ZeroShotTask)
    with zipfile.ZipFile(folder / "images.zip") as archive:
        folders = sorted({name.split("/")[1] for name in archive.namelist()})
    assert [name.replace(" ", "_") for name in read_json(folder / "classnames.json")] == folders


def test_either_half_of_a_meme_alone_is_at_chance(world: Path):
    for part in ("train", "dev_unseen", "test_unseen"):
        lines = (world / "tasks" / "hateful_memes" / f"{part}.jsonl").read_text().splitlines()
        rows = [json.loads(line) for line in lines]
        labels: dict[str, Counter[int]] = defaultdict(Counter)
        for row in rows:
            labels[row["text"]][row["label"]] += 1
        # A text that fits both pictures by accident is the only exception.
        assert sum(count[0] == count[1] for count in labels.values()) >= 0.8 * len(labels)
        assert {row["label"] for row in rows} == {0, 1}


def test_every_question_has_as_many_pictures_of_one_answer_as_of_the_other(world: Path):
    for split in ("train2014", "val2014"):
        folder = world / "tasks" / "vqav2"
        asked = read_json(folder / f"v2_OpenEnded_mscoco_{split}_questions.json")["questions"]
        told = read_json(folder / f"v2_mscoco_{split}_annotations.json")["annotations"]
        pairs = defaultdict(list)
        for question, annotation in zip(asked, told, strict=True):
            assert question["question_id"] == annotation["question_id"]
            image, number = divmod(question["question_id"], 1000)
            answer = annotation["multiple_choice_answer"]
            pairs[(image - 1) // 2, number].append((question["question"], answer))
        assert len(pairs) == len(asked) // 2
        for first, second in pairs.values():
            assert first[0] == second[0] and first[1] != second[1]


def test_every_picture_has_one_statement_of_each_label(world: Path):
    for part in ("train", "dev", "test"):
        lines = (world / "tasks" / "snli_ve" / f"snli_ve_{part}.jsonl").read_text().splitlines()
        labels = defaultdict(list)
        for row in map(json.loads, lines):
            labels[row["Flickr30K_ID"]].append(row["gold_label"])
        assert labels
        for found in labels.values():
            assert sorted(found) == ["contradiction", "entailment", "neutral"]


def test_captions_say_what_the_tasks_probe(tmp_path: Path):
    config = SMOKE.model_copy(update={"pairs": 1500})
    text = " ".join(
        caption.lower()
        for pair in read_pairs(source("karpathy", make(tmp_path, config) / "pairs"))
        for caption in pair.captions
    )
    words = Counter(text.split())
    nouns = [name for noun in v.NOUNS for name in noun.singular[0].split()]
    colours = [names[0] for names in v.COLOUR_NAMES]
    asked = [*nouns, *colours, *v.TEXTURES, *v.SIGN_WORDS, "two", "three", "left", "above"]
    assert not [word for word in asked if words[word] < 3]


def test_other_image_sizes_work(tmp_path: Path):
    config = ToyWorldConfig(
        image_size=64, pairs=3, images=3, sentences=6, task_train=2, task_test=2
    )
    out = make(tmp_path, config)
    pair = next(read_pairs(source("karpathy", out / "pairs")))
    from flava.data.transforms import decode_image

    assert decode_image(pair.image_bytes).size == (64, 64)


def test_a_misspelt_key_is_one_paragraph_and_nothing_is_written(tmp_path: Path, root: Path):
    path = tmp_path / "toy_world.json"
    job = {"study": "t", "toy_world": {"seed": 0, "imagesize": 32}, "output": str(tmp_path / "raw")}
    path.write_text(json.dumps(job))
    done = subprocess.run(
        [sys.executable, "-m", "flava.data.toy", "--config", str(path)],
        cwd=root, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "imagesize" in done.stderr and "image_size" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "raw").exists()
