"""Readers on small files written here: formats that have no real copy, and every bad input."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from flava.errors import ConfigError, DataError
from flava.evaluate.datasets import load_task
from flava.evaluate.formats import hateful_memes
from flava.evaluate.scores import score_predictions
from flava.studies import load_tasks
from tests.evaluate.fakes import (
    context,
    data_config,
    load,
    noise_png,
    write,
    write_json_lines,
    write_zip,
)

# --- Hateful Memes and SNLI-VE


@pytest.fixture
def memes(tmp_path):
    images = {f"img/{i:05d}.png": noise_png(i) for i in range(6)}
    write_zip(tmp_path / "images.zip", images)
    for split, ids in (
        ("train", (0, 1, 2)),
        ("dev_unseen", (3,)),
        ("test_unseen", (5, 4)),
    ):
        write_json_lines(tmp_path / f"{split}.jsonl", [
            {"id": i, "img": f"img/{i:05d}.png", "label": i % 2, "text": f"text {i}"} for i in ids
        ])  # fmt: skip
    return tmp_path


def test_hateful_memes(memes):
    task = load("hateful_memes", "multimodal", "hateful_memes", memes)
    assert task.train.targets.tolist() == [0, 1, 0]
    assert task.notes == {"scored file": "test_unseen.jsonl"}
    assert task.tests["test"].texts == [("text 5", None), ("text 4", None)]
    assert len(task.validation) == 1


def test_memes_of_one_picture_are_drawn_together_whatever_its_files_are_called(memes):
    """Their scores stay; their standard error is that of so many pictures, not of so many files."""
    quads = [(f"img/{i:05d}.png", noise_png(i // 2)) for i in range(80)]
    write_zip(memes / "images.zip", dict(quads))
    rows = [{"img": name, "label": i // 4 % 2, "text": "x"} for i, (name, _) in enumerate(quads)]
    for name in ("train", "dev_unseen", "test_unseen"):
        write_json_lines(memes / f"{name}.jsonl", rows)
    task = load("hateful_memes", "multimodal", "hateful_memes", memes)
    test = task.tests["test"]
    assert test.image_N.tolist() == list(range(80))
    assert test.picture_N.tolist() == [i - i % 2 for i in range(80)]
    assert task.train.picture_N is None and task.validation.picture_N is None
    few = test.take(np.array([0, 5, 4]))
    assert few.picture_N.tolist() == [0, 4, 4]

    right = np.arange(80) // 2 % 2 == 0
    predicted = {"test": [np.where(right, test.targets, 1 - test.targets)]}
    scores = [
        score_predictions(
            context("multimodal", resamples=1000), predicted, {"test": each}, n_train=0, details={}
        )
        for each in (test, replace(test, picture_N=None))
    ]
    assert scores[0].value == scores[1].value == 50
    assert scores[0].std_error == pytest.approx(scores[1].std_error * 2**0.5, rel=0.1)


RELEASES = {
    None: ("dev_unseen", "test_unseen", 540, 2000),
    "unseen": ("dev_unseen", "test_unseen", 540, 2000),
    "seen": ("dev_seen", "test_seen", 500, 1000),
    "original": ("dev", "test", 500, 1000),
}


def every_release(memes):
    """All files of both phases, with the official numbers of lines."""
    lines = {"train": 8500}
    for dev, test, n_dev, n_test in RELEASES.values():
        lines |= {dev: n_dev, test: n_test}
    for name, count in lines.items():
        row = f'{{"img": "img/00003.png", "label": 1, "text": "{name}"}}\n'
        write(memes / f"{name}.jsonl", row * count)


@pytest.mark.parametrize("split", list(RELEASES))
def test_each_release_of_hateful_memes_has_its_name_and_its_counts(memes, root, split):
    every_release(memes)
    card = load_tasks(root / "params" / "tasks.yaml")["hateful_memes"]
    assert set(card.split_counts) == set(hateful_memes.FILES)
    task = load_task("hateful_memes", card, data_config("hateful_memes", memes, split=split))
    dev, test, n_dev, n_test = RELEASES[split]
    assert task.counts == {"train": 8500, "validation": n_dev, "test": n_test}
    assert task.notes == {"scored file": f"{test}.jsonl"}
    assert {text for text, _ in task.validation.texts} == {dev}
    write(memes / f"{test}.jsonl", (memes / f"{test}.jsonl").read_text() * 2)
    with pytest.raises(DataError, match=f"test: {2 * n_test} found, {n_test} expected"):
        load_task("hateful_memes", card, data_config("hateful_memes", memes, split=split))


def test_an_unknown_release_of_hateful_memes(memes):
    with pytest.raises(ConfigError, match=r"unknown split 'sen'\. Did you mean 'seen'"):
        load("hateful_memes", "multimodal", "hateful_memes", memes, split="sen")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ('{"img": "img/00001.png", "label": 2, "text": "x"}', "line 2: label 2 is out of range"),
        (
            '{"img": "img/00001.png", "label": "1", "text": "x"}',
            "line 2: key 'label' has the wrong",
        ),
        ('{"img": "img/00001.png", "text": "x"}', "line 2: key 'label' is missing"),
        (
            '{"img": "img/99.png", "label": 1, "text": "x"}',
            "line 2: .*image 'img/99.png' is not th",
        ),
        ('{"img": ', "line 2: not valid JSON"),
        ("[1]", "line 2: expected a JSON object"),
    ],
)
def test_bad_meme_lines(memes, row, message):
    path = memes / "train.jsonl"
    path.write_text(path.read_text().split("\n")[0] + "\n" + row + "\n")
    with pytest.raises(DataError, match=message):
        load("hateful_memes", "multimodal", "hateful_memes", memes)


def test_missing_and_empty_meme_files(memes):
    (memes / "train.jsonl").write_text("\n")
    with pytest.raises(DataError, match=r"train.jsonl has no examples"):
        load("hateful_memes", "multimodal", "hateful_memes", memes)
    (memes / "dev_unseen.jsonl").rename(memes / "dev.jsonl")
    with pytest.raises(DataError, match=r"has no dev_unseen.jsonl. Get the set from ai.meta.com"):
        load("hateful_memes", "multimodal", "hateful_memes", memes)
    (memes / "test_unseen.jsonl").rename(memes / "test.jsonl")
    wanted = r"no dev_unseen.jsonl and no test_unseen.jsonl. It has the files of `split: original`"
    with pytest.raises(DataError, match=wanted):
        load("hateful_memes", "multimodal", "hateful_memes", memes)


@pytest.mark.parametrize("packed", [False, True], ids=["pictures", "images.zip"])
def test_images_of_another_set_lie_in_its_folder_or_in_its_archive(tmp_path, packed):
    """As Flickr30K's do: one layout serves both sets."""
    other = tmp_path / "flickr30k"
    if packed:
        write_zip(other / "images.zip", {"7.png": noise_png(0)})
    else:
        (other / "flickr30k-images").mkdir(parents=True)
        (other / "flickr30k-images" / "7.png").write_bytes(noise_png(0))
    row = {"gold_label": "neutral", "Flickr30K_ID": "7", "sentence2": "a dog"}
    for split in ("train", "dev", "test"):
        write_json_lines(tmp_path / f"snli_ve_{split}.jsonl", [row])
    task = load("snli_ve", "multimodal", "snli_ve", tmp_path, images=str(other))
    assert len(task.train.images.pixels(np.array([0]), 8)) == 1


def test_snli_ve_unknown_label(tmp_path):
    write_zip(tmp_path / "images.zip", {"7.png": noise_png(0)})
    row = {"Flickr30K_ID": "7", "sentence2": "a", "gold_label": "-"}
    for split in ("train", "dev", "test"):
        write_json_lines(tmp_path / f"snli_ve_{split}.jsonl", [row])
    with pytest.raises(DataError, match=r"snli_ve_train.jsonl, line 1: gold_label '-' is not"):
        load("snli_ve", "multimodal", "snli_ve", tmp_path)


# --- GLUE


def glue(folder, train, dev):
    for name, text in (("train", train), ("dev", dev)):
        write(folder / f"{name}.tsv", text)
    return folder


SST2 = "sentence\tlabel\nfine \t1\nbad \t0\n"


def test_glue_only_newline_ends_a_line(tmp_path):
    text = "sentence\tlabel\r\none\x85 two\u2028three\t1\r\nbad\t0\r\n"
    task = load("sst2", "glue", "glue_tsv", glue(tmp_path, text, SST2))
    assert task.train.texts[0] == ("one\x85 two\u2028three", None)
    assert task.train.targets.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("name", "train", "message"),
    [
        ("sst2", "sentence\tlabel\nfine\t1\nbad\n", "train.tsv, line 3: 1 columns, expected 2"),
        ("sst2", "sentence\tlabel\nfine\t2\n", "train.tsv, line 2: label '2' is not one of"),
        ("sst2", "sentence\tlabel\n", "train.tsv has no examples"),
        ("sst2", "text\tlabel\nfine\t1\n", "line 1: column 'sentence' is missing"),
        ("sst2", "", "line 1: column 'sentence' is missing"),
        ("sst2", "sentence\tlabel\nfine\t1\n \t0\n", "line 3: 'sentence' is empty. Download the"),
        ("cola", "gj04\t1\t\t\n", "train.tsv, line 1: 'sentence' is empty"),
        ("stsb", "sentence1\tsentence2\tscore\na\t\t5\n", "line 2: 'sentence2' is empty"),
        ("cola", "gj04\t1\t\n", "line 1: 3 columns, expected 4"),
        ("stsb", "sentence1\tsentence2\tscore\na\tb\t5.5\n", "line 2: score 5.5 is out of range"),
        ("stsb", "sentence1\tsentence2\tscore\na\tb\tnan\n", "line 2: score nan is out of range"),
        ("stsb", "sentence1\tsentence2\tscore\na\tb\thigh\n", "line 2: score 'high' is not a num"),
    ],
)
def test_bad_glue(tmp_path, name, train, message):
    with pytest.raises(DataError, match=message):
        load(name, "glue", "glue_tsv", glue(tmp_path, train, SST2))


def test_glue_not_utf8(tmp_path):
    glue(tmp_path, SST2, SST2)
    (tmp_path / "train.tsv").write_bytes(b"sentence\tlabel\n\xff\xfe\t1\n")
    with pytest.raises(DataError, match=r"train.tsv cannot be read .*not UTF-8"):
        load("sst2", "glue", "glue_tsv", tmp_path)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_only_a_newline_ends_a_line(tmp_path, end):
    """A lone carriage return stands in some sentences; no other reader of lines ends one there."""
    rows = ["sentence\tlabel", "one\rtwo\t1", "three\t0", ""]
    for name in ("train", "dev"):
        (tmp_path / f"{name}.tsv").write_bytes(end.join(rows).encode())
    task = load("sst2", "glue", "glue_tsv", tmp_path)
    assert [text for text, _ in task.train.texts] == ["one\rtwo", "three"]


def test_official_qqp_s_few_broken_lines_are_skipped_and_counted(tmp_path):
    good = [f"{i}\t1\t2\ta {i}\tb\t{i % 2}" for i in range(2000)]
    text = "\n".join(["id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate", *good, "7\t8\tbroken"])
    task = load("qqp", "glue", "glue_tsv", glue(tmp_path, text, text))
    assert len(task.train) == 2000
    assert task.notes == {"broken lines skipped": 2}
    few = "\n".join([*text.split("\n")[:9], "7\tbroken"])
    with pytest.raises(DataError, match=r"train.tsv, line 10: 2 columns, expected 6"):
        load("qqp", "glue", "glue_tsv", glue(tmp_path, few, text))


def test_official_qqp_s_empty_questions_are_kept(tmp_path):
    header = "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate"
    text = f"{header}\n310137\t1\t2\tHow can I develop an app?\t\t0\n"
    task = load("qqp", "glue", "glue_tsv", glue(tmp_path, text, text))
    assert task.train.texts == [("How can I develop an app?", "")]


def test_official_mnli_headers_of_12_and_16_columns(tmp_path):
    first = ["index", "promptID", "pairID", "genre", "b1", "b2", "p1", "p2"]
    first += ["sentence1", "sentence2", "label1"]
    last = ["gold_label"]
    train = [*first, *last]
    dev = [*first, "label2", "label3", "label4", "label5", *last]
    for name, header, row in (
        ("train", train, ["entailment"] * 2),
        ("dev_matched", dev, ["neutral"] * 5 + ["contradiction"]),
        ("dev_mismatched", train, ["neutral", "neutral"]),
    ):
        cells = [*"012", "fiction", *"xxxx", "He said .", "She said .", *row]
        write(tmp_path / f"{name}.tsv", "\t".join(header) + "\n" + "\t".join(cells) + "\n")
    task = load("mnli", "glue", "glue_tsv", tmp_path)
    named = {name: task.classes[split.targets[0]] for name, split in task.tests.items()}
    assert task.classes[task.train.targets[0]] == "entailment"
    assert named == {"dev_matched": "contradiction", "dev_mismatched": "neutral"}
    assert task.train.texts == [("He said .", "She said .")]


def test_official_mnli_needs_both_dev_files(tmp_path):
    train = "sentence1\tsentence2\tlabel1\tgold_label\na\tb\tneutral\tneutral\n"
    dev = "index\tsentence1\tsentence2\tlabel1\tlabel2\tgold_label\n0\ta\tb\tx\ty\tentailment\n"
    write(tmp_path / "train.tsv", train)
    write(tmp_path / "dev_matched.tsv", dev)
    with pytest.raises(DataError, match=r"dev_mismatched.tsv is missing"):
        load("mnli", "glue", "glue_tsv", tmp_path)
    write(tmp_path / "dev_mismatched.tsv", dev)
    task = load("mnli", "glue", "glue_tsv", tmp_path)
    assert list(task.tests) == ["dev_matched", "dev_mismatched"]
    assert task.notes == {}


# --- Registry


def test_missing_set_says_how_to_get_it(tmp_path):
    with pytest.raises(DataError, match=r"nowhere is missing: the data of Fake. Get it from exam"):
        load("pets", "linear_probe", "image_folder", tmp_path / "nowhere")


def test_unset_variable_and_unknown_adapters(tmp_path, monkeypatch):
    monkeypatch.delenv("FLAVA_DATA", raising=False)
    with pytest.raises(DataError, match="FLAVA_DATA, which is not set"):
        load("pets", "linear_probe", "image_folder", "$FLAVA_DATA/pets")
    with pytest.raises(ConfigError, match=r"tasks.pets: unknown adapter .* Did you mean 'image_f"):
        load("pets", "linear_probe", "image_folders", tmp_path)
    with pytest.raises(ConfigError, match="Allowed: glue_tsv"):
        load("rte", "glue", "karpathy", tmp_path)
    with pytest.raises(DataError, match="unknown GLUE task 'wnli'"):
        load("wnli", "glue", "glue_tsv", tmp_path)
