"""DINO's recipe: what it leaves, its schedules, collapse, kills, ranks, what it refuses."""

from __future__ import annotations

import json
import math
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from train_helpers import (
    Tree,
    check_decay,
    clean_log,
    job,
    model_bytes,
    moved,
    read_log,
    run_jobs,
    write_config,
)

from flava.config import DinoInitConfig, SourceConfig
from flava.data import prepare
from flava.errors import ConfigError, DataError, TrainingError
from flava.io import sha256_file, write_json
from flava.jobs import DinoJob, PrepareJob, load_job
from flava.models.dino import DinoNetwork
from flava.models.encoder_files import load_encoder_state
from flava.models.transformer import Block
from flava.records import load_record, make_record
from flava.train.distributed import Ranks
from flava.train.init_dino import (
    DinoRecipe,
    pretrain_image,
    teacher_momentum,
    teacher_temperature,
)

ALONE = Ranks(0, 1, torch.device("cpu"))
FUNCTION = "flava.train.init_dino:pretrain_image"


@pytest.fixture
def dino_tree(run_tree: Tree, study: Path, tmp_path: Path) -> Tree:
    """Plain data of a tiny DINO job."""
    return {
        "study": "tiny",
        "seed": 1,
        "flava": run_tree["flava"] | {"image_layers": 2},
        "selection": None,
        "recipe": {
            "updates": 12, "batch_size": 8, "precision": "fp32", "checkpoint_updates": 4,
            "log_updates": 3, "local_crops": 2, "local_size": 8, "out_dim": 32, "head_hidden": 16,
            "head_bottleneck": 8, "freeze_last_layer_updates": 2,
            "teacher_temperature_updates": 4, "teacher_momentum": 0.9, "drop_path": 0.2,
            "optim": {"learning_rate": 1e-3, "warmup_updates": 3},
        },
        "images": str(study / "images"),
        "output": str(tmp_path / "init"),
        "checkpoints": str(tmp_path / "checkpoints"),
    }  # fmt: skip


@pytest.fixture
def selection(tmp_path: Path) -> Path:
    """Two kinds of labelled picture."""
    folder, rng = tmp_path / "selection", np.random.default_rng(0)
    folder.mkdir()
    for half in ("train", "test"):
        labels = np.arange(40) % 2
        pixels = rng.integers(0, 90, (40, 16, 16, 3)) + 120 * labels[:, None, None, None]
        np.save(folder / f"images_{half}_pixels.npy", pixels.astype(np.uint8))
        np.save(folder / f"images_{half}_labels.npy", labels)
    write_json(folder / "record.json", make_record("selection", {}, time.time()))
    return folder


def make(tree: Tree) -> DinoRecipe:
    return DinoRecipe(load_job(DinoJob, write_config(tree)), ALONE)


def newest(tree: Tree) -> Tree:
    path = max(Path(tree["checkpoints"]).glob("update-*.pt"))
    state: Tree = torch.load(path, weights_only=True)
    return state


def test_knn_of_the_record_runs_on_the_ranks_device(
    dino_tree: Tree, selection: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dino_tree["selection"] = str(selection)
    devices = []

    def score(_: DinoRecipe, network: DinoNetwork) -> float:
        devices.append({parameter.device.type for parameter in network.parameters()})
        return 0.5

    monkeypatch.setattr(DinoRecipe, "knn", score)
    ranks = Ranks(0, 1, torch.device("meta"))
    recipe = DinoRecipe(load_job(DinoJob, write_config(dino_tree)), ranks)
    recipe.to(torch.device("cpu"))  # as the export leaves it
    assert recipe.facts()["knn_accuracy_random_weights"] == 0.5
    assert devices == [{"meta"}, {"meta"}]


def test_it_leaves_the_teacher_a_log_and_a_record(dino_tree: Tree, selection: Path) -> None:
    dino_tree["selection"] = str(selection)
    dino_tree["recipe"] |= {"knn_updates": 6}
    config = write_config(dino_tree)
    pretrain_image(config)
    record = load_record(Path(dino_tree["output"]) / "record.json")
    of_selection = selection / "record.json"
    assert record.parents == {str(of_selection): sha256_file(of_selection)}
    assert record.step == "init_dino" and record.extra["exported"] == "teacher"
    assert 0 <= record.extra["knn_accuracy_random_weights"] <= 1
    modules = newest(dino_tree)["modules"]
    exported = load_encoder_state(
        Path(dino_tree["output"]) / "model", "image", load_job(DinoJob, config).flava
    )
    for name, value in exported.items():
        assert torch.equal(value, modules["teacher"][f"encoder.{name}"]), name
    assert not torch.equal(exported["norm.weight"], modules["model"]["encoder.norm.weight"])
    rows = read_log(dino_tree)
    assert [row["knn_accuracy"] != "" for row in rows] == [False, True, False, True]
    assert float(rows[-1]["knn_accuracy"]) == record.extra["knn_accuracy"] > 0.6
    names = load_file(Path(dino_tree["output"]) / "model" / "model.safetensors")
    assert "embeddings.cls_token" in names and not [n for n in names if "head" in n]


def test_measures_of_the_log_fit_together(dino_tree: Tree) -> None:
    pretrain_image(write_config(dino_tree))
    highest = math.log(32)
    for row in read_log(dino_tree):
        value = {name: float(text) for name, text in row.items() if text}
        assert 0 < value["teacher_entropy"] <= value["mean_entropy"] + 1e-6 <= highest + 2e-6
        assert value["mean_to_uniform"] == pytest.approx(highest - value["mean_entropy"])
        assert value["kl_global"] >= 0 and value["kl_local"] >= 0
        assert 0 < value["student_feature_std"] < 1 and 0 < value["teacher_feature_std"] < 1
    last = read_log(dino_tree)[-1]
    assert float(last["teacher_temperature"]) == 0.07
    assert 0.99 < float(last["teacher_momentum"]) < 1


def test_a_step_is_the_papers(dino_tree: Tree) -> None:
    """Loss, teacher and centre of one update, recomputed from the crops."""
    dino_tree["recipe"]["drop_path"] = 0.0
    recipe = make(dino_tree)
    batch = recipe.batch(5, 0)
    crops = [views.normalised() for views in batch.views]
    for weight in recipe.model.parameters():
        weight.data.add_(torch.randn(weight.shape, generator=torch.Generator().manual_seed(0)) / 50)
    with torch.no_grad():
        _, teacher = recipe.teacher(crops[0])
        student = torch.cat([recipe.model(images)[1] for images in crops]).view(4, 8, 32)
        target = (teacher / recipe_temperature(5)).softmax(-1).view(2, 8, 32)
        terms = [
            -(target[q] * (student[v] / 0.1).log_softmax(-1)).sum(-1).mean()
            for q in range(2)
            for v in range(4)
            if v != q
        ]
    loss = recipe.losses(batch, 5)["dino"]
    torch.testing.assert_close(loss, torch.stack(terms).mean())
    old = [p.clone() for p in recipe.teacher.parameters()]
    recipe.after_update(5, 12)
    keep = teacher_momentum(5, 12, 0.9)
    for before, after, ours in zip(
        old, recipe.teacher.parameters(), recipe.model.parameters(), strict=True
    ):
        torch.testing.assert_close(after, keep * before + (1 - keep) * ours)
        assert not after.requires_grad
    torch.testing.assert_close(recipe.center.center_K, 0.1 * teacher.mean(dim=0))


def recipe_temperature(update: int) -> float:
    return teacher_temperature(update, DinoInitConfig(teacher_temperature_updates=4))


def test_prototypes_are_frozen_at_first_and_keep_norm_one(dino_tree: Tree) -> None:
    recipe = make(dino_tree)
    for update in (1, 2):
        recipe.losses(recipe.batch(update, 0), update)["dino"].backward()
        recipe.after_backward(update)
        assert (recipe.model.head.prototypes.grad is None) == (update < 2)
        assert recipe.model.head.mlp[0].weight.grad is not None
    outputs = recipe.model(torch.randn(4, 3, 16, 16))[1].detach()
    assert float(outputs.abs().max()) <= 1 + 1e-6  # cosines
    with_norms = make(dino_tree | {"recipe": dino_tree["recipe"] | {"norm_last_layer": False}})
    assert with_norms.model.head.norms is not None
    with_norms.losses(with_norms.batch(0, 0), 0)["dino"].backward()
    assert with_norms.model.head.norms.grad is not None
    with_norms.after_backward(0)
    assert with_norms.model.head.norms.grad is None


def test_only_the_student_skips_branches_and_biases_do_not_decay(dino_tree: Tree) -> None:
    recipe = make(dino_tree)
    student = [b.drop_path for b in recipe.model.modules() if isinstance(b, Block)]
    teacher = [b.drop_path for b in recipe.teacher.modules() if isinstance(b, Block)]
    assert student == [0, 0.2] and teacher == [0, 0] and not recipe.teacher.training
    for ours, theirs in zip(recipe.model.parameters(), recipe.teacher.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    check_decay(recipe.model, recipe.settings.optim)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        # neither centred nor soft: one prototype is enough
        (
            {"center_momentum": 1.0, "teacher_temperature_start": 0.002,
             "teacher_temperature": 0.002, "teacher_temperature_updates": 0,
             "min_entropy_fraction": 0.2},
            "collapsed to a few prototypes",
        ),
        # not sharpened: the student runs after a teacher that says nothing
        (
            {"teacher_temperature_start": 5.0, "teacher_temperature": 5.0,
             "teacher_temperature_updates": 0},
            "collapsed to the uniform output",
        ),
    ],
    ids=["one prototype", "uniform"],
)  # fmt: skip
def test_a_collapse_stops_the_run(dino_tree: Tree, change: Tree, message: str) -> None:
    dino_tree["recipe"] |= {
        "updates": 60, "collapse_grace_updates": 30, "freeze_last_layer_updates": 0,
        "optim": {"learning_rate": 1e-2, "warmup_updates": 3}, **change,
    }  # fmt: skip
    with pytest.raises(TrainingError, match=message) as caught:
        pretrain_image(write_config(dino_tree))
    assert int(str(caught.value).split()[2].rstrip(",")) > 30
    assert len(read_log(dino_tree)) >= 10  # the grace period is logged
    assert not (Path(dino_tree["output"]) / "record.json").exists()


def test_a_skipped_update_leaves_the_centre_alone(dino_tree: Tree) -> None:
    """The centre moves by the batches of updates that changed the weights, after others too."""
    centres = []
    for skipped in (True, False):
        recipe = make(dino_tree)
        if skipped:
            recipe.losses(recipe.batch(0, 0), 0)
            recipe.after_skipped(0)
        recipe.losses(recipe.batch(1, 0), 1)
        recipe.after_update(1, 12)
        centres.append(recipe.center.center_K)
    assert torch.equal(*centres) and centres[0].abs().max() > 0


def test_a_skipped_update_is_logged_under_its_own_number(dino_tree: Tree) -> None:
    dino_tree["recipe"] |= {
        "precision": "fp16", "log_updates": 1, "loss_scale": {"initial": 2.0**40},
    }  # fmt: skip
    pretrain_image(write_config(dino_tree))
    rows = read_log(dino_tree)
    assert rows[0]["skipped"] == "1"
    job = DinoJob.model_validate(dino_tree)
    for update, row in enumerate(rows):
        expected = teacher_temperature(update, job.recipe)
        assert float(row["teacher_temperature"]) == pytest.approx(expected, rel=1e-6)


def test_sinkhorn_takes_the_place_of_the_centre(dino_tree: Tree) -> None:
    dino_tree["recipe"] |= {"centering": "sinkhorn"}
    pretrain_image(write_config(dino_tree))
    assert not newest(dino_tree)["modules"]["center"]["center_K"].any()
    rows = read_log(dino_tree)
    assert all(float(row["mean_to_uniform"]) < 0.3 for row in rows)


def test_killed_at_many_points_the_run_ends_bit_equal(dino_tree: Tree, tmp_path: Path) -> None:
    whole, broken = moved(dino_tree, tmp_path / "a"), moved(dino_tree, tmp_path / "b")
    points = ["sync:5", "half:2", "sync:3", "export"]
    jobs = [job(write_config(whole), function=FUNCTION)]
    jobs += [job(write_config(broken), plan=plan, function=FUNCTION) for plan in (*points, "none")]
    codes = run_jobs(jobs)
    assert codes == [[0], *[[-signal.SIGKILL]] * 4, [0]]
    assert model_bytes(whole) == model_bytes(broken)
    assert clean_log(whole) == clean_log(broken)
    one, other = newest(whole)["modules"], newest(broken)["modules"]
    for part in ("model", "teacher", "center"):
        assert all(torch.equal(value, other[part][name]) for name, value in one[part].items())
    assert one["center"]["center_K"].any()


def test_two_ranks_killed_and_continued_are_bit_equal(dino_tree: Tree, tmp_path: Path) -> None:
    whole, broken = moved(dino_tree, tmp_path / "a"), moved(dino_tree, tmp_path / "b")
    jobs = [
        job(write_config(whole), 2, function=FUNCTION),
        job(write_config(broken), 2, "sync:7", function=FUNCTION),
        job(write_config(broken), 2, function=FUNCTION),
    ]
    codes = run_jobs(jobs)
    assert codes[0] == codes[2] == [0, 0] and codes[1][0] == -signal.SIGKILL
    assert model_bytes(whole) == model_bytes(broken)
    assert clean_log(whole) == clean_log(broken)


def test_two_sharded_ranks_are_as_one(dino_tree: Tree, selection: Path, tmp_path: Path) -> None:
    """Losses, measures, k-NN scores and the exported teacher; killed and continued in between."""
    dino_tree |= {"selection": str(selection)}
    plain = {"drop_path": 0.0, "log_updates": 1, "knn_updates": 6, "clip_parameter_norm": 0.3}
    one, two = (moved(dino_tree, tmp_path / name, **plain) for name in ("a", "b"))
    jobs = [job(write_config(one), function=FUNCTION)]
    jobs += [job(write_config(two), 2, plan, "fsdp", FUNCTION) for plan in ("sync:9", "none")]
    codes = run_jobs(jobs)
    assert codes[0] == [0] and codes[1][0] == -signal.SIGKILL and codes[2] == [0, 0]
    for row, same in zip(read_log(one), read_log(two), strict=True):
        for name in ("loss", "grad_norm", "teacher_entropy", "mean_entropy", "kl_local"):
            assert float(row[name]) == pytest.approx(float(same[name]), rel=1e-4), name
        assert row["knn_accuracy"] == same["knn_accuracy"]
    flava = load_job(DinoJob, Path(one["output"]) / "config.json").flava
    ours, theirs = (
        load_encoder_state(Path(tree["output"]) / "model", "image", flava) for tree in (one, two)
    )
    for name, tensor in ours.items():
        torch.testing.assert_close(tensor, theirs[name], rtol=0, atol=2e-3, msg=name)


@pytest.mark.parametrize("centering", ["mean", "sinkhorn"])
def test_ranks_and_micro_batches_do_not_change_the_losses(
    dino_tree: Tree, tmp_path: Path, centering: str
) -> None:
    plain = {"drop_path": 0.0, "log_updates": 1, "centering": centering}
    trees = [moved(dino_tree, tmp_path / f"{n}", **plain) for n in range(3)]
    jobs = [
        job(write_config(trees[0]), function=FUNCTION),
        job(write_config(trees[1]), 2, function=FUNCTION),
    ]
    if centering == "mean":  # Sinkhorn balances each micro-batch
        trees[2]["recipe"]["accumulate"] = 2
        jobs.append(job(write_config(trees[2]), function=FUNCTION))
    assert all(set(codes) == {0} for codes in run_jobs(jobs))
    logs = [read_log(tree) for tree in trees[: len(jobs)]]
    for other in logs[1:]:
        for row, same in zip(logs[0], other, strict=True):
            for name in ("loss", "grad_norm", "teacher_entropy", "mean_entropy", "kl_local"):
                assert float(row[name]) == pytest.approx(float(same[name]), rel=1e-4), name


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ({"local_size": 10}, r"local_size 10 must be a multiple of flava.patch_size \(4\)"),
        ({"local_size": 20}, r"at most flava.image_size \(16\)"),
        ({"local_scale_min": 0.5}, r"local_scale_min 0.5 exceeds local_scale_max 0.25"),
        ({"knn_updates": 4}, r"knn_updates 4 is not a multiple of log_updates 3"),
        ({"drop_path": 1.0}, r"drop_path"),
        ({"out_dim": 1}, r"out_dim must be at least 2"),
    ],
)
def test_bad_sizes_are_refused(dino_tree: Tree, recipe: Tree, message: str) -> None:
    dino_tree["recipe"] |= recipe
    with pytest.raises(ConfigError, match=message):
        make(dino_tree)


def test_a_batch_that_the_ranks_do_not_divide_is_refused(dino_tree: Tree) -> None:
    with pytest.raises(ConfigError, match=r"batch_size 8 cannot be split over 3 ranks"):
        DinoRecipe(load_job(DinoJob, write_config(dino_tree)), Ranks(0, 3, torch.device("cpu")))


def test_no_local_crops_at_all(dino_tree: Tree) -> None:
    dino_tree["recipe"] |= {"local_crops": 0}
    pretrain_image(write_config(dino_tree))
    assert {row["kl_local"] for row in read_log(dino_tree)} == {""}


def test_images_smaller_than_a_patch_are_counted_as_bad(dino_tree: Tree, tmp_path: Path) -> None:
    folder = tmp_path / "raw" / "train" / "all"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for n in range(20):
        shape = (3, 40, 3) if n == 7 else (20, 20, 3)
        Image.fromarray(rng.integers(0, 256, shape, np.uint8)).save(folder / f"{n:02d}.png")
    corpus = tmp_path / "images"
    source = SourceConfig(
        adapter="image_folder", path=str(tmp_path / "raw"), name="small", licence="CC0", version="1"
    )
    prepare.prepare(
        PrepareJob(
            study="tiny", kind="images", sources=[source],
            tokenizers={}, shard_bytes=100_000, output=str(corpus),
        )
    )  # fmt: skip
    dino_tree["images"] = str(corpus)
    with pytest.raises(DataError, match=r"image of 40x3 pixels is smaller than a patch"):
        pretrain_image(write_config(dino_tree))
    pretrain_image(write_config(moved(dino_tree, tmp_path / "b", bad_image_fraction=0.05)))
    record = json.loads((tmp_path / "b" / "run" / "record.json").read_text())
    assert record["extra"]["data_of_rank"][0]["images"]["images"]["corrupt_images"] == 1
