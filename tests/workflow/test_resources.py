"""What jobs ask for: ranks for the steps whose ranks meet, one process for all others."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from submitit.core.job_environment import SignalHandler
from submitit.core.utils import DelayedSubmission

from flava.errors import ConfigError
from flava.fingerprint import fingerprint
from flava.io import read_json, write_json
from flava.params import Tree
from workflow.launching import ALWAYS_TIMED_OUT, Launching
from workflow.modules import BEGIN_ANEW, JOIN_RANKS, LAUNCHED, MODULES, ONE_PROCESS
from workflow.plan import Plan
from workflow.resources import Request, launch_settings, minutes, resolve


def names_called(root: Path, module: str) -> Iterator[str]:
    """Names of functions that a module's code, or that of `flava` which it imports, calls."""
    for name in fingerprint(module, frozenset()):
        path = root.joinpath(*name.split(".")).with_suffix(".py")
        if path.is_file():
            nodes = ast.walk(ast.parse(path.read_text()))
            calls = (node.func for node in nodes if isinstance(node, ast.Call))
            yield from (call.id for call in calls if isinstance(call, ast.Name))


@pytest.mark.parametrize("step", LAUNCHED)
def test_ranks_are_for_the_steps_that_join_them(root: Path, step: str) -> None:
    joins = "joined_ranks" in names_called(root, MODULES[step])
    assert (step in JOIN_RANKS, step in ONE_PROCESS) == (joins, not joins)


@pytest.mark.parametrize("step", LAUNCHED)
def test_steps_without_checkpoints_begin_anew(root: Path, step: str) -> None:
    assert (step in BEGIN_ANEW) == ("Checkpoints" not in names_called(root, MODULES[step]))


def asked(tree: Tree, rule: str, column: str | None = None) -> Request:
    """For a job of the rule, on a cluster with these keys."""
    return resolve(rule, column, launch_settings({"cluster": {"kind": "slurm", **tree}}, "test"))


@pytest.mark.parametrize("rule", LAUNCHED)
def test_defaults_of_many_ranks_leave_one_process_one(rule: str) -> None:
    found = asked({"defaults": {"gpus_per_node": 4, "nodes": 2, "mem": "64G"}}, rule)
    ranks, nodes = (1, 1) if rule in ONE_PROCESS else (8, 2)
    assert (found.ranks, found.nodes, found.gpus_per_node, found.mem) == (ranks, nodes, 4, "64G")
    assert asked({"defaults": {"ranks": 2}}, rule).ranks == (1 if rule in ONE_PROCESS else 2)


@pytest.mark.parametrize("rule", ["evaluate", "prepare", "pretrain"])
def test_sharding_of_the_defaults_is_for_steps_whose_ranks_meet(rule: str) -> None:
    """An evaluation was given it, and ended with a TypeError."""
    found = asked({"defaults": {"sharding": "fsdp"}}, rule)
    assert found.sharding == ("none" if rule in ONE_PROCESS else "fsdp")
    if rule in ONE_PROCESS:
        with pytest.raises(ConfigError, match=rf"'{rule}' is one process.*Leave `sharding` out"):
            asked({"rules": {rule: {"sharding": "fsdp"}}}, rule)


def test_one_process_gets_the_gpus_that_its_rule_asks_for() -> None:
    found = asked({"rules": {"evaluate": {"gpus_per_node": 2, "threads": 8}}}, "evaluate")
    assert (found.ranks, found.gpus, found.threads) == (1, 2, 8)


def test_the_clusters_rules_win_over_the_study_and_that_over_the_defaults() -> None:
    cluster = {
        "kind": "slurm",
        "defaults": {"mem": "1G", "threads": 1},
        "rules": {"pretrain": {"mem": "64G"}},
    }
    tree = {"cluster": cluster, "resources": {"pretrain": {"mem": "8G", "threads": 4}}}
    found = resolve("pretrain", None, launch_settings(tree, "test"))
    assert (found.mem, found.threads) == ("64G", 4)


def test_a_time_limit_in_seconds_is_rounded_up() -> None:
    assert [minutes(time) for time in ("1:00:30", "2-01:05:00", "soon")] == [61, 2945, 0]


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"ranks": 2}, "'evaluate' is one process, not 2 ranks on 1 nodes"),
        ({"nodes": 2}, "'evaluate' is one process, not 1 ranks on 2 nodes"),
        ({"columns": {"mim": {"ranks": 4}}}, "'evaluate' of column 'mim' is one process"),
    ],
)
def test_ranks_of_one_process_are_refused_before_any_job(keys: Tree, message: str) -> None:
    with pytest.raises(ConfigError, match=f"{message}.*or write `ranks: 1`"):
        launch_settings({"cluster": {"kind": "slurm", "rules": {"evaluate": keys}}}, "test")
    with pytest.raises(ConfigError, match=message):
        launch_settings({"cluster": {"kind": "slurm"}, "resources": {"evaluate": keys}}, "test")


def test_ranks_of_one_process_are_refused_on_the_command_line(root: Path, tmp_path: Path) -> None:
    """Each of three would have prepared the corpus, and replaced the folder of the others."""
    config = tmp_path / "config.json"
    write_json(config, {})
    command = [sys.executable, "-m", "workflow.launch", "prepare", "--config", str(config)]
    done = subprocess.run([*command, "--ranks", "3"], cwd=root, capture_output=True, text=True)
    assert done.returncode == 2 and read_json(config) == {}
    assert done.stderr.startswith("error: 'prepare' is one process, not 3 ranks")


@pytest.mark.parametrize(
    ("keys", "named"),
    [
        ({"defaults": {"time": "0:11"}}, None),
        ({"defaults": {"time": "0:10"}}, ", ".join(LAUNCHED)),
        ({"rules": {"pretrain": {"columns": {"mim": {"time": "0:05"}}}}}, "pretrain"),
        ({"kind": "local", "defaults": {"time": "0:05"}}, None),
    ],
)
def test_time_limits_that_preemptions_are_taken_for_are_said(
    in_copy: Path, capsys: pytest.CaptureFixture[str], keys: Tree, named: str | None
) -> None:
    Launching.load(Plan.load("smoke"), {"kind": "slurm", **keys}).warn()
    told = capsys.readouterr().err
    assert told.startswith(f"warning: {named}: a `time` of at most 10") if named else told == ""


def test_submitit_takes_every_warning_of_so_short_a_job_for_its_time_limit() -> None:
    def timed_out(minutes: int) -> bool:
        delayed = DelayedSubmission(print)
        delayed.set_timeout(minutes, 1)
        return SignalHandler(None, None, delayed).has_timed_out()

    assert timed_out(ALWAYS_TIMED_OUT) and not timed_out(ALWAYS_TIMED_OUT + 1)
