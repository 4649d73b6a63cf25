"""A job that was killed between two tasks goes on with the second one."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from flava.evaluate import kept_scores
from flava.evaluate import run as module
from flava.io import read_json, sha256_file, write_json
from flava.jobs import EvaluateJob
from flava.models import build, save_model
from tests.evaluate.test_run import FLAVA, job, world  # noqa: F401

KILLED = """\
# python - <config> <n>: killed as it begins with the n-th task
import os, signal, sys
from flava import checkout
from flava.evaluate import run

load, calls = run.load_task, 0

def counted(*arguments):
    global calls
    calls += 1
    if calls == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
    return load(*arguments)

run.load_task = counted
checkout.AT_START = checkout.Code("1" * 40, False)
run.evaluate(sys.argv[1])
"""
TASKS = ["colours", "flickr30k", "zero"]


@pytest.fixture
def found(world: Path, tmp_path: Path) -> EvaluateJob:  # noqa: F811
    """A job of three tasks, two of which are done, on a model of its own."""
    save_model(build("flava", FLAVA), tmp_path / "model")
    made = job(world, tmp_path / "scores.json", only=TASKS)
    tokenizer = shutil.copy(made.tokenizer_path, tmp_path / "tokenizer.json")
    own = {"model": str(tmp_path / "model"), "tokenizer_path": str(tokenizer)}
    made = made.model_copy(update=own)
    kill(made, tmp_path, 3)
    assert left(made) == ["colours.scores.json", "flickr30k.scores.json"]
    return made


def kill(found: EvaluateJob, folder: Path, number: int) -> None:
    write_json(folder / "config.json", found.model_dump(mode="json"))
    command = [sys.executable, "-c", KILLED, str(folder / "config.json"), str(number)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=400)
    assert done.returncode == -signal.SIGKILL and not Path(found.output).exists(), done.stderr


def left(found: EvaluateJob) -> list[str]:
    return sorted(path.name for path in Path(found.checkpoints).iterdir() if path.is_file())


@pytest.fixture
def scored(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Names of the tasks that this process scores."""
    names: list[str] = []
    score = module.score_task
    monkeypatch.setattr(
        module, "score_task", lambda of, *rest: (names.append(of.name), score(of, *rest))[1]
    )
    yield names


def test_finished_tasks_are_not_done_again(
    found: EvaluateJob, tmp_path: Path, scored: list[str]
) -> None:
    kept = read_json(Path(found.checkpoints) / "colours.scores.json")["seconds"]
    module.run(found)
    assert scored == ["zero"] and not Path(found.checkpoints).exists()
    again = found.model_copy(update={"output": str(tmp_path / "undisturbed.json")})
    module.run(again)
    assert scored == ["zero", *TASKS]
    first, second = (read_json(each.output) for each in (found, again))
    assert first["scores"] == second["scores"]
    record, other = first["record"], second["record"]
    assert record["earlier_commits"] == ["1" * 40] and other["earlier_commits"] == []
    assert record["tasks"] == other["tasks"] and len(record["tasks"]) == 3
    assert record["extra"]["task_seconds"]["colours"] >= kept > 0
    assert record["wall_seconds"] >= sum(record["extra"]["task_seconds"].values()) - 0.01


def test_seconds_of_earlier_processes_count_once(found: EvaluateJob, tmp_path: Path) -> None:
    shutil.rmtree(found.checkpoints)
    kill(found, tmp_path, 2)
    kill(found, tmp_path, 3)  # it takes over the first task and scores the second
    kept = sum(read_json(Path(found.checkpoints) / name)["seconds"] for name in left(found))
    began = time.time()
    module.run(found)
    record = read_json(found.output)["record"]
    assert kept < record["wall_seconds"] < kept + time.time() - began


def other_model(found: EvaluateJob) -> None:
    before = sha256_file(Path(found.model) / "model.safetensors")
    save_model(build("flava", FLAVA), Path(found.model))
    assert sha256_file(Path(found.model) / "model.safetensors") != before


def other_model_config(found: EvaluateJob) -> None:
    path = Path(found.model) / "config.json"
    path.write_text(path.read_text() + "\n")


def other_tokenizer(found: EvaluateJob) -> None:
    path = Path(found.tokenizer_path)
    path.write_text(path.read_text() + "\n")


def torn(found: EvaluateJob) -> None:
    for name in left(found):
        (Path(found.checkpoints) / name).write_text('{"made_of":')


def without_scores(found: EvaluateJob) -> None:
    for name in left(found):
        write_json(Path(found.checkpoints) / name, {"made_of": "0"})


@pytest.mark.parametrize(
    "change", [other_model, other_model_config, other_tokenizer, torn, without_scores]
)
def test_scores_of_other_models_and_damaged_ones_are_made_anew(
    found: EvaluateJob, scored: list[str], change
) -> None:
    change(found)
    module.run(found)
    assert scored == TASKS


def test_scores_of_other_code_are_made_anew(
    found: EvaluateJob, scored: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_scores, "fingerprint", lambda name: {name: "edited"})
    module.run(found)
    assert scored == TASKS


def test_scores_of_other_examples_are_made_anew(
    found: EvaluateJob, scored: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    use = module.task_use
    other = {"sha256": "0" * 64}
    monkeypatch.setattr(module, "task_use", lambda data: use(data).model_copy(update=other))
    module.run(found)
    assert scored == TASKS


def test_scores_of_another_configuration_are_made_anew(
    found: EvaluateJob, scored: list[str]
) -> None:
    module.run(found.model_copy(update={"bootstrap_resamples": found.bootstrap_resamples + 1}))
    assert scored == TASKS
