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
from flava.processes import Hardware, Process
from flava.records import Earlier, load_record, make_record, parse_record
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
    earlier = Earlier(jobs=["70"])
    earlier.add(100.0, Earlier().account())
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


H100, CPU = ["Fake H100"] * 8, list[str]()


def process(ranks: int, gpus: list[str], torch: str = "2.6.0") -> Process:
    hardware = Hardware(cpu="Fake CPU", cores=64, gpus=gpus)
    return Process(ranks=ranks, hardware=hardware, python="3.12", packages={"torch": torch})


def continued(hours: list[float], processes: list[Process]) -> dict[str, object]:
    """The record of a training whose last process ends where the others' checkpoint was left."""
    total, account = 0.0, None
    for number, now in enumerate(processes):
        earlier = Earlier(now=now)
        if number:
            earlier.add(total, account)
        total += 3600 * hours[number]
        account = json.loads(json.dumps(earlier.account()))
    started = time.time() - 3600 * hours[-1]
    return make_record("pretrain", {}, started, earlier=earlier)


@pytest.mark.parametrize(
    ("hours", "processes", "gpu_hours", "ranks_before"),
    [
        ([40, 1], [process(32, H100), process(8, H100)], 1288, [32]),
        ([40, 1, 2], [process(32, H100), process(8, H100), process(1, CPU)], 1288, [32, 8]),
        ([5, 1, 2, 3], [process(n, H100) for n in (8, 16, 8, 4)], 84, [8, 16]),
        ([3, 1], [process(2, CPU), process(4, H100)], 4, [2]),
        ([3, 1], [process(4, H100), process(4, H100)], 16, []),
    ],
    ids=["fewer ranks", "ends on a CPU", "back and forth", "begins on a CPU", "the same"],
)
def test_gpu_hours_are_summed_over_processes(
    hours: list[float], processes: list[Process], gpu_hours: float, ranks_before: list[int]
) -> None:
    """Hours times ranks, process by process."""
    record = continued(hours, processes)
    assert record["gpu_hours"] == pytest.approx(gpu_hours, abs=0.05)
    assert record["wall_seconds"] == pytest.approx(3600 * sum(hours), abs=5)
    work = parse_record(record, "here").earlier_work
    assert [each.process and each.process.ranks for each in work] == ranks_before


def test_another_version_under_an_unfinished_run_is_said_and_recorded(
    capsys: pytest.CaptureFixture[str],
) -> None:
    record = continued([1, 1, 1], [process(2, CPU, torch) for torch in ("2.5", "2.6", "2.7")])
    told = capsys.readouterr().err.splitlines()
    assert told == [
        "continuing with torch 2.6 (before: 2.5); the record will name all",
        "continuing with torch 2.7 (before: 2.5, 2.6); the record will name all",
    ]
    work = parse_record(record, "here").known_before
    assert [each.packages["torch"] for each in work] == ["2.5", "2.6"]
    continued([1, 1], [process(2, CPU), process(4, H100)])
    assert capsys.readouterr().err == ""


def test_work_of_an_older_checkpoint_counts_as_if_on_the_last_process() -> None:
    earlier = Earlier(now=process(8, H100))
    earlier.add(7200.0, {"code": [], "jobs": []})
    account = earlier.account()
    last = Earlier(now=process(4, H100))
    last.add(10800.0, account)
    record = make_record("pretrain", {}, time.time(), earlier=last)
    assert record["gpu_hours"] == pytest.approx(2 * 4 + 1 * 8, abs=0.05)
    unknown, known = record["earlier_work"]
    assert (unknown, known["seconds"]) == ({"seconds": 7200.0, "process": None}, 3600.0)


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


def test_the_third_format_is_read_as_the_fourth_and_no_other_is(tmp_path: Path) -> None:
    new = make_record("pretrain", {}, time.time())
    third = {k: v for k, v in new.items() if k != "earlier_work"} | {"format": 3}
    write_json(tmp_path / "record.json", third)
    record = load_record(tmp_path / "record.json")
    assert (record.format, record.earlier_work) == (4, [])
    write_json(tmp_path / "record.json", {**third, "format": 4})
    with pytest.raises(DataError, match="not a valid record: earlier_work"):
        load_record(tmp_path / "record.json")
    for other in (1, 2, 5, "4"):
        write_json(tmp_path / "record.json", {**new, "format": other})
        says = r"record.json is not a valid record: format: Input should be 4. Delete it and run"
        with pytest.raises(DataError, match=says):
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
