"""Which study runs, its stages, and what restoring refuses."""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
from pathlib import Path

import pytest
import yaml

from flava.errors import ConfigError, DataError
from workflow import restore, trace
from workflow.choice import Choice, chosen, read_choice, write_choice
from workflow.pipeline import check, pipeline, render
from workflow.plan import Plan
from workflow.restore import verify
from workflow.stages import stages


@pytest.fixture(autouse=True)
def _in_the_project(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "params.yaml"
    write_choice(Choice(study="mini", budget="cpu-quick", seeds=2), path)
    return path


def test_the_file_chooses_where_the_command_line_does_not(file: Path) -> None:
    assert chosen({}, file) == {
        "study": "mini",
        "budget": "cpu-quick",
        "seeds": 2,
        "release": False,
    }
    assert chosen({"seeds": 3}, file)["seeds"] == 3
    assert chosen({"release": "true"}, file)["release"] == "true"


def test_a_study_of_the_command_line_takes_nothing_from_the_file(file: Path) -> None:
    assert chosen({"study": "smoke"}, file) == {"study": "smoke"}
    assert chosen({"study": "toy", "seeds": "2"}, file / "absent") == {"study": "toy", "seeds": "2"}


def test_a_misspelt_key_of_the_file_is_refused(file: Path) -> None:
    file.write_text("study: toy\nbudgt: cpu\n")
    with pytest.raises(ConfigError, match=r"unknown key 'budgt'\. Did you mean 'budget'\?"):
        read_choice(file)


def test_a_misspelt_key_of_the_command_line_is_refused(file: Path) -> None:
    message = r"unknown key 'budget_gpu_hour'\. Did you mean 'budget_gpu_hours'\?"
    with pytest.raises(ConfigError, match=message):
        chosen({"study": "paper", "budget_gpu_hour": 500}, file)
    assert chosen({"cluster": {}, "budget_gpu_hours": 500, "study": "toy"}, file) == {
        "study": "toy"
    }


def test_trace_takes_the_study_of_the_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(file.parent)
    monkeypatch.setattr("sys.argv", ["trace", "--all"])
    with pytest.raises(DataError, match=r"results/mini-cpu-quick/configs/report\.json is missing"):
        trace.main()
    assert signal.getsignal(signal.SIGPIPE) == signal.SIG_IGN, "a caller's pipes are its own"


def test_the_written_file_reads_back(file: Path) -> None:
    assert read_choice(file) == Choice(study="mini", budget="cpu-quick", seeds=2)
    assert 'study: mini\nbudget: "cpu-quick"\nseeds: 2\nrelease: false\n' in file.read_text()


def test_a_study_with_fewer_columns_has_fewer_stages() -> None:
    names = [stage.name for stage in stages(Plan.load("mini", "cpu-quick"))]
    assert names == [
        "prepare",
        "codebook",
        "column-flava_c",
        "column-flava_mm",
        "evaluate",
        "report",
    ]


@pytest.mark.parametrize("study", ["smoke", "toy", "mini", "paper", "released"])
def test_every_kept_file_is_one_stages_target(study: str) -> None:
    plan = Plan.load(study)
    targets = [target for stage in stages(plan) for target in stage.targets]
    assert len(set(targets)) == len(targets)
    assert set(targets) >= set(plan.targets())


def test_stages_of_more_seeds_train_them_together() -> None:
    stage = next(s for s in stages(Plan.load("smoke", seeds=2)) if s.name == "column-mim")
    folders = {target.split("/")[3] for target in stage.targets}
    assert folders == {"mim-s0", "mim-s1"}


def test_stages_of_another_study_are_refused(tmp_path: Path) -> None:
    path, smoke, toy = tmp_path / "dvc.yaml", Choice(study="smoke"), Choice(study="toy")
    path.write_text(render(smoke, Plan.load("smoke")))
    check(smoke, Plan.load("smoke"), path)
    with pytest.raises(ConfigError, match=r"does not have the stages of study 'toy'"):
        check(toy, Plan.load("toy"), path)


def test_first_stage_sees_every_parameter_file() -> None:
    first = pipeline(Choice(study="smoke"), Plan.load("smoke"))["stages"]["resolve"]
    files = [path for entry in first["params"] for path in entry]
    assert files == [
        "params.yaml",
        "params/smoke.yaml",
        "params/columns.yaml",
        "params/tasks.yaml",
    ]


@pytest.fixture
def recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file and a folder, a lock file with their hashes and a cache with the folder's list."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a").write_bytes(b"a")
    (tmp_path / "b").write_bytes(b"b")
    listing = json.dumps([{"md5": _md5(b"a"), "relpath": "a"}]).encode()
    digest = _md5(listing)
    (tmp_path / "cache" / digest[:2]).mkdir(parents=True)
    (tmp_path / "cache" / digest[:2] / f"{digest[2:]}.dir").write_bytes(listing)
    outs = [{"path": "folder", "md5": f"{digest}.dir"}, {"path": "b", "md5": _md5(b"b")}]
    lock = tmp_path / "dvc.lock"
    lock.write_text(yaml.safe_dump({"stages": {"one": {"cmd": "x", "outs": outs}}}))
    return lock


def _md5(value: bytes) -> str:
    return hashlib.md5(value, usedforsecurity=False).hexdigest()


def test_whole_files_verify(recorded: Path) -> None:
    assert verify(recorded, Path("cache")) == (2, 2)


def test_damaged_and_missing_files_are_named(recorded: Path) -> None:
    Path("folder/a").write_bytes(b"A")
    Path("b").unlink()
    with pytest.raises(DataError, match=r"2 files .* folder/a differs, b is missing\."):
        verify(recorded, Path("cache"))


def test_a_damaged_list_of_files_is_named(recorded: Path) -> None:
    listing = next(Path("cache").rglob("*.dir"))
    listing.write_bytes(b"[]")
    with pytest.raises(DataError, match=r"a list of files, is missing or damaged"):
        verify(recorded, Path("cache"))


DRY_RUN = """\
Building DAG of jobs...
Job stats:
job             count
------------  -------
toy_world           1
total               2

[Sun Nov 29 16:00:34 2026]
Job 2: toy world: generate its files
Reason: Missing output files: data/toy/raw/manifest.json
[Sun Nov 29 16:00:34 2026]
Job 16: init dino-s0
Reason: Missing output files: results/toy/inits/dino-s0/log.csv
Reasons:
    (check individual jobs above for details)
"""


def test_restored_files_that_snakemake_would_make_anew_are_refused(
    recorded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["restore", "--no-pull"])
    monkeypatch.setattr(restore, "cache_folder", lambda: Path("cache"))
    done = subprocess.CompletedProcess([], 0, stdout="", stderr=DRY_RUN)
    monkeypatch.setattr("subprocess.run", lambda *_, **__: done)
    jobs = "2 jobs on what was restored: toy world: generate its files, init dino-s0\\."
    with pytest.raises(DataError, match=jobs):
        restore.main()
    done.stderr = "Building DAG of jobs...\nNothing to be done\n"
    restore.main()


def test_first_stage_sees_the_file_of_a_base(in_copy: Path) -> None:
    Path("params/mine.yaml").write_text("base: smoke\nname: mine\ntitle: Mine\nscale: s\n")
    first = pipeline(Choice(study="mine"), Plan.load("mine"))["stages"]["resolve"]
    files = [path for entry in first["params"] for path in entry]
    assert files[1:3] == ["params/mine.yaml", "params/smoke.yaml"]
