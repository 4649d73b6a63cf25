"""`SNAKEMAKE_PROFILE=slurm dvc repro` on a real cluster: DVC's stages, each a job of SLURM."""

from __future__ import annotations

import json
from pathlib import Path

from tests.slurm.cluster import Cluster, wait_until
from tests.slurm.one_column import COLUMN, one_column
from tests.workflow.dvc_project import Repository, stages_run
from tests.workflow.smoke import Project

STAGE = f"column-{COLUMN}"


def test_stages_are_jobs_of_the_cluster(cluster: Cluster, root: Path, tmp_path: Path) -> None:
    repository = Repository(tmp_path)
    Project.copy(root, tmp_path)
    for part in (".dvc", ".dvcignore", ".gitignore"):
        Project.copy_part(root, tmp_path, part)
    one_column(tmp_path)
    repository.done("python", "-m", "workflow.pipeline", "smoke")
    repository.done("git", "init", "--quiet")
    repository.commit("study")

    output = repository.done("dvc", "repro", STAGE, SNAKEMAKE_PROFILE="slurm")
    assert stages_run(output) == ["resolve", "prepare", "codebook", STAGE]
    assert "Using profiles" in output and "slurm" in output
    run = f"results/smoke/runs/{COLUMN}-s0"
    made = [
        json.loads((tmp_path / folder / "record.json").read_text())
        for folder in ("data/smoke/pairs", "data/smoke/codebook", run)
    ]
    ids = [job for record in made for job in record["jobs"]]
    assert len(set(ids)) == len(made) and made[-1]["ranks"] == 4

    def completed() -> bool:
        told = cluster.run("sacct", "-X", "-n", "-P", "-o", "State", "-j", ",".join(ids))
        return told.split() == ["COMPLETED"] * len(ids)

    wait_until(completed, 120, "the accounting of the jobs")

    again = repository.done("dvc", "repro", STAGE, SNAKEMAKE_PROFILE="slurm")
    assert stages_run(again) == []
