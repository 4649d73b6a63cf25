"""A killed evaluation goes on with its fine-tuning and ends with the same scores."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from unittest.mock import Mock

import pytest
import torch

from flava.errors import CheckpointError
from flava.evaluate import finetune, finetune_state, kept_scores
from flava.evaluate.run import run
from flava.io import read_json, write_json
from flava.jobs import EvaluateJob
from tests.evaluate.test_run import job, world  # noqa: F401

KILLED = """\
# python - <config> <call> <signal>: the signal in the n-th call of `rate`, one an update, of 0.1 s.
import os, signal, sys, time
from flava import checkout, processes
from flava.evaluate import finetune, run
from flava.train import interrupt

config, number, name = sys.argv[1:]
rate, calls = finetune.rate, 0

def counted(update, settings):
    global calls
    calls += 1
    time.sleep(0.1)
    if calls == int(number):
        os.kill(os.getpid(), getattr(signal, name))
    return rate(update, settings)

finetune.rate = counted
checkout.AT_START = checkout.Code("1" * 40, False)
version = processes.version
processes.version = lambda name: "0.1" if name == "torch" else version(name)
signal.signal(signal.SIGUSR2, lambda *_: interrupt.save_then(lambda: os._exit(75)))
run.evaluate(config)
"""


def memes_job(root: Path, output: Path) -> EvaluateJob:
    """Hateful Memes alone: 30 updates, saved every 7, scored twice."""
    values = job(root, output, only=["hateful_memes"]).model_dump(mode="json")
    values["tasks"]["hateful_memes"]["finetune"] |= {
        "checkpoint_updates": 7, "dropout": 0.5, "encoder_dropout": 0.2,
    }  # fmt: skip
    return EvaluateJob.model_validate(values)


def interrupted(
    found: EvaluateJob, folder: Path, update: int, name: str
) -> tuple[EvaluateJob, int]:
    """The job, which got the signal in its `update`-th update, and the exit code."""
    write_json(folder / "config.json", found.model_dump(mode="json"))
    command = [sys.executable, "-c", KILLED, str(folder / "config.json"), str(update), name]
    done = subprocess.run(command, capture_output=True, text=True, timeout=400)
    assert not Path(found.output).exists(), done.stderr
    return found, done.returncode


def saved(found: EvaluateJob) -> list[str]:
    return sorted(p.name for p in (Path(found.checkpoints) / "hateful_memes").glob("*.json"))


def seconds_saved(found: EvaluateJob) -> float:
    """Of work on each task that is finished, and up to the checkpoint of one that is not."""
    folder = Path(found.checkpoints)
    done = {path.name.removesuffix(".scores.json"): path for path in folder.glob("*.scores.json")}
    left = [path for path in folder.glob("*/*.pt") if path.parent.name not in done]
    seconds = [read_json(path)["seconds"] for path in done.values()]
    return sum(seconds) + sum(torch.load(path, weights_only=True)["seconds"] for path in left)


def scores(found: EvaluateJob) -> object:
    return read_json(found.output)["scores"]


@pytest.fixture(scope="module")
def undisturbed(world: Path, tmp_path_factory) -> object:  # noqa: F811
    found = memes_job(world, tmp_path_factory.mktemp("undisturbed") / "scores.json")
    run(found)
    return scores(found)


@pytest.mark.parametrize(
    ("update", "name", "code", "left"),
    [
        (24, "SIGKILL", -signal.SIGKILL, ["update-000000021.json"]),
        (3, "SIGKILL", -signal.SIGKILL, []),
        (10, "SIGUSR2", 75, ["update-000000010.json"]),
    ],
    ids=["killed", "killed before the first checkpoint", "warned by the scheduler"],
)
def test_goes_on(
    world,  # noqa: F811
    tmp_path,
    undisturbed,
    capfd,
    monkeypatch,
    update,
    name,
    code,
    left,
):
    found, returned = interrupted(
        memes_job(world, tmp_path / "scores.json"), tmp_path, update, name
    )
    assert (returned, saved(found)) == (code, left)
    before = seconds_saved(found)
    assert before >= (0.1 * update - 0.5 if left else 0.0)  # at most five updates after the last
    with monkeypatch.context() as still:
        still.setattr(time, "time", lambda: 1e9)  # this process's own work takes no time
        run(found)
    assert scores(found) == undisturbed
    told = capfd.readouterr().err
    assert ("continuing after update" in told) == bool(left)
    assert (f"with torch {version('torch')} (before: 0.1); the record" in told) == bool(left)
    assert not Path(found.checkpoints).exists()
    record = read_json(found.output)["record"]
    assert record["wall_seconds"] == pytest.approx(before, abs=1e-3)
    assert record["extra"]["task_seconds"]["hateful_memes"] > before
    assert record["earlier_commits"] == (["1" * 40] if left else [])
    torches = [each["process"]["packages"]["torch"] for each in record["earlier_work"]]
    assert torches == (["0.1"] if left else [])


def test_other_examples_are_refused(world, tmp_path):  # noqa: F811
    found, _ = interrupted(memes_job(world, tmp_path / "scores.json"), tmp_path, 24, "SIGKILL")
    test = Path(found.tasks["hateful_memes"].data.path) / "test_unseen.jsonl"
    kept = test.read_text()
    rows = [json.loads(line) for line in kept.splitlines()]
    rows[0]["text"] = "other words"
    try:
        test.write_text("".join(json.dumps(row) + "\n" for row in rows))
        with pytest.raises(CheckpointError, match="is a checkpoint of other data"):
            run(found)
    finally:
        test.write_text(kept)


def test_edited_code_repeats_a_finished_fine_tuning(world, tmp_path, monkeypatch):  # noqa: F811
    found, _ = interrupted(finished_first(world, tmp_path, 30), tmp_path, 35, "SIGKILL")
    updates = []
    rate = finetune.rate
    monkeypatch.setattr(finetune, "rate", lambda *of: (updates.append(of), rate(*of))[1])
    for module, name in ((finetune_state, "training_sha256"), (kept_scores, "fingerprint")):
        monkeypatch.setattr(module, name, lambda module: module)
    run(found)
    assert len(updates) == 60


def finished_first(root: Path, folder: Path, every: int) -> EvaluateJob:
    """Two tasks of 30 updates each, saved `every` so many."""
    values = job(root, folder / "scores.json", only=["hateful_memes", "sst2"]).model_dump()
    for task in values["tasks"].values():
        task["finetune"]["checkpoint_updates"] = every
    return EvaluateJob.model_validate(values)


@pytest.mark.parametrize("every", [30, 7])  # of 30
def test_a_finished_fine_tuning_is_not_repeated(world, tmp_path, monkeypatch, every):  # noqa: F811
    """Nor is it where the process was killed before it had predicted and kept the scores."""
    found = finished_first(world, tmp_path, every)
    with monkeypatch.context() as unkept, pytest.raises(KeyboardInterrupt):
        unkept.setattr(kept_scores.KeptScores, "write", Mock(side_effect=KeyboardInterrupt))
        run(found)
    assert saved(found) == ["update-000000030.json"]
    updates = []
    rate = finetune.rate
    monkeypatch.setattr(finetune, "rate", lambda *of: (updates.append(of), rate(*of))[1])
    run(found)
    assert len(updates) == 30
    assert len(scores(found)) == 2


def test_a_tasks_checkpoint_goes_when_its_scores_are_kept(world, tmp_path):  # noqa: F811
    found, _ = interrupted(finished_first(world, tmp_path, 7), tmp_path, 40, "SIGKILL")
    folder = Path(found.checkpoints)
    names = {path.relative_to(folder).parts[0] for path in folder.rglob("*")}
    assert names == {"hateful_memes.scores.json", "sst2"}


def test_each_task_accounts_for_its_own_work(world, tmp_path, monkeypatch):  # noqa: F811
    found, _ = interrupted(finished_first(world, tmp_path, 7), tmp_path, 40, "SIGKILL")
    interrupted(found, tmp_path, 15, "SIGKILL")  # of the second task
    before = seconds_saved(found)
    monkeypatch.setattr(time, "time", lambda: 1e9)  # this process's own work takes no time
    run(found)
    record = read_json(found.output)["record"]
    assert record["wall_seconds"] == pytest.approx(before, abs=1e-2)
