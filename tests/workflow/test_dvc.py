"""DVC's stages around the smoke study: they agree with Snakemake, in both directions."""

from __future__ import annotations

import json
import os
import random
import shlex
from pathlib import Path

import pytest
import yaml

from tests.workflow.dvc_project import Repository, jobs_run, stages_run
from tests.workflow.smoke import Project
from workflow.choice import read_choice
from workflow.pipeline import COMMAND, render
from workflow.plan import Plan

pytestmark = pytest.mark.timeout(1800)  # one test's time has the whole study's in it
PARTS = [".dvc", ".dvcignore", ".gitignore"]


@pytest.fixture(scope="module")
def repository(
    finished_smoke: Project, root: Path, tmp_path_factory: pytest.TempPathFactory
) -> Repository:
    """A repository whose smoke study ran by Snakemake, and was recorded by DVC afterwards."""
    here = Repository(tmp_path_factory.mktemp("dvc"))
    finished_smoke.duplicate(here.path)
    for part in PARTS:
        Project.copy_part(root, here.path, part)
    here.done("python", "-m", "workflow.pipeline", "smoke")
    here.done("git", "init", "--quiet")
    here.commit("study")
    here.done("dvc", "commit", "--force")
    here.commit("record")
    return here


def pipeline(repository: Repository) -> dict[str, dict]:
    return yaml.safe_load((repository.path / "dvc.yaml").read_text())["stages"]


def outs_of(stage: dict) -> dict[str, dict]:
    every = [*stage["outs"], *stage.get("metrics", [])]
    return {path: options for out in every for path, options in out.items()}


def inside(path: str, outs: dict[str, dict]) -> bool:
    return any(path == out or path.startswith(f"{out}/") for out in outs)


def test_the_projects_own_file_has_the_stages_of_the_study_it_names(root, monkeypatch) -> None:
    monkeypatch.chdir(root)
    choice = read_choice()
    assert choice.study == "toy"
    plan = Plan.load(**choice.model_dump())
    assert Path("dvc.yaml").read_text() == render(choice, plan), f"write it anew: {COMMAND}"


def test_stages_have_the_files_that_snakemake_recorded(repository: Repository) -> None:
    summary = repository.snakemake("--detailed-summary")
    lines = [line.split("\t") for line in summary.stdout.splitlines()[1:]]
    reads = {line[0]: set(line[4].split(",")) for line in lines}
    made = {}
    for name, stage in pipeline(repository).items():
        if name in ("resolve", "seal"):
            continue
        program, *targets = shlex.split(stage["cmd"])
        assert program == "snakemake"
        needs = set.union(*[reads[target] for target in targets]) - set(targets)
        rules = {dep for dep in stage["deps"] if dep.endswith(".smk")}
        assert rules
        assert set(stage["deps"]) - rules == needs, name
        assert all(inside(target, outs_of(stage)) for target in targets), name
        made |= dict.fromkeys(targets, name)
    assert set(made) == set(reads)  # every kept file is the target of one stage


def test_every_file_on_disk_and_every_record_is_an_output(repository: Repository) -> None:
    outs = {
        path: options for s in pipeline(repository).values() for path, options in outs_of(s).items()
    }
    assert all(options == {"persist": True} for options in outs.values())
    folders = ("data/smoke", "results/smoke", ".snakemake/metadata")
    files = [p for folder in folders for p in (repository.path / folder).rglob("*") if p.is_file()]
    paths = {str(path.relative_to(repository.path)) for path in files}
    # Where jobs run is no part of a result, and written anew by every call.
    paths = {path for path in paths if not path.startswith("results/smoke/configs/launch-")}
    # What `prepare` locks while it writes a corpus is empty.
    kinds = ("pairs", "large_pairs", "images", "texts")
    locks = {f"data/smoke/.{kind}.lock" for kind in kinds} & paths
    assert all((repository.path / path).stat().st_size == 0 for path in locks)
    paths -= locks
    assert paths
    assert {path for path in paths if not inside(path, outs)} == set()


def test_after_snakemake_and_commit_no_stage_runs(repository: Repository) -> None:
    output = repository.done("dvc", "repro")
    assert stages_run(output) == []
    assert "Data and pipelines are up to date." in output
    assert "up to date" in repository.done("dvc", "status")


def test_a_code_comment_reruns_no_stage_but_the_first(repository: Repository) -> None:
    repository.edit("flava/train/pretrain.py", "\nimport ", "\n# a remark\nimport ")
    assert stages_run(repository.done("dvc", "repro")) == ["resolve"]
    repository.commit("remark")


def test_a_fresh_clone_is_restored_and_replans_one_edited_column_alone(
    repository: Repository, tmp_path: Path
) -> None:
    remote = str(tmp_path / "remote")
    repository.done("dvc", "remote", "add", "--default", "store", remote)
    repository.commit("remote")
    repository.done("dvc", "push")
    repository.done("git", "clone", "--quiet", ".", str(tmp_path / "clone"))
    clone = Repository(tmp_path / "clone")
    restored = clone.done("python", "-m", "workflow.restore")
    assert "snakemake: nothing to be done" in restored
    assert "up to date" in clone.done("dvc", "status")

    scramble_times(clone.path)
    assert clone.planned() == set()
    clone.edit("params/columns.yaml", "  number: 2\n", "  number: 2\n  gather: none\n")
    assert clone.planned() == {
        "pretrain mlm-s0",
        "evaluate mlm-s0 nlp",
        "collect all scores",
        *clone.report(),
    }
    stale = clone.run("python", "-m", "workflow.restore", "--no-pull")
    assert stale.returncode != 0
    assert "results/smoke/runs/mlm-s0/config.json differs" in stale.stderr


def test_metrics_and_plots_show_results(repository: Repository, tmp_path: Path) -> None:
    shown = json.loads(repository.done("dvc", "metrics", "show", "--json"))
    files = shown[""]["data"]
    clip = files["results/smoke/metrics/clip_pmd.json"]["data"]
    averages = ("macro", "vision", "nlp", "multimodal")
    assert set(clip) == {*averages, *(f"{name}_rows" for name in averages), "rows"}
    assert clip["macro"] == pytest.approx(
        (clip["vision"] + clip["nlp"] + clip["multimodal"]) / 3, abs=1e-3
    )
    mim = files["results/smoke/metrics/mim.json"]["data"]
    # No text encoder: its averages are missing, not 0.
    assert set(mim) == {"vision", "vision_rows", "rows"}
    repository.done("dvc", "plots", "show", "--out", str(tmp_path))
    page = (tmp_path / "index.html").read_text()
    assert str(clip["macro"]) in page
    assert len(list(tmp_path.rglob("*curves.png"))) == 8


def test_a_changed_column_reruns_its_chain_alone_and_goes_on_after_a_failure(
    repository: Repository,
) -> None:
    # Up to `evaluate`: the stages after it render every page again.
    repository.edit("params/columns.yaml", "  number: 1\n", "  number: 1\n  gather: none\n")
    whole = "from __future__ import annotations\n"
    broken = (
        f'{whole}\nif "evaluate" in __import__("sys").argv:\n    raise SystemExit("node lost")\n'
    )
    repository.edit("workflow/launch/__main__.py", whole, broken)
    failed = repository.dvc("repro", "evaluate")
    assert failed.returncode != 0
    assert stages_run(failed.stdout) == ["resolve", "column-mim", "evaluate"]
    assert "pretrain mim-s0" in jobs_run(failed.stdout + failed.stderr)
    repository.edit("workflow/launch/__main__.py", broken, whole)
    output = repository.done("dvc", "repro", "evaluate")
    assert stages_run(output) == ["resolve", "evaluate"]
    assert jobs_run(output) == {"evaluate mim-s0 vision", "collect all scores"}
    assert repository.planned() == repository.report()  # Snakemake leaves the same out
    assert stages_run(repository.done("dvc", "repro", "evaluate")) == []
    status = repository.done("dvc", "status", "--json", "report", "seal")
    assert set(json.loads(status)) == {"report", "seal"}
    repository.commit("column")


def test_an_experiment_changes_a_key_of_the_study(repository: Repository) -> None:
    before = repository.planned()
    key = "params/columns.yaml:+mlm.gather=none"  # +: a key that is not there yet
    output = repository.done("dvc", "exp", "run", "--set-param", key, "column-mlm")
    assert stages_run(output) == ["resolve", "column-mlm"]
    assert jobs_run(output) == {"pretrain mlm-s0"}
    text = (repository.path / "params/columns.yaml").read_text()
    assert "# Sampling probabilities are the study's" in text.replace("#        ", "# ")  # kept
    evaluation = {"evaluate mlm-s0 nlp", "collect all scores"}
    assert repository.planned() == before | evaluation | repository.report()
    repository.commit("experiment")


def test_stages_run_under_the_profile_of_the_environment(repository: Repository) -> None:
    profile = repository.path / "probe"
    profile.mkdir()
    (profile / "config.yaml").write_text("printshellcmds: true\n")
    output = repository.done(
        "dvc", "repro", "--single-item", "--force", "column-mlm", SNAKEMAKE_PROFILE="probe"
    )
    assert "Using profiles probe" in output
    assert "Nothing to be done" in output


def test_another_study_than_the_stages_of_dvc_yaml_is_refused(repository: Repository) -> None:
    repository.edit("params.yaml", "study: smoke", "study: toy")
    failed = repository.dvc("repro")
    assert failed.returncode != 0
    assert "dvc.yaml does not have the stages of study 'toy'" in failed.stderr
    assert "python -m workflow.pipeline" in failed.stderr
    repository.edit("params.yaml", "study: toy", "study: smoke")


def scramble_times(folder: Path) -> None:
    rng = random.Random(0)
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not {".git", ".dvc"} & set(path.parts):
            stamp = rng.uniform(1.6e9, 1.7e9)
            os.utime(path, (stamp, stamp))
