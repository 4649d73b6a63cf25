"""The image tokenizer: its files, that they are reproducible, and what it refuses."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from train_helpers import codebook_job, elsewhere

from flava.config import CodebookConfig
from flava.data.corpus import ImageCorpus
from flava.data.transforms import decode_image, to_unit, training_crop
from flava.errors import DataError, TrainingError
from flava.io import read_json, sha256_file
from flava.models import DiscreteVAE
from flava.records import load_record
from flava.train.code_usage import usage_facts
from flava.train.codebook import temperature, train_codebook
from flava.train.image_tokens import Crops


def test_tokens_are_those_of_the_loaders_crop(study: Path) -> None:
    job = codebook_job(study)
    model = DiscreteVAE(
        CodebookConfig.model_validate(read_json(study / "codebook/model/config.json"))
    )
    model.load_state_dict(load_file(study / "codebook" / "model" / "model.safetensors"))
    model.eval()
    for name, count in (("pairs", 64), ("images", 40)):
        tokens = np.load(study / "codebook" / f"{name}.npy", allow_pickle=False)
        assert tokens.shape == (count, 16) and tokens.dtype == np.uint16
        corpus = ImageCorpus(study / name)
        for index in (0, 7, count - 1):
            image = decode_image(corpus.image_bytes(index))
            pixels = training_crop(image, corpus.key(index), job.crop_scale_min, 16)
            assert (model.encode_tokens(to_unit(pixels[None]))[0].numpy() == tokens[index]).all()


def test_record_tells_how_good_the_codebook_is(study: Path) -> None:
    record = load_record(study / "codebook" / "record.json")
    facts = record.extra
    assert facts["tokens_sha256"]["pairs"] == sha256_file(study / "codebook" / "pairs.npy")
    assert facts["images"]["images"]["images"] == 40
    assert 0 < facts["reconstruction_mse"] < 0.2
    assert 0.05 <= facts["used_fraction"] <= 1
    assert 1 <= facts["perplexity"] <= 32
    assert record.manifests[str(study / "pairs" / "manifest.json")].counts["pairs"] == 64


def test_the_same_job_gives_the_same_bits(study: Path, tmp_path: Path) -> None:
    job = elsewhere(codebook_job(study), tmp_path)
    train_codebook(job)
    for name in ("pairs.npy", "images.npy", "model/model.safetensors", "model/config.json"):
        assert (tmp_path / name).read_bytes() == (study / "codebook" / name).read_bytes()


def test_more_updates_reconstruct_better(study: Path, tmp_path: Path) -> None:
    job = elsewhere(codebook_job(study, updates=120), tmp_path)
    train_codebook(job)
    after = load_record(tmp_path / "record.json").extra["reconstruction_mse"]
    assert after < load_record(study / "codebook" / "record.json").extra["reconstruction_mse"]


def test_a_collapsed_codebook_is_refused(study: Path, tmp_path: Path) -> None:
    job = codebook_job(study, updates=1, min_used_fraction=1.0)
    with pytest.raises(TrainingError, match=r"Only .*% of the 32 image tokens are in use"):
        train_codebook(elsewhere(job, tmp_path))
    assert not (tmp_path / "record.json").exists()


def test_a_diverging_codebook_is_refused(study: Path, tmp_path: Path) -> None:
    job = codebook_job(study, optim={"learning_rate": 1e30})
    with pytest.raises(TrainingError, match=r"At update \d+ \(images\): .*(nan|inf)"):
        train_codebook(elsewhere(job, tmp_path))


def test_a_missing_corpus_is_named(study: Path, tmp_path: Path) -> None:
    shutil.copytree(study / "images", tmp_path / "images")
    next((tmp_path / "images" / "shards").iterdir()).unlink()
    job = codebook_job(study).model_copy(update={"corpora": {"images": str(tmp_path / "images")}})
    with pytest.raises(DataError, match=r"shards/000000.tar is missing"):
        train_codebook(elsewhere(job, tmp_path / "out"))


def test_samples_come_from_all_corpora(study: Path) -> None:
    crops = Crops(codebook_job(study))
    assert len(crops) == 104
    pixels = crops.sample(np.array([3, 64, 103]))
    assert pixels.shape == (3, 3, 16, 16)
    assert torch.equal(pixels[:1], crops.pixels("images", np.array([3])))
    assert torch.equal(pixels[1:], crops.pixels("pairs", np.array([24, 63])))


def test_temperature_and_usage() -> None:
    assert temperature(0, 100, 1.0, 0.1) == pytest.approx(1.0)
    assert temperature(99, 100, 1.0, 0.1) == pytest.approx(0.1)
    assert temperature(0, 1, 1.0, 0.1) == pytest.approx(1.0)
    facts = usage_facts(np.array([5, 5, 0, 0]))
    assert facts == {"used_fraction": 0.5, "perplexity": pytest.approx(2.0)}
