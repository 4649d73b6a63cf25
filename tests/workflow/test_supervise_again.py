"""A launcher that comes after another one: what it takes over, cancels or submits anew."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from flava.io import write_json
from tests.workflow.fake_scheduler import RUNNING, Case, FakeClock, FakeScheduler, left, running
from workflow.launch import artifact
from workflow.launch.errors import LaunchError
from workflow.launch.states import JobState
from workflow.launch.step import report_path
from workflow.resources import Budgets


def test_reattaches_and_submits_nothing_twice(tmp_path: Path) -> None:
    scheduler = left(tmp_path, [running(0, 50)])
    case = Case(tmp_path, scheduler)
    scheduler.scripts = [[running(1, 20), case.finish()]]
    case.run()
    assert list(scheduler.names) == ["1"]
    # What was used before counts on.
    assert case.ticket()["attempts"][0]["seconds"] == {"0": 50, "1": 20}


def test_a_job_that_ended_alone_counts_or_is_followed(tmp_path: Path) -> None:
    scheduler = left(tmp_path, [RUNNING])
    case = Case(tmp_path, scheduler)
    scheduler.scripts = [[case.finish()]]
    scheduler.scripts[0][0]()  # ended, its record is there
    case.run()
    assert list(scheduler.names) == ["1"]
    (tmp_path / "other").mkdir()
    scheduler = left(tmp_path / "other", [RUNNING])
    case = Case(tmp_path / "other", scheduler)
    scheduler.scripts = [[JobState("COMPLETED")], [case.finish()]]  # its record was removed
    case.run()
    assert list(scheduler.names) == ["1", "2"] and case.ticket()["failures"] == 0


def ended_alone(folder: Path, told: str = "well") -> tuple[Case, FakeScheduler]:
    """Job 1 wrote its output and ended while nobody waited; then Snakemake removed the output."""
    folder.mkdir()
    scheduler = left(folder, [RUNNING])
    case = Case(folder, scheduler)
    state = case.finish()()
    artifact.keep([str(case.output)], scheduler.names["1"])
    write_json(report_path(str(folder / scheduler.names["1"]), 0), {"ended": told})
    case.output.unlink()
    scheduler.scripts = [[state], [case.finish()]]
    return case, scheduler


@pytest.mark.parametrize("state", ["COMPLETED", "GONE"])
def test_removed_outputs_of_a_job_that_ended_alone_are_taken_back(
    tmp_path: Path, state: str
) -> None:
    case, scheduler = ended_alone(tmp_path / "run")
    scheduler.scripts[0] = [JobState(state)]  # GONE: SLURM forgets jobs after minutes
    case.run()
    assert list(scheduler.names) == ["1"] and case.ticket()["status"] == "done"
    assert case.output.is_file() and not list(case.folder.glob(".*.kept-*"))


def test_a_file_system_without_hard_links_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*paths: object) -> None:
        raise PermissionError("no links here")

    monkeypatch.setattr(os, "link", refuse)
    artifact.keep([str(tmp_path / "record.json")], "job")
    assert "warning: no links here: not kept for a launcher" in capsys.readouterr().err


def test_outputs_removed_just_before_the_job_ends_are_taken_back(tmp_path: Path) -> None:
    case, scheduler = ended_alone(tmp_path / "run")
    scheduler.scripts[0] = [RUNNING, RUNNING, JobState("COMPLETED")]
    case.run()
    assert list(scheduler.names) == ["1"] and case.output.is_file()


@pytest.mark.parametrize("change", ["rank failed", "code", "configuration", "kept lost"])
def test_kept_outputs_that_do_not_count_are_dropped(tmp_path: Path, change: str) -> None:
    case, scheduler = ended_alone(
        tmp_path / "run", "crashed" if change == "rank failed" else "well"
    )
    if change == "code":
        ticket = case.ticket() | {"inputs": {str(tmp_path / "code.json"): "0"}}
        write_json(case.folder / "config.job.json", ticket)
        write_json(tmp_path / "code.json", {})
        case.inputs = (str(tmp_path / "code.json"),)
    elif change == "configuration":
        write_json(case.config, {"seed": 1})
    elif change == "kept lost":
        artifact.drop([str(case.output)])
    case.run()
    assert list(scheduler.names) == ["1", "2"] and scheduler.cancelled == []
    assert not list(case.folder.glob(".*.kept-*"))


def test_another_job_with_the_same_id_is_not_ours(tmp_path: Path) -> None:
    scheduler = left(tmp_path, [RUNNING])
    case = Case(tmp_path, scheduler)
    scheduler.scripts = [[JobState("RUNNING", name="somebody")], [case.finish()]]
    case.run()
    assert list(scheduler.names) == ["1", "2"] and scheduler.cancelled == []


def test_a_job_of_an_earlier_configuration_is_cancelled(tmp_path: Path) -> None:
    scheduler = left(tmp_path, [RUNNING])
    write_json(tmp_path / "config.json", {"seed": 1})
    case = Case(tmp_path, scheduler)
    scheduler.scripts.append([case.finish()])
    case.run()
    assert scheduler.cancelled == ["1"] and list(scheduler.names) == ["1", "2"]


@pytest.mark.parametrize("file", ["code/pretrain.json", "parent/record.json"])
def test_a_job_on_earlier_code_or_an_earlier_model_is_cancelled(
    tmp_path: Path, file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    inputs = tuple(str(tmp_path / name) for name in ("code/pretrain.json", "parent/record.json"))
    for path in inputs:
        write_json(Path(path), {"of": "the first plan"})
    scheduler = FakeScheduler(scripts=[[RUNNING]])
    case = Case(tmp_path, scheduler, clock=FakeClock({9.0: signal.SIGTERM}), inputs=inputs)
    with pytest.raises(SystemExit):
        case.run()
    same = Case(tmp_path, scheduler, clock=FakeClock({9.0: signal.SIGTERM}), inputs=inputs)
    with pytest.raises(SystemExit):
        same.run()
    assert scheduler.cancelled == [] and list(scheduler.names) == ["1"]
    write_json(tmp_path / file, {"of": "a later plan"})
    last = Case(tmp_path, scheduler, inputs=inputs)
    scheduler.scripts.append([last.finish()])
    last.run()
    assert scheduler.cancelled == ["1"] and list(scheduler.names) == ["1", "2"]
    assert f"job 1 was started before {tmp_path / file} changed" in capsys.readouterr().err


def test_ctrl_c_cancels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scheduler = FakeScheduler(scripts=[[RUNNING]])
    case = Case(tmp_path, scheduler, clock=FakeClock({9.0: signal.SIGINT}))
    with pytest.raises(SystemExit) as caught:
        case.run()
    assert caught.value.code == 130 and scheduler.cancelled == ["1"]
    assert "SIGINT: cancelling job 1 of pretrain" in capsys.readouterr().err
    assert case.ticket()["status"] == "cancelled"
    scheduler.scripts.append([case.finish()])
    Case(tmp_path, scheduler).run()
    assert list(scheduler.names) == ["1", "2"]


def test_a_new_launcher_tells_the_jobs_before_and_begins_the_budgets_anew(tmp_path: Path) -> None:
    scheduler = FakeScheduler(scripts=[[JobState("FAILED")], [RUNNING]])
    case = Case(tmp_path, scheduler, Budgets(failures=1), clock=FakeClock({9.0: signal.SIGINT}))
    with pytest.raises(SystemExit):
        case.run()
    assert case.ticket()["failures"] == 1
    again = Case(tmp_path, scheduler, Budgets(failures=1))
    scheduler.scripts += [[JobState("FAILED")], [JobState("FAILED")]]
    with pytest.raises(LaunchError, match="budget of 1 failures is used up"):
        again.run()
    last = Case(tmp_path, scheduler)
    scheduler.scripts += [[last.finish()]]
    last.run()
    told = {job: dict(step.told)["FLAVA_JOB_IDS"] for job, step in scheduler.steps.items()}
    assert told == {"1": "", "2": "1", "3": "1,2", "4": "1,2,3", "5": "1,2,3,4"}


@pytest.mark.parametrize("change", ["it is done", "another configuration"])
def test_jobs_of_other_work_are_not_told(tmp_path: Path, change: str) -> None:
    scheduler = FakeScheduler()
    case = Case(tmp_path, scheduler)
    scheduler.scripts = [[case.finish()], [case.finish()]]
    if change != "it is done":
        scheduler.scripts[0] = [JobState("CANCELLED")]
        with pytest.raises(LaunchError):
            case.run()
        write_json(tmp_path / "config.json", {"seed": 1})
    else:
        case.run()
    Case(tmp_path, scheduler).run()
    assert dict(scheduler.steps["2"].told)["FLAVA_JOB_IDS"] == ""


def test_a_job_that_could_not_be_cancelled_is_found_again(tmp_path: Path) -> None:
    scheduler = FakeScheduler(scripts=[[RUNNING]], answers_cancel=False)
    case = Case(tmp_path, scheduler, clock=FakeClock({9.0: signal.SIGINT}))
    with pytest.raises(LaunchError, match=r"job 1 of pretrain .* not be cancelled.*scancel 1"):
        case.run()
    assert case.ticket()["status"] == "running"
    scheduler.scripts = [[RUNNING, case.finish()]]
    Case(tmp_path, scheduler).run()
    assert list(scheduler.names) == ["1"]  # taken over: nothing is submitted beside it
