"""Readers on the real files: counts, labels and texts as the sets' publishers state them."""

from __future__ import annotations

import numpy as np
import pytest

from flava.evaluate.datasets import load_task
from flava.evaluate.formats import glue_tsv, prompts
from tests.evaluate.fakes import data_config, task_config

GLUE = {
    "cola": ("CoLA", 6242, 761),
    "sst2": ("SST-2", 12000, 637),
    "mrpc": ("MRPC", 2677, 298),
    "rte": ("RTE", 1818, 202),
    "stsb": ("STS-B", 4197, 1095),
    "qnli": ("QNLI", 3002, 977),
    "mnli": ("MNLI", 245, 105),
    "qqp": ("QQP", 164, 70),
}


def load(name, family, adapter, path, **changes):
    changes.setdefault("stand_in", "a part of the set")
    return load_task(name, task_config(family), data_config(adapter, path, **changes))


@pytest.mark.parametrize("name", GLUE)
def test_all_eight_glue_tasks(real_data, name):
    folder, n_train, n_dev = GLUE[name]
    task = load(name, "glue", "glue_tsv", "$FLAVA_DATA/glue/" + folder)
    (dev,) = task.tests.values()
    assert (len(task.train), len(dev)) == (n_train, n_dev)
    pairs = {b is not None for _, b in dev.texts}
    assert pairs == {len(glue_tsv.LAYOUTS[name].texts) == 2}
    if name == "stsb":
        assert task.classes == [] and 0 <= dev.targets.min() < dev.targets.max() <= 1
    else:
        assert set(dev.targets) == set(range(len(task.classes)))


def test_glue_texts_keep_quotes_and_lose_the_byte_order_mark(real_data):
    task = load("mrpc", "glue", "glue_tsv", "$FLAVA_DATA/glue/MRPC")
    first = task.train.texts[0]
    assert first[0].startswith('Amrozi accused his brother , whom he called "')
    assert first[1].startswith("Referring to him")
    assert task.train.targets[0] == 1
    mnli = load("mnli", "glue", "glue_tsv", "$FLAVA_DATA/glue/MNLI")
    assert mnli.train.texts[0][1] == "The rest of the family lives out of state."
    assert mnli.classes[mnli.train.targets[0]] == "neutral"
    assert mnli.notes == {"scored split": "dev_mismatched is absent from the stand-in"}


def test_mnist(real_data):
    task = load("mnist", "linear_probe", "mnist_idx", "$FLAVA_DATA/mnist", test_limit=100)
    assert (len(task.train), len(task.tests["test"])) == (6000, 100)
    pixels = task.train.images.pixels(np.arange(3), 32)
    assert pixels.shape == (3, 32, 32, 3) and pixels.max() > 200
    assert (pixels[..., 0] == pixels[..., 2]).all()


@pytest.mark.parametrize(
    ("folder", "n_train", "n_test", "classes"),
    [
        ("cifar10", 3000, 1000, 10),
        ("caltech101", 714, 408, 102),
        ("tiny_imagenet32", 2044, 1008, 28),
    ],
)
def test_image_folders(real_data, folder, n_train, n_test, classes):
    path = f"$FLAVA_DATA/{folder}/images.zip"
    task = load(folder, "linear_probe", "image_folder", path)
    test = task.tests["test"]
    assert (len(task.train), len(test), len(task.classes)) == (n_train, n_test, classes)
    assert task.validation is None
    name = test.images.names[5]
    assert task.classes[test.targets[5]] == name.split("/")[-2]
    assert test.images.pixels(np.array([5]), 24).shape == (1, 24, 24, 3)


def test_both_flickr8k_layouts_agree(real_data):
    karpathy = load("flickr30k", "retrieval", "karpathy", "$FLAVA_DATA/flickr8k")
    tokens = load("flickr30k", "retrieval", "flickr8k_tokens", "$FLAVA_DATA/flickr8k")
    for task in (karpathy, tokens):
        assert len(task.images) == 700 and len(task.captions) == 3500
        assert (np.bincount(task.image_M) == 5).all()
    by_image = [
        {name: sorted(c.strip() for c, i in zip(t.captions, t.image_M, strict=True) if i == k)
         for k, name in enumerate(t.images.names[:20])}
        for t in (karpathy, tokens)
    ]  # fmt: skip
    shared = set(by_image[0]) & set(by_image[1])
    assert all(by_image[0][name] == by_image[1][name] for name in shared)
    limited = load("flickr30k", "retrieval", "karpathy", "$FLAVA_DATA/flickr8k", test_limit=30)
    assert len(limited.images) == 30 and set(limited.images.names) <= set(karpathy.images.names)


def test_snli_ve(real_data):
    task = load(
        "snli_ve", "multimodal", "snli_ve", "$FLAVA_DATA/snli_ve_f8k",
        images="$FLAVA_DATA/flickr8k/Images.zip",
    )  # fmt: skip
    assert (len(task.train), len(task.validation), len(task.tests["test"])) == (399, 64, 218)
    assert task.train.texts[0] == ("the man is skiing", None)
    assert task.classes[task.train.targets[0]] == "contradiction"
    assert task.train.images.names[0].endswith("110595925_f3395c8bd6.jpg")
    assert len(task.train.images) < len(task.train)


def test_easy_vqa(real_data):
    task = load("easy_vqa", "multimodal", "easy_vqa", "$FLAVA_DATA/easy_vqa", train_limit=500)
    assert (len(task.train), len(task.tests["test"]), len(task.classes)) == (500, 2825, 13)
    assert (task.tests["test"].targets.scores_NK == 1).all()
    assert len(task.tests["test"].images) == 300


def test_daquar(real_data):
    task = load("vqav2", "multimodal", "daquar_csv", "$FLAVA_DATA/daquar")
    assert (len(task.train), len(task.tests["eval"]), len(task.classes)) == (4931, 4149, 582)
    for split in (task.train, task.tests["eval"]):
        assert np.allclose(split.targets.scores_NK.sum(axis=1), 1)
    answer = task.classes[task.train.targets.ids_NK[0, 0]]
    assert (task.train.texts[0][0][:24], answer) == (
        "what is on the right sid",
        "plastic_cup_of_coffee",
    )


def test_nlvr_statements_and_counts(real_data):
    said = load("hateful_memes", "multimodal", "nlvr", "$FLAVA_DATA/nlvr")
    assert (len(said.train), len(said.tests["dev"])) == (727 + 725, 711)
    assert said.notes == {"trained on": "test and hidden"}
    assert np.bincount(said.tests["dev"].targets).tolist() == [324, 387]
    counted = load("clevr", "linear_probe", "nlvr_counts", "$FLAVA_DATA/nlvr")
    assert np.bincount(counted.tests["dev"].targets).tolist() == [62, 92, 106, 118, 95, 53, 53, 132]
    assert counted.train.images.pixels(np.arange(2), 32).shape == (2, 32, 32, 3)


def test_the_dev_photos_of_flickr8k_are_other_photos(real_data):
    test, dev = (
        load("coco", "retrieval", "karpathy", "$FLAVA_DATA/flickr8k", split=split)
        for split in (None, "val")
    )
    assert len(dev.images) == 700 and not set(dev.images.names) & set(test.images.names)


def test_imagenet_zero_shot_over_all_names(real_data):
    task = load(
        "imagenet_zero_shot", "zero_shot", "zero_shot", "$FLAVA_DATA/imagenet_samples/images.zip",
        prompts="$FLAVA_DATA/vocab",
    )  # fmt: skip
    assert (len(task.test), len(task.classes), len(task.templates)) == (730, 1000, 80)
    assert len(set(task.test.targets)) == 730
    label_of = dict(zip(task.test.images.names, task.test.targets, strict=True))
    assert task.classes[label_of["images/n01494475_hammerhead.jpg"]] == "hammerhead shark"
    assert task.classes[label_of["images/n15075141_toilet_tissue.jpg"]] == "toilet paper"


def test_a_subset_of_imagenet_s_folders_keeps_its_names(real_data):
    task = load(
        "imagenet_zero_shot", "zero_shot", "image_folder",
        "$FLAVA_DATA/tiny_imagenet32/images.zip", prompts="$FLAVA_DATA/vocab",
    )  # fmt: skip
    assert len(task.test) == 1008
    assert task.classes[task.test.targets[0]] == "centipede"


def test_wnids_are_imagenets(real_data):
    wnids = prompts.imagenet_wnids()
    assert len(set(wnids)) == 1000 and wnids == sorted(wnids)
    assert set((real_data / "tiny_imagenet32" / "wnids.txt").read_text().split()) <= set(wnids)
