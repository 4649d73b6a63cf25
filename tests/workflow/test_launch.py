"""The launcher on this machine: one callable on N ranks, here or through submitit's executor."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from flava.errors import ConfigError
from flava.fingerprint import fingerprint
from flava.io import read_json, sha256_json, write_json
from flava.records import make_record
from tests.slurm.cluster import wait_until
from tests.slurm.processes import session_of
from tests.workflow.smoke import Project
from workflow.launch import __main__ as module
from workflow.launch.errors import LaunchError
from workflow.launch.planned import check_code
from workflow.launch.step import Step
from workflow.launch.ticket import Attempt, Ticket, TicketFile
from workflow.modules import NOT_LAUNCHED
from workflow.resources import Budgets, ClusterConfig, Request

LOCAL = ClusterConfig(budgets=Budgets(failures=0), poll_seconds=0.5)


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, root: Path) -> None:
    monkeypatch.setenv("PYTHONPATH", str(root))
    monkeypatch.delenv("RANK", raising=False)


@pytest.fixture
def config(tmp_path: Path) -> str:
    """Path of a configuration; what the ranks write lies beside it."""
    (tmp_path / "c").write_text("{}")
    return str(tmp_path / "c")


class Ranked(Step):
    """A step of the tests, as pickled for a rank."""

    def run(self) -> None:
        from tests.workflow import ranks

        options = {} if self.sharding == "none" else {"sharding": self.sharding}
        getattr(ranks, self.name)(self.config, **options)


def launch(step: Step, ranks: int, folder: Path, **request: str) -> None:
    known = {**module.MODULES, step.name: "tests.workflow.ranks"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MODULES", known)
        module.launch(step, Request(ranks=ranks, **request), LOCAL, folder=folder)


def test_one_rank_runs_in_this_process(config: str, tmp_path: Path) -> None:
    launch(Ranked("write_rank", config), 1, tmp_path)
    assert Path(f"{config}.rankalone").is_file()


class Overtaken(Step):
    """A step whose study is edited while it runs."""

    def run(self) -> None:
        record = make_record("test", read_json(self.config), time.time())
        write_json(Path(self.config).with_name("record.json"), record)
        write_json(self.config, {"edited": True})


def test_a_result_of_an_earlier_configuration_is_refused(tmp_path: Path) -> None:
    """Snakemake would note it as made from the configuration that lies there when a job ends."""
    config, output = tmp_path / "c.json", tmp_path / "record.json"
    write_json(config, {"edited": False})
    with pytest.raises(LaunchError, match=r"is of another configuration.*edited meanwhile"):
        module.launch(Overtaken("pretrain", str(config)), Request(), LOCAL, [str(output)])


def test_a_step_that_runs_on_a_cluster_is_not_run_here_too(tmp_path: Path) -> None:
    config = tmp_path / "c.json"
    write_json(config, {})
    attempt = Attempt(name="flava-x", job="7", ranks=1, gpus=0, submitted=0.0)
    ticket = Ticket(cluster="slurm", config_sha256="0", attempts=[attempt])
    TicketFile(str(config)).write(ticket)
    with pytest.raises(LaunchError, match=r"slurm job 7 of this step may still run"):
        module.launch(Overtaken("pretrain", str(config)), Request(), LOCAL)
    assert read_json(config) == {}


def test_two_ranks_see_their_environment(
    config: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MKL_NUM_THREADS", "2")  # as Snakemake does for a rule with 2 ranks
    launch(Ranked("write_rank", config), 2, tmp_path / "logs")
    for rank in (0, 1):
        text = Path(f"{config}.rank{rank}").read_text()
        assert f"RANK={rank} WORLD_SIZE=2 LOCAL_RANK={rank} MASTER_ADDR=" in text
        assert "OMP_NUM_THREADS=1 MKL_NUM_THREADS=1" in text


def test_every_rank_is_told_how_to_shard(config: str, tmp_path: Path) -> None:
    launch(Ranked("write_sharding", config, "fsdp"), 1, tmp_path)
    launch(Ranked("write_sharding", config), 2, tmp_path / "logs", sharding="fsdp")
    found = [Path(f"{config}.sharding{rank}").read_text() for rank in ("alone", 0, 1)]
    assert found == ["fsdp"] * 3


def test_ranks_meet_in_a_process_group(config: str, tmp_path: Path) -> None:
    launch(Ranked("sum_ranks", config), 2, tmp_path / "logs")
    assert Path(f"{config}.sum").read_text() == "2"


def test_a_failing_rank_names_its_error_and_log(config: str, tmp_path: Path) -> None:
    with pytest.raises(LaunchError, match="Rank 1 failed: the loss is not finite") as caught:
        launch(Ranked("fail_on_rank_1", config), 2, tmp_path / "logs")
    assert f"Log: {tmp_path / 'logs'}" in str(caught.value)
    assert json.loads(Path(f"{config}.job.json").read_text())["status"] == "failed"


def test_a_full_disk_is_an_error_at_once(
    config: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    budgets = {"budgets": Budgets(failures=2)}
    monkeypatch.setattr(sys.modules[__name__], "LOCAL", LOCAL.model_copy(update=budgets))
    with pytest.raises(LaunchError, match=r"Rank 0 failed: .*No space left on device\. Free space"):
        launch(Ranked("write_to_a_full_disk", config), 2, tmp_path / "logs")
    assert len(read_json(f"{config}.job.json")["attempts"]) == 1


def test_unknown_step_is_refused(config: str) -> None:
    with pytest.raises(ConfigError, match=r"unknown step 'pretran'. Did you mean 'pretrain'\?"):
        module.launch(Step("pretran", config), Request(), LOCAL)


@pytest.mark.parametrize("ranks", [1, 2])
def test_code_that_was_edited_since_the_plan_is_not_run(tmp_path: Path, ranks: int) -> None:
    """Also where the edit is undone before the next plan, which then would see nothing."""
    config, code = tmp_path / "c.json", tmp_path / "code.json"
    write_json(config, {})
    planned = fingerprint(module.MODULES["pretrain"]) | {"flava.models.flava": "0" * 64}
    write_json(code, planned)
    step = Step("pretrain", str(config), code=str(code), code_sha256=sha256_json(planned))
    said = r"The code of pretrain \(flava\.models\.flava\) was edited since Snakemake planned"
    with pytest.raises(LaunchError, match=said):
        module.launch(step, Request(ranks=ranks), LOCAL, folder=tmp_path / "logs")
    write_json(code, fingerprint(module.MODULES["pretrain"]))  # another plan since
    with pytest.raises(LaunchError, match=r"The code of pretrain was edited since"):
        check_code("pretrain", str(code), sha256_json(planned))
    check_code("pretrain", str(code), sha256_json(read_json(code)))


def test_a_plans_steps_know_their_code_and_inputs(root: Path, tmp_path: Path) -> None:
    """The rules' own command: code that differs from the plan's is refused before anything runs."""
    write_json(tmp_path / "c.json", {})
    write_json(tmp_path / "code.json", {})
    files = [str(tmp_path / name) for name in ("c.json", "code.json")]
    result = run(root, "hash", "--config", files[0], "--code", files[1], "--inputs", *files)
    assert result.returncode == 6 and "Start Snakemake again" in result.stderr
    assert "Traceback" not in result.stderr


def run(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "workflow.launch", *arguments]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=400)


def test_command_line_error_is_one_paragraph(root: Path) -> None:
    result = run(root, "pretrain", "--config", "missing.json")
    assert result.returncode == 3
    assert result.stderr.startswith("error: missing.json is missing.")
    assert "Traceback" not in result.stderr


def test_a_launcher_whose_snakemake_is_dead_already_does_not_start(
    root: Path, config: str, tmp_path: Path
) -> None:
    snakemake = subprocess.Popen(["true"])
    snakemake.wait()
    result = run(root, "pretrain", "--config", config, "--parent", str(snakemake.pid))
    assert result.returncode == 6
    assert f"(process {snakemake.pid}) has ended" in result.stderr
    alive = run(root, "pretran", "--config", config, "--parent", str(os.getpid()))
    assert alive.returncode == 2 and "unknown step 'pretran'" in alive.stderr


@pytest.mark.parametrize("step", sorted(NOT_LAUNCHED))
def test_a_step_of_seconds_runs_the_plans_code_alone(root: Path, tmp_path: Path, step: str) -> None:
    command = [sys.executable, "-m", "workflow.launch.here", step, "--code"]
    told = {}
    for name, planned in (("other", {}), ("same", fingerprint(module.MODULES[step]))):
        write_json(tmp_path / f"{name}.json", planned)
        told[name] = subprocess.run(
            [*command, str(tmp_path / f"{name}.json"), "--config", "missing.json"],
            cwd=root,
            capture_output=True,
            text=True,
            timeout=400,
        )
    assert told["other"].returncode == 6
    assert f"The code of {step} (flava" in told["other"].stderr
    # The step's own module read its arguments.
    assert "missing.json is missing" in told["same"].stderr or "required" in told["same"].stderr


def test_every_rule_names_the_plans_code_and_the_snakemake_that_waits(
    root: Path, tmp_path: Path
) -> None:
    project = Project.copy(root, tmp_path)
    command = [sys.executable, "-m", "snakemake", "-n", "-p", "--config", "study=smoke"]
    process = subprocess.Popen(
        command,
        cwd=project.path,
        env=project.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    said, _ = process.communicate(timeout=300)
    launched = re.findall(r"workflow\.launch .*--parent (\d+)", said)
    assert launched and set(launched) == {str(process.pid)}
    coded = re.findall(r"--code results/smoke/configs/code/\w+\.json", said)
    assert len(coded) == len(re.findall(r"^Job \d+: ", said, re.MULTILINE)) > len(launched)


def test_bad_settings_are_refused(root: Path, config: str, tmp_path: Path) -> None:
    result = run(root, "pretrain", "--config", config, "--ranks", "0")
    assert result.returncode == 2 and "--ranks 0 must be at least 1" in result.stderr
    settings = tmp_path / "cluster.yaml"
    settings.write_text("cluster: {kind: slurm, defaults: {partion: gpu}}")
    result = run(root, "pretrain", "--config", config, "--settings", str(settings))
    assert result.returncode == 2
    assert "unknown key 'partion'. Did you mean 'partition'?" in result.stderr
    settings.write_text("cluster: {kind: slurm, defaults: {nodes: 2, ranks: 3}}")
    result = run(root, "pretrain", "--config", config, "--settings", str(settings))
    assert "3 ranks cannot be dealt out evenly to 2 nodes" in result.stderr


DRIVER = """
import sys
from pathlib import Path
from tests.workflow import test_launch as here
here.LOCAL = here.LOCAL.model_copy(update={"setup": sys.argv[3:]})
here.launch(here.Ranked("wait", sys.argv[1]), 2, Path(sys.argv[2]))
"""


@pytest.mark.parametrize("setup", [[], ["export CLUSTER=here"]])
def test_ctrl_c_ends_the_ranks(root: Path, config: str, tmp_path: Path, setup: list[str]) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", DRIVER, config, str(tmp_path / "logs"), *setup],
        cwd=root,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    pids = [Path(f"{config}.pid{rank}") for rank in (0, 1)]
    try:
        wait_until(lambda: all(path.is_file() for path in pids), 300, "two ranks")
        process.send_signal(signal.SIGINT)
        _, text = process.communicate(timeout=400)
        assert process.returncode == 130 and "SIGINT: cancelling job" in text
        ranks = [int(path.read_text()) for path in pids]
        wait_until(lambda: not any(map(session_of, ranks)), 60, "the ranks' end")
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
