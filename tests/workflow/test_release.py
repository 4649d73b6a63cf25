"""Release mode asks for a clean checkout before any job, and the pages' configuration says so."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from tests.workflow.smoke import Project


def test_a_clean_checkout_is_planned_and_a_dirty_one_refused(root: Path, tmp_path: Path) -> None:
    project = Project.copy(root, tmp_path)

    def git(*arguments: str) -> None:
        name = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
        subprocess.run(["git", "-C", str(tmp_path), *name, *arguments], check=True)

    def plan(release: str) -> subprocess.CompletedProcess[str]:
        config = ["--config", "study=smoke", f"release={release}"]
        return project.python("-m", "snakemake", "-n", *config)

    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "all")
    done = plan("true")
    assert done.returncode == 0, done.stdout + done.stderr
    report = tmp_path / "results/smoke/configs/report.json"
    assert json.loads(report.read_text())["release"] is True

    study = tmp_path / "params/smoke.yaml"
    study.write_text(study.read_text() + "# a remark\n")
    done = plan("true")
    assert done.returncode != 0
    assert "release=true: the working tree has uncommitted changes" in done.stdout + done.stderr
    assert plan("false").returncode == 0
    assert json.loads(report.read_text())["release"] is False
