"""The same run on 1, 2 and 4 ranks, whole and sharded, in one and in several micro-batches."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from train_helpers import Tree, job, read_log, run_jobs

from flava.models import load_model

Write = Callable[[Tree], str]
Case = tuple[str, int, dict[str, object]]  # sharding, ranks, settings of pretrain


def run_cases(tree: Tree, write: Write, folder: Path, cases: dict[str, Case]) -> dict[str, Tree]:
    """Runs the cases one after another; returns their runs' plain data."""
    trees, jobs = {}, []
    for name, (sharding, ranks, changes) in cases.items():
        paths = {"output": str(folder / name), "checkpoints": str(folder / f"{name}-c")}
        trees[name] = tree | paths | {"pretrain": tree["pretrain"] | changes}
        jobs.append(job(write(trees[name]), ranks, sharding=sharding))
    assert run_jobs(jobs) == [[0] * ranks for _, ranks, _ in cases.values()]
    return trees


def losses(tree: Tree) -> list[list[float]]:
    """All losses of all updates, in the order of log.csv; -1 where there is none."""
    return [
        [float(value or -1) for name, value in row.items() if "." in name or name == "loss"]
        for row in read_log(tree)
    ]


def test_losses_do_not_depend_on_ranks_sharding_and_micro_batches(
    run_tree: Tree, write_run: Write, tmp_path: Path
) -> None:
    run_tree["pretrain"] |= {"log_updates": 1, "pair_updates": 8}
    run_tree["contrastive"] |= {"ranks": 4, "gather": "local"}
    cases: dict[str, Case] = {
        f"{sharding}-{ranks}-{accumulate}": (sharding, ranks, {"accumulate": accumulate})
        for sharding, ranks, accumulate in [
            ("none", 1, 1), ("none", 2, 1), ("none", 4, 1), ("fsdp", 2, 1), ("fsdp", 4, 1),
            ("none", 1, 4), ("none", 2, 2), ("fsdp", 2, 2), ("fsdp", 1, 1),
        ]
    }  # fmt: skip
    trees = run_cases(run_tree, write_run, tmp_path, cases)
    expected = losses(trees["none-1-1"])
    worst = {}
    for name, tree in trees.items():
        got = losses(tree)
        assert len(got) == len(expected) >= 8
        worst[name] = [max(abs(a - b) for a, b in zip(x, y)) for x, y in zip(got, expected)]
    for k, v in worst.items(): print(k, [f"{x:.1e}" for x in v])
    for name, v in worst.items(): assert max(v) < 1e-5, name
