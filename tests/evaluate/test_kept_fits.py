"""A sweep that was killed goes on with its next penalty and ends with the same weights."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from flava.config import ProbeConfig
from flava.evaluate import kept_scores, linear_probe, vision
from flava.evaluate.finetune_state import Saving
from flava.evaluate.kept_fits import Fitted, KeptFits
from flava.evaluate.linear_probe import Sweep, sweep
from flava.evaluate.logistic_problem import LogisticRegression, Problem
from flava.evaluate.run import run
from flava.io import read_json, write_json
from flava.jobs import EvaluateJob
from flava.records import Earlier
from tests.evaluate.fakes import context
from tests.evaluate.test_probe_protocol import vision_task
from tests.evaluate.test_run import job, world  # noqa: F401

PROBE = ProbeConfig(steps=12)
KILLED = """\
# python - <config> <n>: killed as it begins the n-th fit of the sweep, each of 0.1 s
import os, signal, sys, time
from flava import checkout
from flava.evaluate import linear_probe, run

fit, calls = linear_probe.fit, 0

def counted(*arguments):
    global calls
    calls += 1
    time.sleep(0.1)
    if calls == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
    return fit(*arguments)

linear_probe.fit = counted
checkout.AT_START = checkout.Code("1" * 40, False)
run.evaluate(sys.argv[1])
"""


class Probing:
    """A sweep of three overlapping classes that counts its fits and may end within one."""

    def __init__(self) -> None:
        random = np.random.default_rng(0)
        self.labels_N = random.integers(0, 3, 120)
        centres_CD = random.normal(size=(3, 8))
        self.features_ND = centres_CD[self.labels_N] + random.normal(size=(120, 8)) * 2
        self.problem = Problem.of(self.features_ND[:90].astype(np.float32), self.labels_N[:90], 3)
        self.scored = 0

    def sweep(self, kept: KeptFits, stop_at: int | None = None) -> Sweep:
        self.scored = 0

        def score(model: LogisticRegression) -> float:
            self.scored += 1
            if self.scored == stop_at:
                raise KeyboardInterrupt
            return float((model.predict(self.features_ND[90:]) == self.labels_N[90:]).mean())

        return sweep(self.problem, score, PROBE, kept)


def saving(folder: Path, made_of: str = "this") -> Saving:
    return Saving(folder, "", "", made_of, Earlier())


@pytest.mark.parametrize("stop_at", [1, 2, 5, 9])
def test_goes_on_bit_for_bit(tmp_path: Path, stop_at: int) -> None:
    probing = Probing()
    whole = probing.sweep(KeptFits())
    fits = probing.scored
    with pytest.raises(KeyboardInterrupt):
        probing.sweep(KeptFits.of(saving(tmp_path), 0), stop_at)
    found = probing.sweep(KeptFits.of(saving(tmp_path), 0))
    assert probing.scored == fits - (stop_at - 1)
    assert found.visited == whole.visited and found.scores == whole.scores
    assert found.penalty == whole.penalty and found.unconverged == whole.unconverged
    assert found.model.weights_CD.tobytes() == whole.model.weights_CD.tobytes()
    assert found.model.intercept_C.tobytes() == whole.model.intercept_C.tobytes()


def torn(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [torn, flipped, empty])
def test_damaged_fits_are_made_anew(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: Callable[[Path], None]
) -> None:
    probing = Probing()
    probing.sweep(KeptFits.of(saving(tmp_path), 0))
    fits = probing.scored
    damage(tmp_path / "sweep-0.npz")
    probing.sweep(KeptFits.of(saving(tmp_path), 0))
    assert probing.scored == fits
    assert "is damaged" in capsys.readouterr().err


def test_fits_of_something_else_and_of_another_sweep_are_not_taken(tmp_path: Path) -> None:
    model = LogisticRegression(np.ones((2, 3)), np.array([0.0, -np.inf]), 4, True)
    KeptFits.of(saving(tmp_path), 0).add(3, Fitted(model, 0.25))
    assert KeptFits.of(saving(tmp_path), 0).fits[3].score == 0.25
    assert KeptFits.of(saving(tmp_path, "other"), 0).fits == {}
    assert KeptFits.of(saving(tmp_path), 1).fits == {}


@pytest.fixture
def killed(world: Path, tmp_path: Path) -> EvaluateJob:  # noqa: F811
    """A job with one probe, killed in its fifth fit."""
    found = job(world, tmp_path / "scores.json", only=["colours"])
    write_json(tmp_path / "config.json", found.model_dump(mode="json"))
    command = [sys.executable, "-c", KILLED, str(tmp_path / "config.json"), "5"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=400)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert (Path(found.checkpoints) / "colours" / "sweep-0.npz").is_file()
    return found


@pytest.fixture
def fitted(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Penalties that this process fits in a sweep."""
    found: list[float] = []
    fit = linear_probe.fit
    monkeypatch.setattr(
        linear_probe, "fit", lambda of, at, *rest: (found.append(at), fit(of, at, *rest))[1]
    )
    return found


def test_a_killed_probe_goes_on(
    killed: EvaluateJob, tmp_path: Path, fitted: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as still:
        still.setattr(time, "time", lambda: 1e9)  # this process's own work takes no time
        run(killed)
    rest = list(fitted)
    again = killed.model_copy(update={"output": str(tmp_path / "undisturbed.json")})
    run(again)
    whole = fitted[len(rest) :]
    assert whole[4:] == rest
    first, second = (read_json(each.output) for each in (killed, again))
    assert first["scores"] == second["scores"]
    record = first["record"]
    assert record["earlier_commits"] == ["1" * 40]
    assert record["wall_seconds"] >= 0.4  # four fits of the killed process
    assert not Path(killed.checkpoints).exists()


def test_edited_code_begins_the_sweep_anew(
    killed: EvaluateJob, fitted: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_scores, "fingerprint", lambda name: {name: "edited"})
    run(killed)
    assert len(fitted) > 7 and len(set(fitted)) == len(fitted)


def test_each_training_set_has_a_sweep_of_its_own(tmp_path: Path) -> None:
    folds = tuple(np.arange(n) for n in (10, 12, 30))
    data = replace(vision_task(180), folds=folds)
    plain = vision.evaluate(context("linear_probe"), data, PROBE)
    for _ in ("first", "with kept fits"):
        where = context("linear_probe", saving=saving(tmp_path))
        assert vision.evaluate(where, data, PROBE) == plain
    assert len(list(tmp_path.iterdir())) == len(folds)
