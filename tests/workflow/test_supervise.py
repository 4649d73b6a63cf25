"""What the launcher does on every event, with a scripted scheduler."""

from __future__ import annotations

from pathlib import Path

import pytest

from flava.io import write_json
from tests.workflow.fake_scheduler import (
    PENDING,
    RUNNING,
    Case,
    FakeClock,
    FakeScheduler,
    left,
    running,
)
from workflow.launch import artifact
from workflow.launch.errors import LaunchError
from workflow.launch.states import GONE, SILENT, JobState
from workflow.launch.step import Report, report_path
from workflow.launch.ticket import TicketFile, unique_name
from workflow.resources import Budgets, Request


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


@pytest.mark.parametrize("warned", [False, True])
@pytest.mark.parametrize("name", ["prepare", "hash", "leaks"])
def test_a_step_that_begins_anew_ends_at_its_second_time_limit(
    tmp_path: Path, name: str, warned: bool
) -> None:
    """It would never get further; with a warning submitit counts, as it is told to."""
    scheduler = FakeScheduler(scripts=[[RUNNING, JobState("TIMEOUT")]] * 3)
    case = Case(tmp_path, scheduler, name=name)

    def fail() -> JobState:
        words = "Job not requeued because: timed-out too many times."
        report = Report(ended="not requeued", message=words, exit_code=2)
        write_json(report_path(scheduler.steps["1"].reports, 0), report.model_dump())
        return JobState("FAILED")

    if warned:
        scheduler.scripts = [[RUNNING, running(1, 5), fail]]
    with pytest.raises(
        LaunchError, match=rf"{name} begins anew .*: raise its `time` \(`rules: {name}`"
    ):
        case.run()
    assert len(scheduler.names) == (1 if warned else 2)


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
        (JobState("OUT_OF_MEMORY"), r"ran out of memory: raise its `mem` \(`rules: pretrain`"),
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


def test_a_killed_rank_may_have_wanted_memory(tmp_path: Path) -> None:
    """Anybody's SIGKILL looks the same: it is tried again, and the error says what may help."""
    killed = JobState("FAILED", exit_code="137:0", killed=True)
    scheduler = FakeScheduler(scripts=[[RUNNING, killed], [RUNNING, killed]])
    case = Case(tmp_path, scheduler, budgets=Budgets(failures=1), name="evaluate")
    with pytest.raises(LaunchError, match=r"for want of memory, raise its `mem` \(`rules: eval"):
        case.run()
    assert len(scheduler.names) == 2


@pytest.mark.parametrize(
    ("ended", "message", "jobs"),
    [
        ("refused", "shard 7 is truncated", 1),
        ("crashed", "KeyError: 'image'", 1),
        ("crashed", "RuntimeError: mat1 and mat2 shapes cannot be multiplied (2x3 and 2x3)", 1),
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


def test_a_job_that_used_up_the_gpu_hours_is_not_submitted_again(tmp_path: Path) -> None:
    lost = JobState("NODE_FAIL", seconds={0: 3600})
    scheduler = FakeScheduler(scripts=[[RUNNING, lost], [RUNNING]])
    request = Request(gpus_per_node=4, ranks=4)
    with pytest.raises(LaunchError, match=r"used 4\.00 GPU-hours; the budget is 2"):
        Case(tmp_path, scheduler, Budgets(gpu_hours=2.0), request).run()
    assert list(scheduler.names) == ["1"] and scheduler.cancelled == []


def test_seconds_that_slurm_forgets_stay_counted(tmp_path: Path) -> None:
    scheduler = FakeScheduler()
    case = Case(tmp_path, scheduler)
    scheduler.scripts = [[running(0, 50), running(0, 0), case.finish()]]
    case.run()
    assert case.ticket()["attempts"][0]["seconds"] == {"0": 50}


def test_an_empty_output_is_no_success(tmp_path: Path) -> None:
    case = Case(tmp_path, FakeScheduler())
    output = tmp_path / "images.npz"
    output.touch()
    assert artifact.missing([str(output)], str(case.config)) == f"{output} is empty"


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


def test_outputs_that_nfs_shows_late_are_waited_for(tmp_path: Path) -> None:
    """Its clients may look for new names of a folder once a minute alone (acdirmax)."""

    class Shared(FakeClock):
        def pause(self, seconds: float) -> None:
            super().pause(seconds)
            if self.time > 75:
                case.finish()()

    case = Case(tmp_path, FakeScheduler(scripts=[[JobState("COMPLETED")]]), clock=Shared())
    case.run()
    assert list(case.scheduler.names) == ["1"] and case.ticket()["failures"] == 0


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
