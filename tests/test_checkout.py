"""The commit in a record is of the code that ran, whatever happens to the checkout meanwhile."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from flava import checkout

ROOT = Path(__file__).resolve().parents[1]


def git(folder: Path, *arguments: str) -> str:
    name = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    command = ["git", "-C", str(folder), *name, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout of one module and one study, which `git_state` looks at."""
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    for name in ("flava/checkout.py", "params/toy.yaml", "dvc.lock"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x: 1\n")
    (tmp_path / ".gitignore").write_text("__pycache__/\n")
    monkeypatch.setattr(checkout, "__file__", str(tmp_path / "flava/checkout.py"))
    assert checkout.git_state() == ("unknown", None)
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "first")
    return tmp_path


def test_state_follows_the_checkout(repository: Path) -> None:
    commit = git(repository, "rev-parse", "HEAD")
    assert checkout.git_state() == (commit, False)
    # What a stage left is not what the next one ran from.
    (repository / "dvc.lock").write_text("stages: {}\n")
    assert checkout.git_state() == (commit, False)
    (repository / "params/toy.yaml").write_text("x: 2\n")
    assert checkout.git_state() == (commit, True)


@pytest.mark.parametrize(
    ("name", "dirty"),
    [
        ("flava/x.py", True),
        ("params/mine.yaml", True),
        ("workflow/rules/mine.smk", True),
        ("notebooks/mine.py", True),
        ("Snakefile", True),
        ("notes.txt", False),
        ("flava/__pycache__/x.pyc", False),
    ],
)
def test_files_that_nobody_added_count_where_they_change_what_runs(
    repository: Path, name: str, dirty: bool
) -> None:
    (repository / name).parent.mkdir(parents=True, exist_ok=True)
    (repository / name).write_text("x: 2\n")
    assert checkout.git_state().dirty is dirty


def test_no_answer_is_not_clean(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ask = checkout._git
    silent = lambda *of: None if of[0] == "status" else ask(*of)  # noqa: E731
    monkeypatch.setattr(checkout, "_git", silent)
    assert checkout.git_state().dirty is True


CODE = """\
import json, subprocess, sys, time
from flava.records import make_record
subprocess.run(sys.argv[1], shell=True, check=True)
print(json.dumps(make_record("test", {}, time.time())))
"""


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout of this package."""
    folder = tmp_path_factory.mktemp("package")
    shutil.copytree(ROOT / "flava", folder / "flava", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / ".gitignore").write_text("__pycache__/\n")
    git(folder, "init", "-q")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "first")
    return folder


@pytest.mark.parametrize(
    ("meanwhile", "dirty"),
    [
        ("true", False),
        ("git -c user.name=t -c user.email=t@e commit -q --allow-empty -m second", True),
        ("echo '# more' >> flava/io.py", True),
    ],
    ids=["nothing", "a commit", "an edit"],
)
def test_record_has_the_state_that_the_process_started_from(
    package: Path, meanwhile: str, dirty: bool
) -> None:
    git(package, "checkout", "-q", ".")
    commit = git(package, "rev-parse", "HEAD")
    done = subprocess.run(
        [sys.executable, "-c", CODE, meanwhile],
        cwd=package,
        env=os.environ | {"PYTHONPATH": str(package)},
        capture_output=True,
        text=True,
        check=True,
    )
    record = json.loads(done.stdout)
    assert (record["git_commit"], record["git_dirty"]) == (commit, dirty)


def test_git_says_why_it_tells_no_commit(
    repository: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert checkout.why_unknown() == ""
    checkout.warn()
    assert capsys.readouterr().err == ""
    with monkeypatch.context() as patch:
        patch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
        assert checkout.git_state() == ("unknown", None)
        checkout.warn()
    told = capsys.readouterr().err
    assert told.startswith("warning: records will name no commit") and told.count("\n") == 1
    assert "detected dubious ownership" in told
    assert f"git config --global --add safe.directory {repository}" in told
    monkeypatch.setenv("PATH", str(repository))  # a machine without git
    assert checkout.git_state() == ("unknown", None)
    assert "No such file or directory: 'git'" in checkout.why_unknown()


def test_a_record_without_a_commit_says_so(package: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CODE, "true"],
        cwd=package,
        env=os.environ | {"PYTHONPATH": str(package), "GIT_TEST_ASSUME_DIFFERENT_OWNER": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout)["git_commit"] == "unknown"
    assert done.stderr.count("warning: records will name no commit") == 1
