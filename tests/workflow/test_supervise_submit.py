"""Submissions that are refused, or whose answer is lost: no job twice, none forgotten."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from flava.io import read_json
from tests.workflow.fake_scheduler import RUNNING, Case, FakeClock, FakeScheduler
from workflow.launch.errors import LaunchError, RefusedError
from workflow.resources import Budgets, Request


def test_overloaded_scheduler_is_asked_again(tmp_path: Path) -> None:
    refusals = [RefusedError("Socket timed out", later=True) for _ in range(3)]
    scheduler = FakeScheduler(refusals=refusals)
    case = Case(tmp_path, scheduler)
    scheduler.scripts = [[case.finish()]]
    case.run()
    assert case.clock.time >= 5 + 10 + 20 and list(scheduler.names) == ["1"]


def test_a_submission_whose_answer_was_lost_is_not_doubled(tmp_path: Path) -> None:
    scheduler = FakeScheduler(refusals=[RefusedError("timed out", later=True)], found="77")
    case = Case(tmp_path, scheduler)
    scheduler.scripts = [[case.finish()]]
    case.run()
    assert scheduler.cancelled == ["77"]


def test_nothing_is_submitted_before_a_silent_controller_tells(tmp_path: Path) -> None:
    refusals = [RefusedError("timed out", later=True)]
    scheduler = FakeScheduler(refusals=refusals, found="77", silent=3)
    case = Case(tmp_path, scheduler)
    scheduler.scripts = [[case.finish()]]
    case.run()
    assert scheduler.cancelled == ["77"] and case.clock.time >= 5 + 10 + 20


def test_a_launcher_that_ends_in_doubt_leaves_the_question(tmp_path: Path) -> None:
    refusals = [RefusedError("timed out", later=True)]
    scheduler = FakeScheduler(refusals=refusals, silent=99)
    clock = FakeClock({60.0: signal.SIGTERM})
    with pytest.raises(SystemExit):
        Case(tmp_path, scheduler, clock=clock).run()
    # The next one is in doubt too, and must keep it.
    with pytest.raises(SystemExit):
        Case(tmp_path, scheduler, clock=FakeClock({60.0: signal.SIGTERM})).run()
    after = FakeScheduler(found="1", names={"1": case_name(tmp_path)})
    case = Case(tmp_path, after)
    after.scripts = [[RUNNING, case.finish()]]
    case.run()
    assert list(after.names) == ["1"] and after.cancelled == []


def case_name(folder: Path) -> str:
    """Name of the newest job in the ticket."""
    return read_json(folder / "config.job.json")["attempts"][-1]["name"]


def test_refusals_end(tmp_path: Path) -> None:
    refusal = RefusedError("Invalid qos specification", later=False)
    case = Case(tmp_path, FakeScheduler(refusals=[refusal]), request=Request(qos="gold"))
    with pytest.raises(LaunchError, match=r"Invalid qos specification Asked for: .*qos gold"):
        case.run()
    many = [RefusedError("QOSMaxSubmitJobPerUserLimit", later=True) for _ in range(99)]
    (tmp_path / "other").mkdir()
    case = Case(tmp_path / "other", FakeScheduler(refusals=many), Budgets(pending_hours=1.0))
    with pytest.raises(LaunchError, match="QOSMaxSubmitJobPerUserLimit"):
        case.run()
    assert 3600 < case.clock.time < 4000


@pytest.mark.parametrize("complete", [True, False])
def test_killed_while_submitting(tmp_path: Path, complete: bool) -> None:
    class Killed(BaseException):
        pass

    class Killing(FakeScheduler):
        def submit(self, *arguments: object) -> str:
            super().submit(*arguments)
            raise Killed

    scheduler = Killing()
    with pytest.raises(Killed):
        Case(tmp_path, scheduler).run()
    after = FakeScheduler(names=dict(scheduler.names), found="1", complete=complete)
    case = Case(tmp_path, after)
    after.scripts = [[RUNNING, case.finish()], [case.finish()]]
    case.run()
    assert list(after.names) == (["1"] if complete else ["1", "2"])
    assert after.cancelled == ([] if complete else ["1"])
