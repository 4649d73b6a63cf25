"""The launcher: one callable on N ranks, here or through submitit's local executor."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from flava.errors import ConfigError
from workflow import launch as module
from workflow.launch import LaunchError, Step, launch


@pytest.fixture(autouse=True)
def steps(monkeypatch: pytest.MonkeyPatch, root: Path) -> None:
    monkeypatch.setitem(module.STEPS, "write_rank", ("tests.workflow.ranks", "write_rank"))
    monkeypatch.setenv("PYTHONPATH", str(root))
    monkeypatch.delenv("RANK", raising=False)


class Ranked(Step):
    """A step whose function is found on the rank without the patched table."""

    def function(self):
        from tests.workflow import ranks

        return getattr(ranks, self.name)


def test_one_rank_runs_in_this_process(tmp_path: Path) -> None:
    launch(Step("write_rank", str(tmp_path / "c")), 1, tmp_path)
    assert (tmp_path / "c.rankalone").is_file()


def test_two_ranks_see_their_environment(tmp_path: Path) -> None:
    launch(Ranked("write_rank", str(tmp_path / "c")), 2, tmp_path / "logs")
    for rank in (0, 1):
        text = (tmp_path / f"c.rank{rank}").read_text()
        assert f"RANK={rank} WORLD_SIZE=2 LOCAL_RANK={rank} MASTER_ADDR=" in text


def test_every_rank_is_told_how_to_shard(tmp_path: Path) -> None:
    launch(Ranked("write_sharding", str(tmp_path / "c")), 1, tmp_path)
    launch(Ranked("write_sharding", str(tmp_path / "c"), "fsdp"), 2, tmp_path / "logs")
    found = [(tmp_path / f"c.sharding{rank}").read_text() for rank in ("alone", 0, 1)]
    assert found == ["none", "fsdp", "fsdp"]


def test_ranks_meet_in_a_process_group(tmp_path: Path) -> None:
    launch(Ranked("sum_ranks", str(tmp_path / "c")), 2, tmp_path / "logs")
    assert (tmp_path / "c.sum").read_text() == "2"


def test_a_failing_rank_names_its_error_and_log(tmp_path: Path) -> None:
    with pytest.raises(LaunchError, match="loss is not finite at update 7") as caught:
        launch(Ranked("fail_on_rank_1", str(tmp_path / "c")), 2, tmp_path / "logs")
    assert "rank 1 failed" in str(caught.value)
    assert str(tmp_path / "logs") in str(caught.value)


def test_bad_requests_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--ranks 0 must be at least 1"):
        launch(Step("write_rank", "c"), 0, tmp_path)
    with pytest.raises(ConfigError, match="unknown cluster 'slrum'"):
        launch(Step("write_rank", "c"), 2, tmp_path, "slrum")
    with pytest.raises(ConfigError, match=r"unknown step 'pretran'. Did you mean 'pretrain'\?"):
        launch(Step("pretran", "c"), 1, tmp_path)


def test_command_line_error_is_one_paragraph(root: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "workflow.launch", "pretrain", "--config", "missing.json"],
        cwd=root,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 3
    assert result.stderr.startswith("error: missing.json is missing.")
    assert "Traceback" not in result.stderr
