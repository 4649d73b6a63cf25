"""The same run on 1, 2 and 4 ranks, whole and sharded, in one and in several micro-batches."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from train_helpers import Tree, clean_log, job, model_bytes, moved, read_log, run_jobs, run_ranks

from flava.errors import CheckpointError, ConfigError
from flava.io import read_json, sha256_file, write_json
from flava.jobs import RunConfig
from flava.models import load_model
from flava.records import load_record, make_record
from flava.splits import check_split
from flava.train.distributed import Ranks
from flava.train.pretrain import PretrainRecipe, pretrain

Write = Callable[[Tree], str]


def losses(tree: Tree) -> list[list[float]]:
    """All losses of all updates, in the order of log.csv; -1 where there is none."""
    return [
        [float(value or -1) for name, value in row.items() if "." in name or name == "loss"]
        for row in tree.get("log") or read_log(tree)
    ]


def assert_close(tree: Tree, expected: Tree) -> None:
    """Equal losses to 1e-5, update by update."""
    got, wanted = np.array(losses(tree)), np.array(losses(expected))
    assert got.shape == wanted.shape and len(got) >= 8
    worst = np.abs(got - wanted).max(axis=1)
    print(f"{tree['output']}: largest difference {worst.max():.1e}")
    assert worst.max() <= 1e-5, worst


@pytest.fixture
def tree(run_tree: Tree) -> Tree:
    """All six losses, gradients that depend on the ranks' shares, every update in the log."""
    run_tree["pretrain"] |= {"log_updates": 1, "pair_updates": 7}
    run_tree["contrastive"] |= {"ranks": 4, "gather": "local"}
    return run_tree


def test_losses_do_not_depend_on_ranks_sharding_and_micro_batches(
    tree: Tree, write_run: Write, tmp_path: Path
) -> None:
    """A rank holds 2 to 8 rows: some have no matching pair."""
    cases = [
        ("none", 1, 1), ("none", 2, 1), ("none", 4, 1), ("fsdp", 2, 1), ("fsdp", 4, 1),
        ("none", 1, 4), ("none", 2, 2), ("fsdp", 2, 2),
    ]  # fmt: skip
    trees, jobs = [], []
    for sharding, ranks, accumulate in cases:
        folder = tmp_path / f"{sharding}-{ranks}-{accumulate}"
        trees.append(moved(tree, folder, accumulate=accumulate))
        jobs.append(job(write_run(trees[-1]), ranks, sharding=sharding))
    assert run_jobs(jobs) == [[0] * ranks for _, ranks, _ in cases]
    for other in trees[1:]:
        assert_close(other, trees[0])
    record = load_record(Path(trees[3]["output"]) / "record.json")
    assert record.ranks == 2 and record.extra["sharding"] == "fsdp"
    whole, sharded = (load_model(Path(t["output"]) / "model").state_dict() for t in trees[2:5:2])
    for name, tensor in whole.items():
        torch.testing.assert_close(sharded[name], tensor, rtol=0, atol=2e-3, msg=name)


def test_micro_batches_by_themselves_depend_on_their_number_alone(
    tree: Tree, write_run: Write, tmp_path: Path
) -> None:
    tree["contrastive"]["ranks"] = 2
    trees = [
        moved(tree, tmp_path / name, contrastive_batch=name[:5], accumulate=accumulate)
        for name, accumulate in (("micro-1", 2), ("micro-2", 2), ("whole", 1))
    ]
    jobs = [job(write_run(t), n) for t, n in zip(trees, (1, 2, 1), strict=True)]
    assert run_jobs(jobs) == [[0], [0, 0], [0]]
    assert_close(trees[1], trees[0])
    micro, whole = (np.array(losses(t)).max(axis=0)[:-1] for t in (trees[0], trees[2]))
    assert (np.abs(micro - whole) > 0.1).any()  # ln 4 against ln 8


def test_a_run_continues_on_other_ranks_and_with_other_sharding(
    tree: Tree, write_run: Write, tmp_path: Path
) -> None:
    """Two updates a process: sharded on 2, whole on 1, sharded on 4, whole on 2, sharded on 2."""
    tree["pretrain"]["checkpoint_updates"] = 2
    whole, changing = moved(tree, tmp_path / "whole"), moved(tree, tmp_path / "changing")
    config = write_run(changing)
    stages = [("fsdp", 2, "mark:1"), ("none", 1, "mark:1"), ("fsdp", 4, "mark:1")]
    stages += [("none", 2, "mark:1"), ("fsdp", 2, "none")]
    jobs = [job(config, ranks, plan, sharding) for sharding, ranks, plan in stages]
    codes = run_jobs([job(write_run(whole)), *jobs])
    assert [code[0] for code in codes] == [0, *[-signal.SIGKILL] * 4, 0]
    assert_close(changing, whole)
    record = load_record(Path(changing["output"]) / "record.json")
    assert [each.process and each.process.ranks for each in record.earlier_work] == [1, 4]
    assert record.ranks == 2 and all(each.seconds > 0 for each in record.earlier_work)
    assert load_record(Path(whole["output"]) / "record.json").earlier_work == []


def test_two_sharded_ranks_killed_and_continued_are_bit_equal(
    run_tree: Tree, write_run: Write, tmp_path: Path
) -> None:
    run_tree["contrastive"]["ranks"] = 2
    run_tree["pretrain"]["checkpoint_updates"] = 3
    whole, broken = moved(run_tree, tmp_path / "whole"), moved(run_tree, tmp_path / "broken")
    config = write_run(broken)
    plans = ["sync:3", "sync:9", "half:1", "sync:13", "export", "none"]
    codes = run_jobs(
        [
            job(write_run(whole), 2, sharding="fsdp"),
            *(job(config, 2, plan, "fsdp") for plan in plans),
        ]
    )
    assert [code[0] for code in codes] == [0, *[-signal.SIGKILL] * 5, 0]
    assert codes[-1] == [0, 0] and all(code[1] for code in codes[1:5])  # nobody hangs
    assert model_bytes(whole) == model_bytes(broken)
    assert clean_log(whole) == clean_log(broken)
    left = sorted(path.name for path in Path(broken["checkpoints"]).iterdir())
    newest = left[-1].partition(".")[0]
    assert [n for n in left if n.startswith(newest)] == [
        f"{newest}.{end}" for end in ("json", "pt", "shards")
    ]
    assert len(left) == 7, left


def test_a_damaged_shard_costs_only_its_updates(
    tree: Tree, write_run: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write_run(tree)
    assert run_jobs([job(config, 2, sharding="fsdp")]) == [[0, 0]]
    before, log = model_bytes(tree), clean_log(tree)
    mark = max(Path(tree["checkpoints"]).glob("update-*.json"))
    assert len(read_json(mark)["shards"]) == 2
    shard = sorted(mark.with_suffix(".shards").iterdir())[1]
    data = bytearray(shard.read_bytes())
    data[-5] ^= 1
    shard.write_bytes(data)
    assert run_jobs([job(config, 2, sharding="fsdp")]) == [[0, 0]]
    assert model_bytes(tree) == before and clean_log(tree) == log
    mark.with_suffix(".pt").write_bytes(b"")
    (Path(tree["output"]) / "record.json").unlink()
    pretrain(config)  # here, on one rank
    found = capsys.readouterr().err
    assert f"damaged checkpoint: {mark.with_suffix('.pt')}" in found
    assert "on 1 rank instead of 2" in found
    assert_close(tree, {**tree, "log": log})


def test_zero_shot_selection_chooses_alike(tree: Tree, write_run: Write, tmp_path: Path) -> None:
    folder = tmp_path / "selection"
    folder.mkdir()
    rng = np.random.default_rng(0)
    np.save(folder / "zero_shot_pixels.npy", rng.integers(0, 255, (7, 16, 16, 3), np.uint8))
    np.save(folder / "zero_shot_labels.npy", rng.integers(0, 3, 7))
    np.save(folder / "prompts_wordpiece.npy", rng.integers(5, 60, (3, 2, 6)))
    hashes = {path.stem: sha256_file(path) for path in folder.glob("*.npy")}
    record = make_record("selection", {}, time.time(), extra={"arrays_sha256": hashes})
    write_json(folder / "record.json", record)
    tree |= {"selection": str(folder)}
    tree["pretrain"]["select_updates"] = 3
    trees = [moved(tree, tmp_path / name) for name in ("none", "fsdp")]
    jobs = [job(write_run(trees[0])), job(write_run(trees[1]), 2, sharding="fsdp")]
    assert run_jobs(jobs) == [[0], [0, 0]]
    one, two = (load_record(Path(t["output"]) / "record.json").extra for t in trees)
    assert one["selection_scores"] == two["selection_scores"] and len(one["selection_scores"]) > 2
    record["extra"]["arrays_sha256"]["zero_shot_labels"] = "0" * 64
    write_json(folder / "record.json", record)
    (Path(trees[0]["output"]) / "record.json").unlink()
    max(Path(trees[0]["checkpoints"]).glob("update-*.json")).unlink()  # no longer finished
    with pytest.raises(CheckpointError, match="of other data"):
        pretrain(write_run(trees[0]))
    assert one["selected_update"] == two["selected_update"]


def test_parameters_that_no_loss_uses_stay_when_sharded(
    run_tree: Tree, write_run: Write, tmp_path: Path
) -> None:
    run_tree |= {"objectives": {"images": ["mim"]}, "sampling": {"images": 1.0}}
    trees = [moved(run_tree, tmp_path / str(n), pair_updates=n) for n in (4, 8)]
    assert run_jobs([job(write_run(tree), 2, sharding="fsdp") for tree in trees]) == [[0, 0]] * 2
    few, many = (load_model(Path(tree["output"]) / "model").state_dict() for tree in trees)
    for name, tensor in few.items():
        changed = not torch.equal(tensor, many[name])
        assert changed == name.startswith(("image_encoder", "mim_head")), name


def test_ranks_that_do_not_fit_are_refused_before_any_data_is_read(tree: Tree) -> None:
    tree["corpora"] = dict.fromkeys(tree["corpora"], "nowhere")
    run = RunConfig.model_validate(tree)
    with pytest.raises(ConfigError, match=r"contrastive_ranks is 4, .* of the 8 processes"):
        PretrainRecipe(run, Ranks(0, 8, torch.device("cpu")))
    tree["pretrain"] |= {"accumulate": 4, "contrastive_batch": "micro"}
    run = RunConfig.model_validate(tree)
    with pytest.raises(ConfigError, match=r"2 rows, which 4 contrastive ranks cannot share"):
        PretrainRecipe(run, Ranks(0, 1, torch.device("cpu")))
    tree["objectives"] = {"texts": ["mlm"]}
    run = RunConfig.model_validate(tree)
    with pytest.raises(ConfigError, match=r"batch_size 8 .* over 8 ranks times accumulate 4"):
        PretrainRecipe(run, Ranks(0, 8, torch.device("cpu")))


def test_a_batch_that_ranks_times_micro_batches_do_not_divide_is_refused() -> None:
    check_split(24, 4, 3)
    with pytest.raises(ConfigError, match=r"batch_size 24 .* 4 ranks times accumulate 4 .* of 16"):
        check_split(24, 4, 4)


def test_ranks_that_see_different_folders_are_stopped(tmp_path: Path) -> None:
    code = """
import sys
from pathlib import Path
from flava.errors import TrainingError
from flava.train.checkpoint import Checkpoints
from flava.train.distributed import joined_ranks

with joined_ranks() as ranks:
    folder = Path(f"disk{ranks.rank}")
    checkpoints = Checkpoints(folder, "c", "d", "e", keep=2)
    checkpoints.save(10, {"a": 1})
    assert checkpoints.load_newest().update == 10
    if ranks.first:
        checkpoints.save(20, {"a": 1})
    try:
        checkpoints.load_newest()
    except TrainingError as error:
        assert f"different checkpoints in {folder} (updates [[20, 10], [10]])" in str(error), error
    else:
        raise AssertionError("not stopped")
"""
    run_ranks(["-c", code], 2, tmp_path)
