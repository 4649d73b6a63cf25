"""Baselines on a generated world: what they read and where they must land."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from flava.data.tokenizer import make_tokenizers
from flava.data.toy.generate import generate
from flava.errors import ConfigError, DataError
from flava.evaluate import baselines, run
from flava.evaluate.baselines import BagOfWords, pixels, regress, write_baselines
from flava.evaluate.datasets import load_task
from flava.evaluate.images import ArrayImages
from flava.evaluate.linear_probe import sweep
from flava.evaluate.taskdata import LabelledTask, SoftLabels, Split
from flava.io import read_json
from flava.jobs import ToyWorldJob
from flava.studies import Study, load_study
from tests.evaluate.fakes import FakeTokenizer, context
from workflow.plan import Plan


@pytest.fixture(scope="module")
def smoke(tmp_path_factory, root) -> tuple[Path, Study]:
    """A folder with the smoke study's parameters, generated world and tokenizers."""
    folder = tmp_path_factory.mktemp("smoke")
    shutil.copytree(root / "params", folder / "params")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        study = load_study(Path("params"), "smoke")
        world = study.config.data.toy_world
        generate(ToyWorldJob(study="smoke", toy_world=world, output="data/smoke/raw"))
        make_tokenizers(Plan(study).tokenizer_job())
    return folder, study


def test_every_kind_of_row_gets_its_baselines(smoke, monkeypatch):
    folder, study = smoke
    monkeypatch.chdir(folder)
    output = folder / "baselines.json"
    names = ["mnist", "cola", "stsb", "snli_ve", "flickr30k"]
    read = []
    for reader in (baselines, run):
        monkeypatch.setattr(reader, "load_task", lambda *a: read.append(a[0]) or load_task(*a))
    write_baselines(study, "flava_mm", 0, names, output)
    assert read == names  # each once
    found = read_json(output)
    scores = {row: kinds for task in found["tasks"].values() for row, kinds in task["rows"].items()}
    rows = {row: set(kinds) for row, kinds in scores.items()}
    assert rows["MNIST"] == {"random", "pixels"}
    assert rows["COLA"] == rows["STS-B"] == {"random", "words"}
    assert rows["SNLI-VE"] == {"random", "pixels", "words"}
    assert rows["Flickr30K TR R@1"] == {"random"}
    digits = scores["MNIST"]["pixels"]
    assert digits["value"] > digits["chance"] + 3 * digits["std_error"]
    assert found["record"]["step"] == "baselines"


def test_what_was_written_is_not_evaluated_again(smoke, monkeypatch, tmp_path):
    folder, study = smoke
    monkeypatch.chdir(folder)
    output, evaluated, real = tmp_path / "baselines.json", [], baselines.scores_of

    def scores_of(job, name, study, data):
        evaluated.append(name)
        if name == "cola" and len(evaluated) == 2:
            raise DataError("killed here.")
        yield from real(job, name, study, data)

    monkeypatch.setattr(baselines, "scores_of", scores_of)
    with pytest.raises(DataError, match="killed here"):
        write_baselines(study, "flava_mm", 0, ["mnist", "cola"], output)
    assert list(read_json(output)["tasks"]) == ["mnist"]
    write_baselines(study, "flava_mm", 0, ["mnist", "cola"], output)
    assert evaluated == ["mnist", "cola", "cola"]
    assert sorted(read_json(output)["tasks"]) == ["cola", "mnist"]
    for column, seed in (("flava_mm", 1), ("flava_c", 0)):  # a file is of one model
        before = output.read_bytes()
        held = r"column 'flava_mm' and seed 0, not of .* Delete it, or name another --output"
        with pytest.raises(DataError, match=held):
            write_baselines(study, column, seed, ["mnist"], output)
        assert output.read_bytes() == before and len(evaluated) == 3
    wider = study.run_config("flava_mm", 0)
    assert wider.flava is not None
    wider = wider.model_copy(update={"flava": wider.flava.model_copy(update={"image_size": 8})})
    monkeypatch.setattr(Study, "run_config", lambda *_: wider)
    monkeypatch.setattr(baselines, "scores_of", lambda *_: evaluated.append("again") or iter(()))
    write_baselines(study, "flava_mm", 0, ["mnist"], output)
    assert evaluated[-1] == "again"


def test_a_foreign_file_is_not_overwritten(smoke, monkeypatch, tmp_path):
    folder, study = smoke
    monkeypatch.chdir(folder)
    (tmp_path / "x.json").write_text('{"scores": []}')
    with pytest.raises(DataError, match=r"holds no baselines\. Delete it"):
        write_baselines(study, "flava_mm", 0, ["mnist"], tmp_path / "x.json")


def test_an_unknown_task_is_refused(smoke, monkeypatch, tmp_path):
    folder, study = smoke
    monkeypatch.chdir(folder)
    with pytest.raises(ConfigError, match="no task 'cifar1000'; it has"):
        write_baselines(study, "flava_mm", 0, ["cifar1000"], tmp_path / "x.json")


def test_an_error_names_the_task(smoke, monkeypatch, tmp_path):
    folder, study = smoke
    monkeypatch.chdir(folder)

    def broken(name, *_):
        raise DataError("no data.")

    monkeypatch.setattr(baselines, "load_task", broken)
    with pytest.raises(DataError, match=r"flava_mm-s0, task 'mnist': no data\."):
        write_baselines(study, "flava_mm", 0, ["mnist"], tmp_path / "x.json")


def split(texts, targets) -> Split:
    return Split(np.asarray(targets), texts=texts)


def test_a_bag_of_words_knows_which_words_both_texts_have():
    train = split([("red one", "red two"), ("red", "blue")], [0, 1])
    bag = BagOfWords.of(FakeTokenizer(), train)
    features = bag(split([("red", "red"), ("red", "blue")], [0, 1]))
    width = len(bag.kept)
    assert features.shape == (2, 3 * width)
    begin_and_end = 2  # the fake tokenizer's two marks are in every text
    assert features[:, 2 * width :].sum(axis=1).tolist() == [begin_and_end + 1, begin_and_end]


def test_words_alone_solve_a_task_that_words_decide():
    """Lambda is chosen on training examples that the fits have not seen."""
    texts = [(f"{'good' if i % 2 else 'bad'} film {i}", None) for i in range(80)]
    task = LabelledTask(
        split(texts, [i % 2 for i in range(80)]),
        {"test": split(texts[:20], [i % 2 for i in range(20)])},
        ["bad", "good"],
    )
    bag = BagOfWords.of(FakeTokenizer(), task.train)
    described = []
    describe = lambda part: (described.append(set(part.texts)), bag(part))[1]  # noqa: E731
    assert regress(context("glue"), task, describe).value == 100
    fitted, held, _ = described
    assert (len(fitted), len(held)) == (64, 16) and not fitted & held


def test_pixels_answer_questions_by_the_image_alone():
    images = ArrayImages(np.repeat(np.array([[[0]], [[255]]], np.uint8), 4, axis=1).repeat(4, 2))
    image_N = np.arange(60) % 2
    answers = SoftLabels(image_N[:, None], np.ones((60, 1), np.float32), 2)
    whole = Split(answers, images, image_N, [("what", None)] * 60)
    task = LabelledTask(whole, {"val2014": whole}, ["no", "yes"], validation=whole)
    assert pixels(whole).shape == (60, 32 * 32 * 3)
    assert regress(context("multimodal", "vqa_score"), task, pixels).value == 100


def test_the_search_of_many_answers_ends_when_it_helps_no_more(monkeypatch) -> None:
    """Of 400 answers, the fits of weak penalties took hours. Rows of fewer are searched as ever."""
    random = np.random.default_rng(0)
    answers_N = random.integers(0, 3, 120)
    texts = []
    for answer in answers_N:
        said = answer if random.random() < 0.6 else 3
        noise = [f"n{word}" for word in random.integers(0, 30, 12)]
        texts.append((" ".join([f"word{said}", *noise]), None))
    searches = []

    def spied(*arguments, **options):
        searches.append(sweep(*arguments, **options))
        return searches[-1]

    monkeypatch.setattr(baselines, "sweep", spied)
    for n_answers in (13, 582):
        soft = SoftLabels(answers_N[:, None], np.ones((120, 1), np.float32), n_answers)
        whole = Split(soft, texts=texts)
        task = LabelledTask(whole, {"val2014": whole}, [str(i) for i in range(n_answers)])
        regress(context("multimodal", "vqa_score"), task, BagOfWords.of(FakeTokenizer(), whole))
    few, many = searches
    assert min(few.scores) == pytest.approx(1e-6) and min(many.scores) > 1e-4
    assert few.penalty == many.penalty
    assert few.model.weights_CD.tobytes() == many.model.weights_CD[:13].tobytes()
