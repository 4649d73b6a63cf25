"""Scores during training equal those of the evaluation, from plain arrays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from flava.data.tokenizer import load_tokenizer
from flava.errors import ConfigError, DataError
from flava.evaluate.run import run
from flava.evaluate.selection_set import write_selection
from flava.io import read_json
from flava.jobs import SelectionJob
from flava.models import load_model
from flava.records import load_record
from flava.train.distributed import Ranks
from flava.train.selection import (
    SelectionSet,
    image_knn,
    knn_accuracy,
    text_knn,
    zero_shot_accuracy,
)
from tests.evaluate.fakes import write
from tests.evaluate.test_run import job, tasks, world  # noqa: F401 - a fixture
from tests.memory import peak_bytes

CPU = torch.device("cpu")
ALONE = Ranks(0, 1, CPU)


def selection_job(root: Path, output: Path, **changes: object) -> SelectionJob:
    specs = tasks(root)
    values = {
        "study": "tiny", "zero_shot": specs["zero"], "images": specs["colours"],
        "texts": specs["sst2"],
        "names": {"zero_shot": "zero", "images": "colours", "texts": "sst2"},
        "image_size": 16, "limit": 1000, "output": str(output),
        "tokenizers": {n: str(root / f"{n}.json") for n in ("wordpiece", "bpe")},
        "max_text_length": {"wordpiece": 32, "bpe": 24},
    }  # fmt: skip
    return SelectionJob.model_validate(values | changes)


@pytest.mark.parametrize(("model", "tokenizer"), [("flava", "wordpiece"), ("clip", "bpe")])
def test_zero_shot_accuracy_is_that_of_the_evaluation(
    world: Path,  # noqa: F811
    tmp_path: Path,
    model: str,
    tokenizer: str,
) -> None:
    write_selection(selection_job(world, tmp_path / "selection"))
    data = SelectionSet(tmp_path / "selection", tokenizer)
    run(job(world, tmp_path / "scores.json", model, only={"zero"}))
    theirs = read_json(tmp_path / "scores.json")["scores"][0]["value"]
    ours = zero_shot_accuracy(load_model(world / model), data, ALONE)
    assert 100 * ours == pytest.approx(theirs)


def test_the_record_has_every_array_and_a_second_call_the_same_bytes(
    world: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    job = selection_job(world, tmp_path)
    write_selection(job)
    record = load_record(tmp_path / "record.json")
    names = {path.stem for path in tmp_path.glob("*.npy")}
    assert record.extra["arrays_sha256"].keys() == names
    assert record.extra["tasks"]["zero_shot"] == {"examples": 20, "classes": 2, "templates": 2}
    write_selection(job)
    again = load_record(tmp_path / "record.json").extra["arrays_sha256"]
    assert again == record.extra["arrays_sha256"]


def test_pictures_are_in_memory_a_few_at_a_time(
    world: Path,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The arrays are those that NumPy writes of all pictures at once."""
    job = selection_job(world, tmp_path / "blocks", image_size=160)
    write_selection(job.model_copy(update={"output": str(tmp_path / "whole")}))
    monkeypatch.setattr("flava.evaluate.selection_set.ROWS", 3)
    peak = peak_bytes(lambda: write_selection(job))
    paths = sorted((tmp_path / "blocks").glob("*_pixels.npy"))
    assert len(paths) == 3
    assert peak < min(path.stat().st_size for path in paths)
    for path in paths:
        whole = tmp_path / "whole" / path.name
        assert path.read_bytes() == whole.read_bytes()
        np.save(tmp_path / "again.npy", np.load(whole))
        assert path.read_bytes() == (tmp_path / "again.npy").read_bytes()


def test_a_limit_takes_the_same_examples_every_time(
    world: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    write_selection(selection_job(world, tmp_path, limit=7))
    data = SelectionSet(tmp_path)
    assert len(data.labels("zero_shot")) == len(data.labels("texts_train")) == 7


def test_knn_separates_colours_and_words(world: Path, tmp_path: Path) -> None:  # noqa: F811
    write_selection(selection_job(world, tmp_path))
    data = SelectionSet(tmp_path)
    assert data.has("images") and data.has("texts") and data.has("zero_shot")
    mean_colour = lambda pixels_BCHW: pixels_BCHW.mean(dim=(2, 3))  # noqa: E731
    assert image_knn(mean_colour, data, CPU) == 1.0
    bag = torch.nn.EmbeddingBag.from_pretrained(torch.eye(600))

    def words(text_BL: torch.Tensor, attention_BL: torch.Tensor) -> torch.Tensor:
        return bag(text_BL, per_sample_weights=None) * attention_BL.any()

    assert text_knn(words, data, CPU) > 0.9


def test_knn_gives_an_encoder_its_inputs_on_its_device(
    world: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    write_selection(selection_job(world, tmp_path))
    data, meta, devices = SelectionSet(tmp_path), torch.device("meta"), set()

    def features(*inputs: torch.Tensor) -> torch.Tensor:
        devices.update(each.device.type for each in inputs)
        return torch.ones(len(inputs[0]), 2)

    image_knn(features, data, meta)
    text_knn(features, data, meta)
    assert devices == {"meta"}


def test_knn_agrees_with_a_plain_reference() -> None:
    rng = np.random.default_rng(0)
    train, test = rng.normal(size=(50, 8)), rng.normal(size=(30, 8))
    labels, truth = rng.integers(0, 4, 50), rng.integers(0, 4, 30)
    right = 0
    unit = train / np.linalg.norm(train, axis=1, keepdims=True)
    for row, want in zip(test, truth, strict=True):
        cosine = unit @ (row / np.linalg.norm(row))
        near = np.argsort(-cosine)[:20]
        votes = np.bincount(labels[near], np.exp(cosine[near] / 0.07), 4)
        right += votes.argmax() == want
    found = knn_accuracy(*map(torch.from_numpy, (train, labels, test, truth)))
    assert found == pytest.approx(right / 30)


def test_braces_of_a_template_are_text_as_in_the_evaluation(
    world: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    write(tmp_path / "prompts" / "classnames.json", '["blue", "red"]')
    write(tmp_path / "prompts" / "templates.json", '["a {} one of {sorts}"]')
    spec = tasks(world)["zero"]
    zero = spec | {"data": spec["data"] | {"prompts": str(tmp_path / "prompts")}}
    write_selection(selection_job(world, tmp_path / "selection", zero_shot=zero))
    prompts = np.load(tmp_path / "selection" / "prompts_wordpiece.npy")
    tokenizer = load_tokenizer(str(world / "wordpiece.json"))
    for row, name in zip(prompts[:, 0], ("blue", "red"), strict=True):
        assert row[row >= 0].tolist() == tokenizer.pair(f"a {name} one of {{sorts}}", None, 32)


def test_a_task_of_another_family_is_refused(world: Path, tmp_path: Path) -> None:  # noqa: F811
    specs = tasks(world)
    says = r"study '\w+': selection\.zero_shot must be .*; '\w+' is of family 'linear_probe'\. Name"
    with pytest.raises(ConfigError, match=says):
        write_selection(selection_job(world, tmp_path, zero_shot=specs["colours"]))
    says = r"study '\w+': selection\.images must be .*; '\w+', of family 'zero_shot', has none"
    with pytest.raises(ConfigError, match=says):
        write_selection(selection_job(world, tmp_path, images=specs["zero"]))
    assert not (tmp_path / "record.json").exists()


def test_missing_arrays_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"zero_shot_labels.npy is missing. Run the step"):
        SelectionSet(tmp_path).labels("zero_shot")
