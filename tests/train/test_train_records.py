"""Records: what they hold, and that a wrong one is refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from flava import checkout
from flava.checkout import Code
from flava.errors import DataError
from flava.io import sha256_file, sha256_json, write_json
from flava.records import Earlier, load_record, make_record
from flava.train.identity import model_hashes, selection_hashes, token_hashes


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    path = tmp_path / "pairs" / "manifest.json"
    write_json(path, {"pairs": 7, "name": "toy", "whole": True})
    return path


def test_round_trip_with_parents_and_manifests(tmp_path: Path, manifest: Path) -> None:
    parent = tmp_path / "parent.json"
    write_json(parent, make_record("codebook", {"seed": 3}, time.time()))
    config = {"seed": 5, "width": 64}
    child = tmp_path / "child.json"
    started = time.time() - 2
    write_json(
        child, make_record("pretrain", config, started, [parent], [manifest], {"updates": 9})
    )
    record = load_record(child)
    assert record.step == "pretrain"
    assert record.seed == 5
    assert record.config_sha256 == sha256_json(config)
    assert record.parents == {str(parent): sha256_file(parent)}
    use = record.manifests[str(manifest)]
    assert (use.sha256, use.counts) == (sha256_file(manifest), {"pairs": 7})
    assert 2 <= record.wall_seconds < 60
    assert record.peak_memory_bytes > 10_000_000
    assert record.packages["torch"] != "not installed"
    assert record.extra == {"updates": 9}
    assert record.hardware.cores >= 1


def test_earlier_seconds_and_ranks_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "2")
    earlier = Earlier(seconds=100.0, jobs=["70"])
    record = make_record("pretrain", {}, time.time(), earlier=earlier)
    assert record["wall_seconds"] >= 100
    assert (record["ranks"], record["jobs"], record["requeues"]) == (4, ["70", "77"], 2)
    assert record["seed"] is None


ONE, TWO = "1" * 40, "2" * 40


@pytest.mark.parametrize(
    ("before", "others", "dirty"),
    [
        ([], [], False),
        ([(TWO, False)], [], False),
        ([(TWO, True)], [], True),
        ([(ONE, False), (TWO, False)], [ONE], False),
        ([(ONE, True), (ONE, False)], [ONE], True),
        ([("unknown", None)], ["unknown"], False),
    ],
)
def test_code_of_processes_that_were_continued(
    monkeypatch: pytest.MonkeyPatch,
    before: list[tuple[str, bool | None]],
    others: list[str],
    dirty: bool,
) -> None:
    """Each process starts from the checkpoint of the one before."""
    earlier = Earlier()
    for code in before:
        monkeypatch.setattr(checkout, "AT_START", Code(*code))
        account = earlier.account()
        earlier = Earlier()
        earlier.add(1.0, account)
    monkeypatch.setattr(checkout, "AT_START", Code(TWO, False))
    monkeypatch.setattr(checkout, "git_state", lambda: Code(TWO, False))
    record = make_record("pretrain", {}, time.time(), earlier=earlier)
    assert record["git_commit"] == TWO
    assert (record["earlier_commits"], record["git_dirty"]) == (others, dirty)


def test_a_checkpoint_that_does_not_tell_is_of_unknown_code() -> None:
    earlier = Earlier()
    earlier.add(3.0, None)
    assert (earlier.seconds, earlier.code) == (3.0, [("unknown", None)])


def test_missing_parent_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere.json is missing"):
        make_record("pretrain", {}, time.time(), parents=[tmp_path / "nowhere.json"])


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"surprise": 1}, "surprise"),
        ({"git_commit": "--help"}, "git_commit"),
        ({"ranks": 0}, "ranks"),
        ({"step": 4}, "step"),
    ],
)
def test_malformed_record_is_refused(tmp_path: Path, change: dict[str, object], named: str) -> None:
    path = tmp_path / "record.json"
    write_json(path, make_record("pretrain", {}, time.time()) | change)
    with pytest.raises(DataError, match=rf"not a valid record: {named}"):
        load_record(path)


def test_record_that_is_a_list_is_refused(tmp_path: Path) -> None:
    write_json(tmp_path / "record.json", [1])
    with pytest.raises(DataError, match="not a valid record"):
        load_record(tmp_path / "record.json")


def test_first_formats_are_read_as_the_third(tmp_path: Path) -> None:
    new = make_record("pretrain", {}, time.time())
    second = {k: v for k, v in new.items() if k != "earlier_commits"} | {"format": 2}
    write_json(tmp_path / "record.json", second)
    record = load_record(tmp_path / "record.json")
    assert (record.format, record.earlier_commits) == (3, [])
    write_json(tmp_path / "record.json", {**second, "format": 3})
    with pytest.raises(DataError, match="not a valid record: earlier_commits"):
        load_record(tmp_path / "record.json")
    first = {k: v for k, v in second.items() if k not in ("jobs", "command", "tasks")}
    write_json(tmp_path / "record.json", {**first, "format": 1, "job_id": "12"})
    record = load_record(tmp_path / "record.json")
    assert (record.format, record.jobs, record.command, record.tasks) == (3, ["12"], None, {})
    write_json(tmp_path / "record.json", {**first, "format": 1})
    with pytest.raises(DataError, match=r"record.json is not a valid record: format"):
        load_record(tmp_path / "record.json")


def test_job_ids_of_a_launcher_come_first_and_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLAVA_JOB_IDS", "70, 71,77")
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    assert make_record("pretrain", {}, time.time())["jobs"] == ["70", "71", "77"]


def test_wrong_requeue_count_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_RESTART_COUNT", "twice")
    with pytest.raises(DataError, match="SLURM_RESTART_COUNT is 'twice'"):
        make_record("pretrain", {}, time.time())


def test_command_is_the_process_s_own(tmp_path: Path) -> None:
    code = (
        "import json, time; from flava.records import make_record; "
        "print(json.dumps(make_record('pretrain', {}, time.time())['command']))"
    )

    def command(**environment: str) -> str | None:
        names = ("SUBMITIT_EXECUTOR", "FLAVA_COMMAND")
        kept = {name: value for name, value in os.environ.items() if name not in names}
        done = subprocess.run(
            [sys.executable, "-c", code, "--config", "a b.json"],
            env={**kept, **environment},
            capture_output=True,
            text=True,
            check=True,
        )
        found: str | None = json.loads(done.stdout)
        return found

    own = command()
    assert own is not None and own.startswith("python -c ") and own.endswith("--config 'a b.json'")
    assert command(SUBMITIT_EXECUTOR="local") is None
    assert command(SUBMITIT_EXECUTOR="local", FLAVA_COMMAND="launch it") == "launch it"


@pytest.mark.parametrize(
    ("hashes", "key"),
    [
        (lambda folder: selection_hashes(str(folder)), "arrays_sha256"),
        (
            lambda folder: token_hashes({"images": str(folder / "images.npy")}),
            "tokens_sha256.images",
        ),
        (lambda folder: model_hashes([folder / "record.json"]), "model_sha256"),
    ],
    ids=["selection", "image tokens", "model"],
)
def test_a_record_without_the_hashes_of_what_its_step_left_is_refused(
    tmp_path: Path, hashes: Callable[[Path], object], key: str
) -> None:
    write_json(tmp_path / "record.json", make_record("any", {}, time.time()))
    with pytest.raises(DataError, match=rf"record\.json has no extra\.{key}, .*Run that step"):
        hashes(tmp_path)
