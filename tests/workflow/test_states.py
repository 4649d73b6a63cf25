"""What SLURM says of jobs: recorded from SLURM 22.05 (slurm_22_05.json), and as in its manual."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from submitit.core.utils import DelayedSubmission

from flava.io import read_json
from workflow.launch import slurm
from workflow.launch.slurm import LATER, Slurm, outer_job_hidden, parameters, refusal
from workflow.launch.states import from_sacct, from_scontrol, seconds
from workflow.launch.step import Step
from workflow.resources import ClusterConfig, Request

RECORDED = read_json(Path(__file__).with_name("slurm_22_05.json"))

# name: state, ended, reason of the controller, seconds by the controller, exit code, by whom
EXPECTED = {
    "pending": ("PENDING", False, "Resources", {0: 0}, "0:0", ""),
    "running": ("RUNNING", False, "", {0: 2}, "0:0", ""),
    "requeued": ("PENDING", False, "BeginTime", {1: 0}, "0:0", ""),
    "running again": ("RUNNING", False, "", {1: 8}, "0:0", ""),
    "completed": ("COMPLETED", True, "", {0: 1}, "0:0", ""),
    "failed": ("FAILED", True, "NonZeroExitCode", {0: 0}, "3:0", ""),
    "cancelled": ("CANCELLED", True, "", {0: 2}, "0:15", "0"),
    "node lost": ("NODE_FAIL", True, "NodeDown", {0: 30}, "0:0", ""),
    "timeout": ("TIMEOUT", True, "TimeLimit", {0: 88}, "0:15", ""),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_controller(name: str) -> None:
    state, ended, reason, times, code, _ = EXPECTED[name]
    found = from_scontrol(RECORDED[name]["scontrol"])
    assert (found.state, found.ended, found.reason) == (state, ended, reason)
    assert (found.seconds, found.exit_code) == (times, code)
    assert found.name == "wrap" or found.name.startswith("flava-")
    assert found.restarts == max(times)


@pytest.mark.parametrize("name", EXPECTED)
def test_accounting(name: str) -> None:
    state, ended, _, times, _, by = EXPECTED[name]
    found = from_sacct(RECORDED[name]["sacct"])
    assert (found.state, found.ended, found.by) == (state, ended, by)
    if name == "running again":
        assert found.seconds == {0: 2, 1: 8}
    elif name != "requeued":
        assert found.seconds == times
    assert found.nodes == ("" if name == "pending" else found.nodes)


@pytest.mark.parametrize(
    ("text", "state", "by", "total"),
    [
        ("j|OUT_OF_MEMORY|7|0:125|n1", "OUT_OF_MEMORY", "", 7),
        ("j|FAILED|7|1:0|n1|0:125", "OUT_OF_MEMORY", "", 7),
        ("j|FAILED|7|1:0|n1|0:9", "FAILED", "", 7),
        ("j|PREEMPTED|30|0:0|n1\nj|PENDING|0|0:0|None assigned", "PENDING", "", 30),
        ("j|PREEMPTED|30|0:0|n1", "PREEMPTED", "", 30),
        ("j|NODE_FAIL|9|0:0|n1\nj|COMPLETED|5|0:0|n2", "COMPLETED", "", 14),
        ("j|CANCELLED by 1003|4|0:0|n[1-2]", "CANCELLED", "1003", 4),
        ("j|BOOT_FAIL|0|0:0|n1", "BOOT_FAIL", "", 0),
        ("j|DEADLINE|0|0:0|", "DEADLINE", "", 0),
        ("", "GONE", "", 0),
        ("slurm_persist_conn_open_without_init: failed to open", "GONE", "", 0),
    ],
)
def test_accounting_of_the_manual(text: str, state: str, by: str, total: float) -> None:
    found = from_sacct(text + "\n")
    assert (found.state, found.by, sum(found.seconds.values())) == (state, by, total)


def test_durations() -> None:
    texts = ("00:00:10", "1-02:03:04", "05:06", "UNLIMITED", "")
    assert [seconds(text) for text in texts] == [10, 93784, 306, 0, 0]


Answer = tuple[int, str, str]
UNKNOWN: Answer = (1, "", "slurm_load_jobs error: Invalid job id specified")


@pytest.mark.parametrize(
    ("said", "state"),
    [
        ("exceeded memory limit (1162776576 > 314572800), being killed", "OUT_OF_MEMORY"),
        ("*** STEP 7.0 ON n1 CANCELLED AT 2026-11-29T14:41:34 ***", "FAILED"),
        (None, "FAILED"),
    ],
)
@pytest.mark.parametrize("forgotten", [False, True])
def test_a_step_that_slurm_killed_for_its_memory_is_out_of_memory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, said: str | None, state: str, forgotten: bool
) -> None:
    """Its state is that of any killed step; the words are of SLURM 22.05 with OverMemoryKill."""
    answers = {
        "scontrol": UNKNOWN
        if forgotten
        else (0, "JobName=j JobState=FAILED ExitCode=137:0 DerivedExitCode=0:9 RunTime=00:01", ""),
        "sacct": (0, "j|FAILED|1|9:0|n1|0:9", ""),
    }
    monkeypatch.setattr(slurm, "ask", lambda *of: subprocess.CompletedProcess(of, *answers[of[0]]))
    (tmp_path / "7_0_log.err").write_text("epoch 1\n")
    if said is not None:
        (tmp_path / "7_1_log.err").write_text(f"slurmstepd-n1: error: StepId=7.0 {said}\n")
    found = Slurm(ClusterConfig(kind="slurm"), tmp_path).state("7")
    assert found.state == state and found.killed


DOWN: Answer = (1, "", "slurm_load_jobs error: Unable to contact slurm controller")
NO_SACCT: Answer = (127, "", "No such file or directory: 'sacct'")


@pytest.mark.parametrize(
    ("controller", "accounting", "state"),
    [
        ((0, RECORDED["running"]["scontrol"], ""), NO_SACCT, "RUNNING"),
        (UNKNOWN, (0, RECORDED["timeout"]["sacct"], ""), "TIMEOUT"),
        (UNKNOWN, NO_SACCT, "GONE"),
        (UNKNOWN, (1, "", "Slurm accounting storage is disabled"), "GONE"),
        (UNKNOWN, (1, "", "Problem talking to the database"), "SILENT"),
        (UNKNOWN, (127, "", "Command 'sacct' timed out after 60.0 seconds"), "SILENT"),
        (UNKNOWN, (0, "", ""), "GONE"),
        # The accounting lags behind a controller that has forgotten the job.
        (UNKNOWN, (0, RECORDED["running"]["sacct"], ""), "GONE"),
        (DOWN, (0, RECORDED["running"]["sacct"], ""), "RUNNING"),
        (DOWN, (0, RECORDED["completed"]["sacct"], ""), "COMPLETED"),
        (DOWN, (1, "", "Problem talking to the database"), "SILENT"),
        (DOWN, NO_SACCT, "SILENT"),
        (DOWN, (0, "", ""), "SILENT"),
    ],
)
def test_who_is_believed(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    controller: Answer,
    accounting: Answer,
    state: str,
) -> None:
    def ask(*command: str) -> subprocess.CompletedProcess[str]:
        code, out, err = controller if command[0] == "scontrol" else accounting
        return subprocess.CompletedProcess(command, code, out, err)

    monkeypatch.setattr(slurm, "ask", ask)
    assert Slurm(ClusterConfig(kind="slurm"), tmp_path).state("7").state == state


def test_an_accounting_that_never_answers_of_a_forgotten_job_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def ask(*command: str) -> subprocess.CompletedProcess[str]:
        broken = (1, "", "Problem talking to the database")
        code, out, err = broken if command[0] == "sacct" else UNKNOWN
        return subprocess.CompletedProcess(command, code, out, err)

    monkeypatch.setattr(slurm, "ask", ask)
    scheduler = Slurm(ClusterConfig(kind="slurm"), tmp_path)
    looks = [scheduler.state("7").state for _ in range(slurm.ACCOUNTING_LOOKS)]
    assert looks == ["SILENT"] * (slurm.ACCOUNTING_LOOKS - 1) + ["GONE"]
    assert Slurm(ClusterConfig(kind="slurm"), tmp_path).cancel("7")  # it runs nowhere


@pytest.mark.parametrize(
    ("text", "later"),
    [
        (
            "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation",
            True,
        ),
        ("sbatch: error: QOSMaxSubmitJobPerUserLimit", True),
        ("sbatch: error: AssocGrpSubmitJobsLimit", True),
        ("sbatch: error: Slurm temporarily unable to accept job, sleeping and retrying.", True),
        ("Unable to contact slurm controller (connect failure)", True),
        ("sbatch: error: invalid partition specified: gpus", False),
        ("Batch job submission failed: Invalid account or account/partition combination", False),
        ("Batch job submission failed: Requested node configuration is not available", False),
        ("Batch job submission failed: Requested time limit is invalid", False),
    ],
)
def test_refusals_that_may_pass(text: str, later: bool) -> None:
    assert bool(LATER.search(text)) is later


def test_a_hanging_command_counts_as_failed() -> None:
    assert slurm.ask("sleep", "5", seconds=0.1).returncode == 127
    assert slurm.ask("no-such-command").returncode == 127


def test_outer_job_is_hidden_and_its_cluster_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SLURM_JOB_ID", "SLURM_NTASKS", "SLURM_CONF", "RANK", "SBATCH_ACCOUNT"):
        monkeypatch.setenv(name, "1")
    with outer_job_hidden():
        seen = {name for name in os.environ if name.startswith(("SLURM_", "SBATCH_", "RANK"))}
        assert seen >= {"SLURM_CONF", "SBATCH_ACCOUNT"}
        assert not seen & {"SLURM_JOB_ID", "SLURM_NTASKS", "RANK"}
    assert os.environ["SLURM_JOB_ID"] == "1"


def test_request_in_the_words_of_sbatch(tmp_path: Path) -> None:
    request = Request(nodes=2, ranks=8, gpus_per_node=4, threads=6, mem="64G", qos="gold")
    found = parameters(Step("pretrain", "c"), request, "name", ClusterConfig(setup=["module x"]))
    assert (found["nodes"], found["ntasks_per_node"], found["cpus_per_task"]) == (2, 4, 6)
    assert (found["gpus_per_node"], found["mem"], found["qos"]) == (4, "64G", "gold")
    # Snakemake's MKL_NUM_THREADS would hold a job with 6 cores to 1.
    assert {"export OMP_NUM_THREADS=6", "export MKL_NUM_THREADS=6"} < set(found["setup"])
    assert found["setup"][-1] == "module x"
    assert "partition" not in found and found["additional_parameters"] == {"requeue": True}


SBATCH = """#!/bin/sh
echo "Submitted batch job 7"
"""


def submit(step: str, request: Request, folder: Path, patch: pytest.MonkeyPatch) -> None:
    """Submits a step as job 7, whose script and pickle then lie in `folder`."""
    for name in ("sbatch", "srun"):
        (folder / name).write_text(SBATCH)
        (folder / name).chmod(0o755)
    patch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    scheduler = Slurm(ClusterConfig(kind="slurm"), folder)
    assert scheduler.submit(Step(step, "c"), request, "name") == "7"


def test_the_ranks_get_the_cores_that_the_job_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """sbatch(1): since 22.05, srun does not inherit --cpus-per-task of the batch job."""
    request = Request(nodes=2, ranks=8, gpus_per_node=4, threads=6)
    submit("pretrain", request, tmp_path, monkeypatch)
    lines = (tmp_path / "7_submission.sh").read_text().splitlines()
    (command,) = [line for line in lines if line.startswith("srun ")]
    assert "#SBATCH --cpus-per-task=6" in lines and " --cpus-per-task=6 " in command


@pytest.mark.parametrize(("step", "count"), [("prepare", 1), ("evaluate", 50), ("pretrain", 50)])
def test_time_limits_that_a_warned_job_may_reach(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, count: int
) -> None:
    submit(step, Request(), tmp_path, monkeypatch)
    assert DelayedSubmission.load(tmp_path / "7_submitted.pkl")._timeout_countdown == count


def test_an_sbatch_that_dies_without_a_word_is_asked_again():
    assert refusal("").later and "without a word" in str(refusal(""))
    assert refusal("sbatch: error: Socket timed out on send/recv operation").later
    assert not refusal("sbatch: error: invalid partition specified: gpux").later
