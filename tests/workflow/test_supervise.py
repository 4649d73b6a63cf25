"""What the launcher does on every event, with a scripted scheduler."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from flava.io import read_json, write_json
from tests.workflow.fake_scheduler import Case, FakeClock, FakeScheduler
from workflow.launch.errors import LaunchError, RefusedError
from workflow.launch.states import GONE, SILENT, JobState
from workflow.launch.step import Report, report_path
from workflow.launch.ticket import TicketFile, unique_name
from workflow.resources import Budgets, Request

PENDING, RUNNING = JobState("PENDING", reason="Priority"), JobState("RUNNING")


def running(run: int, seconds: float) -> JobState:
    """In its run with this number."""
    return JobState("RUNNING", seconds={run: seconds})


def test_waits_for_a_valid_record(tmp_path: Path) -> None:
    scheduler = FakeScheduler()
    case = Case(tmp_path, scheduler)
    scheduler.scripts = [[PENDING, RUNNING, case.finish()]]
    case.run()
    assert case.ticket()["status"] == "done"
    assert [each["job"] for each in case.ticket()["attempts"]] == ["1"]


@pytest.mark.parametrize(
    ("state", "kind"),
    [
        ("TIMEOUT", "timeouts"),
        ("NODE_FAIL", "requeues"),
        ("BOOT_FAIL", "requeues"),
        ("PREEMPTED", "requeues"),
        ("FAILED", "failures"),
        ("COMPLETED", "failures"),
        ("GONE", "failures"),
    ],
)
def test_is_submitted_again_until_the_budget_ends(tmp_path: Path, state: str, kind: str) -> None:
    scheduler = FakeScheduler(scripts=[[RUNNING, JobState(state)]] * 3)
    case = Case(tmp_path, scheduler, Budgets(**{kind: 2}))
    with pytest.raises(LaunchError, match=f"budget of 2 {kind} is used up") as caught:
        case.run()
    assert len(scheduler.names) == 3 and len(set(scheduler.names.values())) == 3
    assert "slurm job 3 of pretrain" in str(caught.value) and f"state {state}" in str(caught.value)
    assert case.ticket()["status"] == "failed" and case.ticket()[kind] == 2


@pytest.mark.parametrize("state", ["TIMEOUT", "NODE_FAIL", "PREEMPTED", "FAILED", "GONE"])
def test_continues_in_the_next_job(tmp_path: Path, state: str) -> None:
    scheduler = FakeScheduler()
    case = Case(tmp_path, scheduler)
    scheduler.scripts = [[RUNNING, JobState(state)], [PENDING, RUNNING, case.finish()]]
    case.run()
    assert list(scheduler.names) == ["1", "2"] and case.ticket()["status"] == "done"


@pytest.mark.parametrize("state", ["TIMEOUT", "CANCELLED", "FAILED", "NODE_FAIL", "GONE"])
def test_a_valid_record_is_success_whatever_the_state(tmp_path: Path, state: str) -> None:
    scheduler = FakeScheduler()
    case = Case(tmp_path, scheduler)
    scheduler.scripts = [[case.finish(state)]]
    case.run()
    assert case.ticket()["status"] == "done"


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (JobState("CANCELLED", by="1000"), "Somebody cancelled it by user 1000"),
        (JobState("OUT_OF_MEMORY"), "ran out of memory. Ask for more `mem`"),
        (JobState("DEADLINE"), "SLURM ended it: DEADLINE"),
    ],
)
def test_some_ends_are_one_clear_error(tmp_path: Path, state: JobState, message: str) -> None:
    scheduler = FakeScheduler(scripts=[[RUNNING, state]])
    case = Case(tmp_path, scheduler)
    (tmp_path / "1_0_log.err").write_text("first line\nMemoryError: last line\n")
    scheduler.logs = lambda job, rank: (tmp_path, tmp_path / f"{job}_{rank}_log.err")
    with pytest.raises(LaunchError, match=message) as caught:
        case.run()
    assert len(scheduler.names) == 1
    assert f"Log: {tmp_path}/1_0_log.err" in str(caught.value)
    assert str(caught.value).endswith("MemoryError: last line")


@pytest.mark.parametrize(
    ("ended", "message", "jobs"),
    [
        ("refused", "shard 7 is truncated", 1),
        ("crashed", "KeyError: 'image'", 1),
        ("crashed", "torch.OutOfMemoryError: CUDA out of memory", 1),
        ("crashed", "RuntimeError: [gloo] Connection closed by peer", 2),
        ("crashed", "OSError: [Errno 116] Stale file handle", 2),
        ("refused", "Another process is training this run: it holds lock", 2),
        ("not requeued", "scontrol requeue failed", 2),
        ("not requeued", "Job not requeued because: timed-out too many times.", 1),
    ],
)
def test_errors_that_would_come_again_are_not_retried(
    tmp_path: Path, ended: str, message: str, jobs: int
) -> None:
    scheduler = FakeScheduler()
    case = Case(tmp_path, scheduler, request=Request(ranks=2))

    def fail() -> JobState:
        report = Report(ended=ended, message=message, exit_code=1)
        write_json(report_path(scheduler.steps["1"].reports, 1), report.model_dump())
        return JobState("FAILED")

    scheduler.scripts = [[RUNNING, fail], [case.finish()]]
    if jobs == 2:
        case.run()
    else:
        with pytest.raises(LaunchError, match=r"Rank 1 failed: |as often as `timeouts` allows"):
            case.run()
    assert len(scheduler.names) == jobs


def test_silence_is_waited_out_and_the_job_left_alone(tmp_path: Path) -> None:
    scheduler = FakeScheduler()
    case = Case(tmp_path, scheduler)
    scheduler.scripts = [[SILENT, SILENT, RUNNING, SILENT, case.finish()]]
    case.run()
    assert len(scheduler.names) == 1
    endless = FakeScheduler(scripts=[[RUNNING, SILENT]])
    (tmp_path / "other").mkdir()
    case = Case(tmp_path / "other", endless, Budgets(silent_hours=2.0))
    with pytest.raises(LaunchError, match=r"not answered for 2 hours.*re-attaches"):
        case.run()
    assert endless.cancelled == [] and case.ticket()["status"] == "running"
    assert 2 * 3600 <= case.clock.time < 2 * 3600 + 60


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (PENDING, "waited 3 hours in the queue"),
        (JobState("REQUEUE_HOLD", reason="job_requeued_in_held_state"), "waited 3 hours"),
        (JobState("PENDING", reason="InvalidAccount"), "can never start: InvalidAccount"),
        (JobState("PENDING", reason="PartitionTimeLimit"), "can never start"),
    ],
)
def test_a_job_that_does_not_start_is_cancelled(
    tmp_path: Path, state: JobState, message: str
) -> None:
    scheduler = FakeScheduler(scripts=[[state]])
    with pytest.raises(LaunchError, match=message):
        Case(tmp_path, scheduler, Budgets(pending_hours=3.0)).run()
    assert scheduler.cancelled == ["1"]


@pytest.mark.parametrize("reason", ["JobHeldUser", "JobHeldAdmin", "job_requeued_in_held_state"])
def test_a_held_job_is_told_once_and_waited_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], reason: str
) -> None:
    scheduler = FakeScheduler()
    case = Case(tmp_path, scheduler)
    held = JobState("PENDING", reason=reason)
    scheduler.scripts = [[PENDING, held, held, held, RUNNING, case.finish()]]
    case.run()
    assert capsys.readouterr().err.count(f"job 1 is held ({reason}): `scontrol release 1`") == 1
    assert scheduler.cancelled == [] and case.ticket()["status"] == "done"


LAUNCH_FAILED = ["launch_failed_requeued_held", "JobHoldMaxRequeue"]


@pytest.mark.parametrize("reason", LAUNCH_FAILED)
def test_a_job_that_a_node_failed_to_start_gets_another_chance(tmp_path: Path, reason: str) -> None:
    scheduler = FakeScheduler()
    case = Case(tmp_path, scheduler)
    held = JobState("PENDING", reason=reason, seconds={1: 0})
    scheduler.scripts = [[PENDING, held], [PENDING, RUNNING, case.finish()]]
    case.run()
    assert scheduler.cancelled == ["1"] and list(scheduler.names) == ["1", "2"]
    assert case.ticket()["requeues"] == 1 and case.clock.time < 300


@pytest.mark.parametrize("reason", LAUNCH_FAILED)
@pytest.mark.parametrize(("requeues", "jobs"), [(50, ["1", "2"]), (1, ["1"])])
def test_a_job_that_nodes_fail_to_start_is_an_error(
    tmp_path: Path, reason: str, requeues: int, jobs: list[str]
) -> None:
    held = JobState("REQUEUE_HOLD", reason=reason, seconds={1: 0})
    scheduler = FakeScheduler(scripts=[[held], [held], [RUNNING]])
    with pytest.raises(
        LaunchError, match=rf"job {jobs[-1]} of pretrain .*could not start"
    ) as caught:
        Case(tmp_path, scheduler, Budgets(requeues=requeues)).run()
    assert scheduler.cancelled == list(scheduler.names) == jobs
    assert f"reason {reason}" in str(caught.value) and "Log: " in str(caught.value)


def test_waiting_again_after_a_requeue_counts_anew(tmp_path: Path) -> None:
    scheduler = FakeScheduler()
    case = Case(tmp_path, scheduler, Budgets(pending_hours=0.1))
    waits = [PENDING] * 11  # up to 30 s each
    scheduler.scripts = [[*waits, running(0, 5), *waits, case.finish()]]
    case.run()
    assert scheduler.cancelled == []


def test_a_silent_moment_does_not_end_the_waiting(tmp_path: Path) -> None:
    scheduler = FakeScheduler()
    case = Case(tmp_path, scheduler, Budgets(pending_hours=0.2))
    scheduler.scripts = [[*[PENDING, SILENT] * 30, case.finish()]]  # 30 minutes
    with pytest.raises(LaunchError, match=r"waited 0\.2 hours in the queue"):
        case.run()
    assert scheduler.cancelled == ["1"]
    (tmp_path / "other").mkdir()
    scheduler = FakeScheduler()
    case = Case(tmp_path / "other", scheduler, Budgets(pending_hours=0.2))
    # In silence it may have started: it is not cancelled before the next answer.
    scheduler.scripts = [[*[PENDING] * 12, *[SILENT] * 30, case.finish()]]
    case.run()
    assert scheduler.cancelled == []


def test_budgets_end_a_living_job(tmp_path: Path) -> None:
    scheduler = FakeScheduler(scripts=[[running(run, 60) for run in range(5)]])
    with pytest.raises(LaunchError, match="requeued 3 times; the budget is 2 requeues"):
        Case(tmp_path, scheduler, Budgets(requeues=2)).run()
    assert scheduler.cancelled == ["1"]
    hours = [running(0, 3600), running(1, 1800), running(1, 5400)]
    scheduler = FakeScheduler(scripts=[hours])
    (tmp_path / "other").mkdir()
    request = Request(nodes=2, gpus_per_node=4, ranks=8)
    case = Case(tmp_path / "other", scheduler, Budgets(gpu_hours=13.0), request)
    with pytest.raises(LaunchError, match=r"used 20.00 GPU-hours; the budget is 13"):
        case.run()
    assert scheduler.cancelled == ["1"]


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


def left(folder: Path, script: list[JobState]) -> FakeScheduler:
    """A scheduler with job 1, whose launcher was ended by SIGTERM."""
    scheduler = FakeScheduler(scripts=[script])
    case = Case(folder, scheduler, clock=FakeClock({1.0: signal.SIGTERM}))
    with pytest.raises(SystemExit) as caught:
        case.run()
    assert caught.value.code == 143 and scheduler.cancelled == []
    assert case.ticket()["status"] == "running"
    return scheduler


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


def test_lost_job_is_followed_by_a_new_one(tmp_path: Path) -> None:
    scheduler = left(tmp_path, [RUNNING])
    case = Case(tmp_path, scheduler)
    scheduler.scripts = [[GONE], [case.finish()]]
    case.run()
    assert list(scheduler.names) == ["1", "2"]


def test_a_lost_job_of_this_machine_is_not_laid_to_slurm(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scheduler = FakeScheduler(kind="local")
    case = Case(tmp_path, scheduler)
    scheduler.scripts = [[RUNNING, GONE], [case.finish()]]
    case.run()
    told = capsys.readouterr().err
    assert "Its processes are gone" in told and "SLURM" not in told


def test_a_record_of_another_configuration_is_no_success(tmp_path: Path) -> None:
    scheduler = FakeScheduler(scripts=[[JobState("COMPLETED")]])
    case = Case(tmp_path, scheduler, Budgets(failures=0))
    write_json(case.config, {"seed": 7})
    case.finish()()
    write_json(case.config, {"seed": 8})
    with pytest.raises(LaunchError, match="is of another configuration"):
        case.run()


def test_a_second_launcher_is_refused(tmp_path: Path) -> None:
    file = TicketFile(str(tmp_path / "config.json"))
    with (
        file.held(),
        pytest.raises(LaunchError, match="Another launcher waits for this step"),
        file.held(seconds=0.3),
    ):
        pass
    with file.held(seconds=0.3):
        pass


def test_a_damaged_ticket_is_not_overwritten(tmp_path: Path) -> None:
    case = Case(tmp_path, FakeScheduler())
    (tmp_path / "config.job.json").write_text('{"cluster": "slurm"')
    with pytest.raises(LaunchError, match=r"config.job.json is not valid JSON.*squeue --me"):
        case.run()


@pytest.mark.parametrize(
    ("config", "name"),
    [
        ("results/toy/runs/mim-s0/config.json", "flava-step-mim-s0-"),
        ("results/toy/runs/mim-s0/evaluate/nlp.config.json", "flava-step-mim-s0-nlp-"),
        ("results/toy/configs/hash_pairs.json", "flava-step-hash_pairs-"),
    ],
)
def test_names_of_jobs_tell_what_they_work_on(config: str, name: str) -> None:
    first, second = unique_name("step", config), unique_name("step", config)
    assert first.startswith(name) and first[: len(name)] == second[: len(name)]
    assert first != second
