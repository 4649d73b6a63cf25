"""Jobs, wall time, disk and the limit on GPU-hours: what is said before anything runs."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from flava.cost.runs import token_flops
from flava.errors import ConfigError
from flava.io import write_json
from flava.jobs import PlanGraph, load_job
from flava.records import make_record
from tests.workflow.smoke import Project
from workflow.assumptions import Assumptions, corpus_images
from workflow.by_column import column_table
from workflow.cost import all_seeds
from workflow.disk import all_disk, disk_by_column, disk_lines, prepared_bytes, size_text
from workflow.estimate import (
    budget_hours,
    check_budget,
    job_counts,
    longest,
    schedule_lines,
    trainings,
    wall_time,
)
from workflow.plan import Plan

ASSUMED = Assumptions()


def cells(table: list[str]) -> dict[str, dict[str, str]]:
    """First cell -> heading -> cell, of `column_table`, whose cells end where headings do."""
    places = [(match[0], match.end()) for match in re.finditer(r"\S+(?: \S+)*", table[1])]
    first = table[1].index("jobs") - 1
    found: dict[str, dict[str, str]] = {}
    for line in table[2:]:
        begin = first
        values = found[line[:first].strip()] = {}
        for name, end in places:
            values[name], begin = line[begin:end].strip(), end
    return found


def left(plan: Plan) -> float:
    """Padded GPU-hours of what has not run."""
    jobs = trainings(plan, ASSUMED).values()
    return sum(ASSUMED.hours(job.cost.flops_padded) for job in jobs if job.ran is None)


def test_jobs_are_those_of_a_dry_run(root: Path, tmp_path: Path, monkeypatch) -> None:
    """In number, rule by rule, also on the picture of the plan."""
    project = Project.copy(root, tmp_path)
    result = project.snakemake("--dry-run")
    assert result.returncode == 0, result.stderr
    table = (result.stdout + result.stderr).partition("Job stats:")[2].partition("total")[0]
    expected = {rule: int(n) for rule, n in re.findall(r"^(\w+) +(\d+)$", table, re.MULTILINE)}
    assert expected.pop("all") == 1 and expected["evaluate"] > 1
    monkeypatch.chdir(tmp_path)
    assert job_counts(Plan.load("smoke")) == expected
    written = load_job(PlanGraph, "results/smoke/configs/dag.json")
    stages = (Counter(dict(stage.jobs)) for stage in written.stages)
    assert sum(stages, Counter()) == expected


def test_the_chain_that_takes_longest_is_the_wall_time_side_by_side(in_copy: Path) -> None:
    plan = Plan.load("paper")
    jobs = trainings(plan, ASSUMED)
    assert longest(jobs, ASSUMED) == ["init dino-s0", "flava_dino-s0"]
    assert jobs["flava_beit-s0"].before == ("codebook", "init beit-s0", "init mlm-s0")
    lines = schedule_lines(plan, ASSUMED)
    assert lines[0].endswith("17 of 17 trainings to run.")
    (side,) = [line for line in lines if "side by side" in line]
    assert side == "  all side by side: 467 to 532 h (init dino-s0 > flava_dino-s0)"


def test_ranks_divide_the_wall_time(in_copy: Path) -> None:
    path = Path("params/paper.yaml")
    text = path.read_text()
    assert "\nresources:" not in text
    path.write_text(text + "\nresources: {pretrain: {ranks: 64}}\n")
    found = cells(column_table(Plan.load("paper"), ASSUMED))
    assert found["12 flava_dino"]["wall time of one"] == "4.8 to 5.8 h on 64 ranks"
    assert found["12 flava_dino"]["from the start"] == "163 to 164 h"


def test_the_export_of_image_tokens_is_not_divided(in_copy: Path) -> None:
    """One rank makes it: 70M images of 3.5 GFLOP are nearly all of the tokenizer's work."""
    whole = trainings(Plan.load("paper"), ASSUMED)["codebook"]
    path = Path("params/paper.yaml")
    path.write_text(path.read_text() + "\nresources: {codebook: {ranks: 8}}\n")
    plan = Plan.load("paper")
    (job,) = [job for name, job in trainings(plan, ASSUMED).items() if name == "codebook"]
    assert (job.ranks, job.cost) == (8, whole.cost)
    images = corpus_images(plan, "pairs")
    assert images is not None
    export = images * token_flops(plan.study.config.codebook, 14).forward
    minutes = 60 * ASSUMED.hours((job.cost.flops - export) / 8 + export)
    assert minutes > 0.9 * 60 * ASSUMED.hours(job.cost.flops)
    assert wall_time([job], ASSUMED) == f"{minutes:.2g} min"


def test_ranks_that_score_all_rows_cost_more_in_all(in_copy: Path) -> None:
    """64 ranks: 63 times more the cosines of 8,192 columns, 512 wide, both ways."""
    columns, paper = Path("params/columns.yaml"), Path("params/paper.yaml")
    columns.write_text(columns.read_text().replace("  gather: global\n", "  gather: global_full\n"))
    before = {name: job.cost.flops for name, job in trainings(Plan.load("paper"), ASSUMED).items()}
    paper.write_text(paper.read_text() + "\nresources: {pretrain: {ranks: 64}}\n")
    plan = Plan.load("paper")
    after = {name: job.cost.flops for name, job in trainings(plan, ASSUMED).items()}
    more = 63 * 3 * 2 * 2 * 512 * 8192 * 8192 * 150_000
    assert after["flava_c-s0"] - before["flava_c-s0"] == pytest.approx(more)
    assert after["mim-s0"] == before["mim-s0"]
    assert all_seeds(plan, ASSUMED).flops == pytest.approx(sum(after.values()))


def test_micro_batches_count_against_the_limit(in_copy: Path) -> None:
    """A third more for columns whose only loss is contrastive."""
    before = trainings(Plan.load("paper"), ASSUMED)["flava_c-s0"].cost
    path = Path("params/paper.yaml")
    text = path.read_text()
    path.write_text(text.replace("\npretrain:\n", "\npretrain:\n  accumulate: 4\n"))
    plan = Plan.load("paper")
    after = trainings(plan, ASSUMED)["flava_c-s0"].cost
    assert after.flops / before.flops == pytest.approx(4 / 3, rel=0.01)
    check_budget(plan, 4000)
    with pytest.raises(ConfigError, match=r"still needs about 3,\d{3} GPU-hours"):
        check_budget(plan, 3010)


def test_what_has_run_is_not_counted_again(in_copy: Path) -> None:
    plan = Plan.load("paper")
    before, run = left(plan), plan.runs["flava_dino-s0"]
    record = make_record("pretrain", run, time.time()) | {"wall_seconds": 90.0}
    write_json(f"{run.output}/record.json", record)
    after = left(plan)
    cost = trainings(plan, ASSUMED)["flava_dino-s0"].cost
    assert before - after == pytest.approx(ASSUMED.hours(cost.flops_padded))
    assert any(line.endswith(" ran in 90 s") for line in column_table(plan, ASSUMED))
    check_budget(plan, after + 1)
    with pytest.raises(ConfigError, match="still needs about"):
        check_budget(plan, after - 1)
    write_json(f"{run.output}/record.json", record | {"config_sha256": "0" * 64})
    assert left(plan) == before  # of another configuration: to be run again


@pytest.mark.parametrize("value", ["many", "-3", "nan", "inf", True, []])
def test_a_limit_that_is_no_number_is_refused(value: object) -> None:
    with pytest.raises(ConfigError, match=r"budget_gpu_hours=.* is not a number of GPU-hours"):
        budget_hours(value)


def test_a_study_above_the_limit_stops_before_anything_is_written(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FLAVA_DATA", raising=False)
    project = Project.copy(root, tmp_path)

    def plan(limit: str) -> subprocess.CompletedProcess[str]:
        config = ["--config", "study=paper", f"budget_gpu_hours={limit}"]
        return project.python("-m", "snakemake", "-n", *config)

    for limit, says in (("100", "still needs about 3,000 GPU-hours"), ("x", "is not a number of")):
        done = plan(limit)
        assert done.returncode != 0 and says in done.stdout + done.stderr
        assert "Traceback" not in done.stderr
    assert not (tmp_path / "results").exists()
    done = plan("4000")
    assert done.returncode == 0, done.stderr
    for words in ("Jobs: 171", "all side by side", "Disk, estimated"):
        assert words in done.stderr


def test_the_refusal_names_a_command_that_runs(in_copy: Path) -> None:
    """A study with a budget has the budget in its name, and no file of that name."""
    with pytest.raises(ConfigError, match=r"`python -m workflow\.cost mini --budget cpu` shows"):
        check_budget(Plan.load("mini", "cpu"), 1e-6)
    with pytest.raises(ConfigError, match=r"`python -m workflow\.cost paper` shows"):
        check_budget(Plan.load("paper"), 1)


def test_command_line_refuses_above_the_limit(root: Path, in_copy: Path) -> None:
    def run(limit: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "workflow.cost", "paper", "--budget-gpu-hours", limit]
        return subprocess.run(
            command, capture_output=True, text=True, check=False, env={"PYTHONPATH": str(root)}
        )

    done = run("100")
    assert done.returncode == ConfigError.exit_code
    assert "more than budget_gpu_hours=100. The largest: flava_" in done.stderr
    assert "Jobs: 171" in done.stdout  # the plan is shown all the same
    assert run("5000").returncode == 0


def test_disk_of_the_paper_without_data(in_copy: Path) -> None:
    lines = disk_lines(Plan.load("paper"), ASSUMED)
    assert re.search(r"prepared data +1.5 TB", lines[1])
    assert "images, which are not prepared yet" in lines[-1]


def test_prepared_corpora_are_taken_from_their_manifests(in_copy: Path) -> None:
    plan = Plan.load("paper")
    for kind in ("images", "texts"):
        value = {"bytes": 5_000_000_000, "sources": [{"counts": {"images": 10}}]}
        write_json(f"{plan.data}/{kind}/manifest.json", value)
    total, left_out = prepared_bytes(plan, ASSUMED)
    pairs = sum(source.expected_pairs or 0 for source in plan.study.config.data.pairs)
    assert total == 10_000_000_000 + int(pairs * ASSUMED.image_bytes)
    assert left_out == []


def test_more_seeds_leave_more_checkpoints(in_copy: Path) -> None:
    one, two = (all_disk(Plan.load("toy", seeds=n)) for n in (1, 2))
    for name in ("checkpoints", "models"):
        single, double = (getattr(disk, name) for disk in (one, two))
        assert 1.9 * single < double < 2 * single  # the image tokenizer is shared
    assert two.features == 2 * one.features


@pytest.mark.parametrize("study", ["paper", "toy"])
def test_each_column_has_its_jobs_and_its_disk(in_copy: Path, study: str) -> None:
    plan = Plan.load(study, seeds=2)
    found = cells(column_table(plan, ASSUMED))
    inits = {f"init {init.kind}" for init in plan.inits.values()}
    names = {f"{plan.study.columns[c].number} {c}" for c in plan.study.config.columns}
    assert set(found) == {"codebook", "data and pages", "in all", *inits, *names}
    jobs = {name: int(line["jobs"]) for name, line in found.items()}
    whole = jobs.pop("in all")
    assert sum(jobs.values()) == whole == sum(job_counts(plan).values())
    evaluations = sum(job.column == "flava_dino" for job in plan.evaluate_jobs.values())
    assert jobs["12 flava_dino"] == 2 + evaluations
    by_column = disk_by_column(plan)
    for column in ("flava_dino", "clip_pmd"):
        line = found[f"{plan.study.columns[column].number} {column}"]
        for kind in ("checkpoints", "models", "features"):
            assert line[kind] == size_text(getattr(by_column[column], kind)) != "0 B"
        assert line["disk"] == size_text(by_column[column].bytes)
    assert found["in all"]["disk"] == size_text(all_disk(plan).bytes)


def test_published_weights_are_kept_but_not_trained(in_copy: Path) -> None:
    line = cells(column_table(Plan.load("paper"), ASSUMED))["14 clip_400m"]
    assert (line["wall time of one"], line["checkpoints"]) == ("none", "0 B")
    assert line["models"] == "598 MB"  # CLIP ViT-B/16: 149.6 million parameters


def test_sizes_have_units() -> None:
    shown = [size_text(size) for size in (12, 1500, 188e9, 1.54e12, 20e15, 5e18)]
    assert shown == ["12 B", "1.5 kB", "188 GB", "1.5 TB", "20 PB", "5000 PB"]
