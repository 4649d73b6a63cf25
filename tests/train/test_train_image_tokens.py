"""The export of image tokens: read ahead, killed and continued, judged before it is long."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from train_helpers import KilledError, codebook_job, elsewhere, killed_after_images

from flava.errors import TrainingError
from flava.io import read_json, write_json
from flava.jobs import CodebookJob
from flava.models import DiscreteVAE
from flava.records import load_record
from flava.train import code_usage, image_tokens
from flava.train.codebook import train_codebook
from flava.train.image_tokens import Crops, encode_corpus

CPU = torch.device("cpu")


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seven batches of pairs, each saved."""
    monkeypatch.setattr(image_tokens, "ENCODE_BATCH", 10)
    monkeypatch.setattr(image_tokens, "SAVE_BATCHES", 1)


class Counting(DiscreteVAE):
    """Counts its batches and is killed in place of one of them."""

    def __init__(self, job: CodebookJob, kill_at: int = 0, seed: int = 0) -> None:
        torch.manual_seed(seed)
        super().__init__(job.codebook)
        self.calls, self.kill_at = 0, kill_at

    def encode_tokens(self, pixels_BCHW: Tensor) -> Tensor:
        self.calls += 1
        if self.calls == self.kill_at:
            raise KilledError
        return super().encode_tokens(pixels_BCHW)


def in_memory(model: DiscreteVAE, crops: Crops, name: str) -> bytes:
    """The file of tokens that one array and np.save give."""
    rows = np.arange(len(crops.corpora[name]))
    parts = [crops.pixels(name, rows[i : i + 10]) for i in range(0, len(rows), 10)]
    tokens = np.concatenate([model.encode_tokens(part).numpy() for part in parts])
    file = io.BytesIO()
    np.save(file, tokens.astype(np.uint16), allow_pickle=False)
    return file.getvalue()


@pytest.mark.parametrize("threads", [0, 3])
def test_a_killed_export_goes_on_and_its_file_is_that_of_one_array(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_batches: None, threads: int
) -> None:
    monkeypatch.setattr(image_tokens, "reading_threads", lambda _: threads)
    job = codebook_job(study)
    crops = Crops(job)
    with pytest.raises(KilledError):
        encode_corpus(Counting(job, kill_at=5), crops, "pairs", CPU, tmp_path)
    model = Counting(job)
    file = encode_corpus(model, crops, "pairs", CPU, tmp_path)
    assert model.calls == 3  # of seven; four were written
    file.move_to(tmp_path / "out" / "pairs.npy")
    assert (tmp_path / "out" / "pairs.npy").read_bytes() == in_memory(model, crops, "pairs")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]


def test_a_whole_export_is_not_done_again(study: Path, tmp_path: Path, small_batches: None) -> None:
    job = codebook_job(study)
    encode_corpus(Counting(job), Crops(job), "pairs", CPU, tmp_path)
    model = Counting(job)
    encode_corpus(model, Crops(job), "pairs", CPU, tmp_path)
    assert model.calls == 0


@pytest.mark.parametrize("change", ["model", "corpus", "truncated", "note gone"])
def test_an_export_of_something_else_begins_anew(
    study: Path, tmp_path: Path, small_batches: None, change: str
) -> None:
    shutil.copytree(study / "pairs", tmp_path / "pairs")
    job = codebook_job(study).model_copy(update={"corpora": {"pairs": str(tmp_path / "pairs")}})
    with pytest.raises(KilledError):
        encode_corpus(Counting(job, kill_at=5), Crops(job), "pairs", CPU, tmp_path / "part")
    if change == "corpus":
        manifest = tmp_path / "pairs" / "manifest.json"
        write_json(manifest, read_json(manifest) | {"note": "another"})
    elif change == "truncated":
        with open(tmp_path / "part" / "pairs.tokens.npy", "r+b") as file:
            file.truncate(1000)
    elif change == "note gone":
        (tmp_path / "part" / "pairs.tokens.json").unlink()
    model = Counting(job, seed=int(change == "model"))
    found = encode_corpus(model, Crops(job), "pairs", CPU, tmp_path / "part")
    assert model.calls == 7
    assert found.path.read_bytes() == in_memory(model, Crops(job), "pairs")


def test_images_found_corrupt_before_a_kill_are_still_reported(
    study: Path, tmp_path: Path, small_batches: None
) -> None:
    job = codebook_job(study)
    before, after = Crops(job), Crops(job)
    before.corpora["pairs"].bad[3] = "cannot be decoded"
    with pytest.raises(KilledError):
        encode_corpus(Counting(job, kill_at=5), before, "pairs", CPU, tmp_path)
    encode_corpus(Counting(job), after, "pairs", CPU, tmp_path)
    report, key = after.corpora["pairs"].report(), after.corpora["pairs"].key(3)
    assert report["corrupt_images"] == 1 and report["corrupt"] == {key: "cannot be decoded"}


def test_a_run_killed_in_its_export_ends_as_one_that_was_left_alone(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = elsewhere(codebook_job(study), tmp_path)
    with killed_after_images(monkeypatch):
        train_codebook(job)
    assert not (tmp_path / "images.npy").exists()
    train_codebook(job)
    for name in ("pairs.npy", "images.npy", "model/model.safetensors"):
        assert (tmp_path / name).read_bytes() == (study / "codebook" / name).read_bytes()
    facts, whole = (load_record(f / "record.json").extra for f in (tmp_path, study / "codebook"))
    for name in ("tokens_sha256", "used_fraction", "perplexity", "reconstruction_mse", "images"):
        assert facts[name] == whole[name], name


def test_a_collapsed_codebook_is_refused_before_all_is_encoded(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_tokens, "SAMPLE", 4)
    monkeypatch.setattr(code_usage, "encode_corpus", None)
    job = codebook_job(study, updates=1, min_used_fraction=1.0)
    with pytest.raises(TrainingError, match=r"Only .*% of the 32 image tokens are in use"):
        train_codebook(elsewhere(job, tmp_path))
