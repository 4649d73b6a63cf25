"""The text encoder's recipe: what it leaves, how it chooses its checkpoint, what it refuses."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from train_helpers import Tree, job, read_log, run_jobs, write_config

from flava.errors import ConfigError, DataError
from flava.io import sha256_file
from flava.jobs import MlmJob, load_job
from flava.models.encoder_files import load_encoder_state
from flava.records import load_record
from flava.train.distributed import Ranks
from flava.train.init_mlm import MlmRecipe, pretrain_text

ALONE = Ranks(0, 1, torch.device("cpu"))


@pytest.fixture
def mlm_tree(encoder_trees: dict[str, Tree]) -> Tree:
    """Plain data of a tiny MLM job."""
    return encoder_trees["init_mlm"]


def test_two_sharded_ranks_are_as_one(mlm_tree: Tree, tmp_path: Path) -> None:
    mlm_tree["recipe"] |= {"dropout": 0.0, "updates": 12, "select_updates": 4, "log_updates": 1}
    function, trees = "flava.train.init_mlm:pretrain_text", []
    for name in ("one", "two"):
        trees.append(
            mlm_tree | {"output": f"{tmp_path}/{name}", "checkpoints": f"{tmp_path}/{name}c"}
        )
    jobs = [job(write_config(trees[0]), function=function)]
    assert run_jobs([*jobs, job(write_config(trees[1]), 2, "none", "fsdp", function)]) == [
        [0],
        [0, 0],
    ]
    one, two = (load_record(Path(tree["output"]) / "record.json").extra for tree in trees)
    scores = [np.array(extra["selection_scores"]) for extra in (one, two)]
    assert np.abs(scores[0] - scores[1]).max() < 1e-5 and len(scores[0]) == 3
    for row, same in zip(*map(read_log, trees), strict=True):
        assert float(row["loss"]) == pytest.approx(float(same["loss"]), abs=1e-5)


@pytest.mark.filterwarnings("ignore:for .* which is a no-op")  # weights into "meta"
def test_knn_of_the_record_runs_on_the_ranks_device(
    mlm_tree: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlm_tree["selection"] = str(tmp_path / "selection")
    devices = []

    def score(_: object, data: object, device: torch.device) -> float:
        devices.append(device.type)
        devices.extend({parameter.device.type for parameter in recipe.encoder().parameters()})
        return 0.5

    monkeypatch.setattr("flava.train.init_mlm.text_knn", score)
    ranks = Ranks(0, 1, torch.device("meta"))
    recipe = MlmRecipe(load_job(MlmJob, write_config(mlm_tree)), ranks)
    recipe.to(torch.device("cpu"))  # as the export leaves it
    assert recipe.facts()["knn_accuracy_random_weights"] == 0.5
    assert devices == ["meta"] * 4  # inputs and weights, trained and random


def test_it_leaves_an_encoder_a_log_and_a_record(mlm_tree: Tree) -> None:
    config = write_config(mlm_tree)
    pretrain_text(config)
    rows = read_log(mlm_tree)
    assert float(rows[-1]["texts.mlm"]) < float(rows[0]["texts.mlm"])
    assert 0 <= float(rows[-1]["accuracy"]) <= 1 <= float(rows[-1]["prediction_perplexity"])
    record = load_record(Path(mlm_tree["output"]) / "record.json")
    assert record.step == "init_mlm" and record.extra["updates"] == 40
    assert record.extra["held_out_samples"] > 0
    job = load_job(MlmJob, config)
    state = load_encoder_state(Path(mlm_tree["output"]) / "model", "text", job.flava)
    recipe = MlmRecipe(job, ALONE)
    assert state.keys() == recipe.model.text_encoder.state_dict().keys()


def test_the_checkpoint_with_the_best_held_out_loss_is_exported(mlm_tree: Tree) -> None:
    # a rate this high makes the loss rise again, so the last weights are not the best
    mlm_tree["recipe"] |= {"updates": 60, "optim": {"learning_rate": 0.3, "warmup_updates": 20}}
    config = write_config(mlm_tree)
    pretrain_text(config)
    record = load_record(Path(mlm_tree["output"]) / "record.json")
    scores = {int(update): score for update, score in record.extra["selection_scores"]}
    assert list(scores) == [10, 20, 30, 40, 50, 60]
    best = record.extra["selected_update"]
    assert scores[best] == max(scores.values()) and best != 60
    recipe = MlmRecipe(load_job(MlmJob, config), ALONE)
    job = load_job(MlmJob, config)
    state = load_encoder_state(Path(mlm_tree["output"]) / "model", "text", job.flava)
    kept = torch.load(Path(mlm_tree["checkpoints"]) / f"best-{best:09d}.pt", weights_only=True)
    recipe.model.load_state_dict(kept["model"])
    assert all(torch.equal(state[n], v) for n, v in recipe.model.text_encoder.state_dict().items())
    recipe.model.eval()
    with torch.no_grad():
        assert recipe.score() == pytest.approx(scores[best], abs=1e-6)
    assert best == max(scores, key=lambda update: (scores[update], -update))


def test_a_damaged_newest_checkpoint_finds_the_best_weights_that_the_older_one_names(
    mlm_tree: Tree,
) -> None:
    # every score is better than the last, so each of the two kept checkpoints names other weights
    mlm_tree["recipe"] |= {"checkpoint_updates": 10, "updates": 40}
    config = write_config(mlm_tree)
    pretrain_text(config)
    folder = Path(mlm_tree["checkpoints"])
    kept = sorted(path.name for path in folder.glob("best-*.pt"))
    assert kept == ["best-000000030.pt", "best-000000040.pt"]
    marks = sorted(folder.glob("update-*.json"))
    for path, mark in zip(kept, marks, strict=True):
        state = torch.load(mark.with_suffix(".pt"), weights_only=True)
        assert f"best-{state['best']['update']:09d}.pt" == path
        assert sha256_file(folder / path) == state["best"]["sha256"]


def test_held_out_samples_are_not_trained_on_and_keep_their_masks(mlm_tree: Tree) -> None:
    recipe = MlmRecipe(load_job(MlmJob, write_config(mlm_tree)), ALONE)
    ours = {tuple(row) for row in recipe.train_batches.ranges_S2.tolist()}
    held = {tuple(row) for row in recipe.held_out.ranges_S2.tolist()}
    assert held and not held & ours
    mlm_tree["recipe"]["validation_samples"] = 3
    few = MlmRecipe(load_job(MlmJob, write_config(mlm_tree)), ALONE)
    drawn = [tuple(row) for row in few.held_out.ranges_S2.tolist()]
    assert len(drawn) == 3 and len(few.train_batches) == len(ours) + len(held) - 3
    assert drawn != sorted(held)[:3]  # of the whole corpus, not its first
    recipe.model.eval()
    with torch.no_grad():
        first, again = recipe.score(), recipe.score()
    assert first == again and math.isfinite(first) and first < 0


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"text_length": 32}, ConfigError, "text_length 32 exceeds the model's 24"),
        ({"validation_fraction": 1.0}, DataError, "none is left to train on"),
        ({"batch_size": 6, "accumulate": 6}, None, ""),
    ],
    ids=["too long", "all held out", "micro-batches of one"],
)
def test_sizes(mlm_tree: Tree, change: Tree, error: type[Exception] | None, message: str) -> None:
    mlm_tree["recipe"] |= change | {"updates": 5}
    config = write_config(mlm_tree)
    if error is None:
        pretrain_text(config)
        return
    with pytest.raises(error, match=message):
        pretrain_text(config)


def test_dropout_is_drawn_anew_and_the_run_stays_reproducible(
    mlm_tree: Tree, tmp_path: Path
) -> None:
    files = []
    for name, dropout in (("a", 0.3), ("b", 0.3), ("c", 0.0)):
        tree = mlm_tree | {"output": str(tmp_path / name), "checkpoints": f"{tmp_path}/{name}-c"}
        tree["recipe"] = mlm_tree["recipe"] | {"dropout": dropout, "updates": 10}
        pretrain_text(write_config(tree))
        files.append((tmp_path / name / "model" / "model.safetensors").read_bytes())
    assert files[0] == files[1] != files[2]
