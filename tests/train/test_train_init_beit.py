"""BEiT's recipe: what it leaves, both augmentations, what it refuses."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from train_helpers import Tree, check_decay, read_log, write_config

from flava.errors import CheckpointError, DataError
from flava.jobs import BeitJob, load_job
from flava.models.encoder_files import load_encoder_state
from flava.records import load_record
from flava.train.distributed import Ranks
from flava.train.encoder_recipe import Predictions
from flava.train.init_beit import BeitRecipe, pretrain_image

ALONE = Ranks(0, 1, torch.device("cpu"))


@pytest.fixture
def beit_tree(encoder_trees: dict[str, Tree]) -> Tree:
    """Plain data of a tiny BEiT job."""
    return encoder_trees["init_beit"]


@pytest.mark.parametrize("augment", ["fixed", "random"])
def test_it_leaves_an_encoder_a_log_and_a_record(
    beit_tree: Tree, augment: str, study: Path
) -> None:
    beit_tree["recipe"] |= {"augment": augment, "updates": 60, "log_updates": 20}
    config = write_config(beit_tree)
    pretrain_image(config)
    rows = read_log(beit_tree)
    assert float(rows[-1]["images.mim"]) < float(rows[0]["images.mim"])
    assert 0 <= float(rows[-1]["accuracy"]) <= 1 <= float(rows[-1]["prediction_perplexity"])
    record = load_record(Path(beit_tree["output"]) / "record.json")
    assert record.step == "init_beit"
    assert list(record.parents) == [str(study / "codebook" / "record.json")]
    job = load_job(BeitJob, config)
    state = load_encoder_state(Path(beit_tree["output"]) / "model", "image", job.flava)
    assert state.keys() == BeitRecipe(job, ALONE).model.image_encoder.state_dict().keys()
    assert state["mask_token"].abs().sum() > 0  # trained, and handed on to FLAVA's MIM


def test_what_does_not_decay(beit_tree: Tree) -> None:
    recipe = BeitRecipe(load_job(BeitJob, write_config(beit_tree)), ALONE)
    check_decay(recipe.model, recipe.settings.optim)


def test_random_views_change_with_the_update_and_their_tokens_belong_to_them(
    beit_tree: Tree,
) -> None:
    recipe = BeitRecipe(load_job(BeitJob, write_config(beit_tree)), ALONE)
    rows = recipe.share.rows(recipe.order, 3, 3, 0)
    first, again = recipe.batches.batch(rows), recipe.batches.batch(rows)
    other = recipe.batches.batch(dataclasses.replace(rows, update=8))
    assert first.pixels_BCHW is not None and other.pixels_BCHW is not None
    assert again.pixels_BCHW is not None and first.image_tokens_BP is not None
    assert torch.equal(first.pixels_BCHW, again.pixels_BCHW)
    assert first.keys == other.keys and not torch.equal(first.pixels_BCHW, other.pixels_BCHW)
    # 16 pixels a side for the encoder and for the dVAE alike: the same view but for the resampling
    views = recipe.batches
    mean = torch.tensor([0.48145466, 0.4578275, 0.40821073]).view(3, 1, 1)
    std = torch.tensor([0.26862954, 0.26130258, 0.27577711]).view(3, 1, 1)
    unit = first.pixels_BCHW * std + mean
    tokens = views.dvae.encode_tokens(unit)  # type: ignore[union-attr]
    assert (tokens == first.image_tokens_BP).float().mean() > 0.6
    shuffled = tokens.roll(1, dims=0)
    assert (shuffled == first.image_tokens_BP).float().mean() < (
        (tokens == first.image_tokens_BP).float().mean()
    )


def test_predictions_of_one_class_have_perplexity_1() -> None:
    predictions = Predictions(5)
    logits = torch.zeros(6, 5)
    logits[:, 2] = 1
    predictions.add(logits, torch.tensor([2, 2, 2, 0, 1, 3]))
    assert predictions.close() == {"accuracy": 0.5, "prediction_perplexity": 1.0}
    predictions.add(torch.eye(5), torch.arange(5))
    assert predictions.close() == pytest.approx({"accuracy": 1.0, "prediction_perplexity": 5.0})


def test_a_missing_or_damaged_tokenizer_is_refused(
    beit_tree: Tree, study: Path, tmp_path: Path
) -> None:
    tokens = np.load(study / "codebook" / "images.npy")
    (tmp_path / "codebook" / "model").mkdir(parents=True)
    np.save(tmp_path / "codebook" / "images.npy", tokens[:, :9])
    beit_tree["image_tokens"] = str(tmp_path / "codebook" / "images.npy")
    with pytest.raises(DataError, match=r"has 9 tokens an image, the model 16 patches"):
        pretrain_image(write_config(beit_tree))
    np.save(tmp_path / "codebook" / "images.npy", tokens)
    (tmp_path / "codebook" / "model" / "config.json").write_text("{}")
    (tmp_path / "codebook" / "model" / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(CheckpointError, match=r"cannot be read: .*Run the codebook step again"):
        pretrain_image(write_config(beit_tree))
