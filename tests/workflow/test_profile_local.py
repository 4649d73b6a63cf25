"""`snakemake --profile local`: ranks are processes of this machine; `setup` runs first."""

from __future__ import annotations

from pathlib import Path

from flava.io import read_json
from tests.workflow.smoke import Project

CLUSTER = """
cluster:
  kind: local
  rules: {pretrain: {ranks: 2}}
  setup: [export FLAVA_SETUP=ran, echo $FLAVA_SETUP > setup.txt]
  budgets: {failures: 0}
"""


def test_ranks_and_setup_are_those_of_the_profile(root: Path, tmp_path: Path) -> None:
    project = Project.copy(root, tmp_path)
    (project.path / "workflow/profiles/local/cluster.yaml").write_text(CLUSTER)
    record = project.path / "results/smoke/runs/mlm-s0/record.json"
    done = project.snakemake("--profile", "local", str(record.relative_to(project.path)))
    assert done.returncode == 0, done.stderr
    assert read_json(record)["ranks"] == 2
    assert (project.path / "setup.txt").read_text() == "ran\n"
    log = (project.path / "logs/smoke/pretrain/mlm-s0.log").read_text()
    assert "local job" in log and "2 ranks" in log
    again = project.snakemake("--profile", "local", str(record.relative_to(project.path)))
    assert "Nothing to be done" in again.stdout + again.stderr
