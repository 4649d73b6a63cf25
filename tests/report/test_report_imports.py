"""A study of published weights: its pages claim no step, no training and no curve that it lacks."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from flava.errors import DataError
from flava.jobs import ReportJob, ReportSettings, load_job
from flava.report import sections
from flava.report.compare import load_comparison
from flava.report.curves import earlier_curves, loss_curves
from flava.report.runs import load_earlier, load_earlier_losses, load_runs
from flava.report.signs import signs_table
from flava.report.site import pipeline, write_index
from tests.report.fake_study import (
    PAPER,
    fake_scores,
    record,
    write_import,
    write_json,
    write_study,
)
from workflow.graph import graph
from workflow.plan import Plan

COLUMNS = {"flava_mm": 7, "clip_400m": 14}
RUN = "clip_400m-s0"


def study(folder: Path, columns: dict[str, int]) -> ReportJob:
    """Column 14 is imported, the others are trained."""
    lines = fake_scores(columns=columns, root=folder)
    job = write_study(folder, columns=columns, lines=lines, imported=[RUN])
    write_import(folder, "clip_400m", 0)
    return job


def steps_of(content: str) -> list[str]:
    flow = re.search(r'<ol class="flow">.*?</ol>', content, re.DOTALL)
    assert flow is not None
    return re.findall("<b>(.*?)</b>", flow[0])


def test_the_way_of_the_data_has_the_plans_steps_alone(tmp_path: Path) -> None:
    job = study(tmp_path, {"clip_400m": 14})
    plan = graph(Plan.load("released", params=str(PAPER.parent)))
    write_json(Path(job.dag), plan.model_dump())
    write_index(job)
    content = (tmp_path / "report/index.html").read_text(encoding="utf-8")
    assert steps_of(content) == ["prepare", "import", "evaluate", "collect", "report"]
    trained = study(tmp_path / "both", COLUMNS)
    comparison = load_comparison(trained)
    runs = load_runs(trained, comparison.records)
    plan = graph(Plan.load("toy", params=str(PAPER.parent)))
    steps = ["prepare", "codebook", "initialise", "pretrain", "import"]
    assert steps_of(pipeline(plan, comparison, runs))[:5] == steps


@pytest.mark.parametrize(("columns", "some"), [({"clip_400m": 14}, False), (COLUMNS, True)])
def test_an_import_is_no_training(tmp_path: Path, columns: dict[str, int], some: bool) -> None:
    job = study(tmp_path, columns)
    comparison = load_comparison(job)
    runs = load_runs(job, comparison.records)
    cost = sections.total_cost(runs, load_earlier(job))
    assert "5 s of importing published weights" in cost
    assert ("of training" in cost) is some
    curves = loss_curves(runs, comparison)
    assert curves.count("<li>") == curves.count("<svg width") == int(some)
    assert "14 CLIP: published weights, which have no losses here" in curves


def test_data_of_published_weights_are_not_called_private_or_none(tmp_path: Path) -> None:
    """A dash would say that the paper's own FLAVA, trained on PMD, is not of public data."""
    job = study(tmp_path, COLUMNS)
    comparison, settings = load_comparison(job), load_job(ReportSettings, job.settings)
    table = signs_table(comparison, settings, load_runs(job, comparison.records), job.published)
    lines = re.findall(r'<tr><th scope="row">.*?</tr>', table)
    (clip,) = (line for line in lines if '<th scope="row">14 CLIP' in line)
    cells = [re.sub("<[^>]*>", "", cell) for cell in clip.split("<td>")[1:]]
    assert cells[:3] == ["not known here", "published weights", "not known here"]
    (trained,) = (line for line in lines if '<th scope="row">7 ' in line)
    assert "not known" not in trained and "generated" in trained and "20,000 pairs" in trained


def test_a_published_image_tokenizer_is_no_training_and_has_no_log(tmp_path: Path) -> None:
    at = tmp_path / "tokenizer/record.json"
    published = record("codebook", 0, 7.0)
    published["extra"] = published["extra"] | {"kind": "published"}
    write_json(at, published)
    earlier = {"image tokenizer": str(at)}
    job = write_study(tmp_path, columns={"mim": 1}, earlier=earlier)
    assert load_earlier_losses(job) == {}
    runs, before = load_runs(job, load_comparison(job).records), load_earlier(job)
    cost = sections.cost(runs, before)
    assert "7 s of making image tokens with published weights" in cost
    assert '<th scope="col">training or image tokens</th>' in cost
    curves = earlier_curves({}, before)
    assert "Image tokenizer: published weights, which have no losses here" in curves
    assert "Nothing earlier" not in curves and "Nothing earlier" in earlier_curves({}, {})
    write_json(at, record("codebook", 0, 7.0))
    cost = sections.cost(runs, load_earlier(job))
    assert "published weights" not in cost and '<th scope="col">training</th>' in cost
    with pytest.raises(DataError, match=r"log.csv is missing"):
        load_earlier_losses(job)
