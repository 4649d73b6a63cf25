"""Published weights as columns: a study of them alone, by the real rules."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from flava.evaluate.datasets import load_task
from flava.evaluate.retrieval import ranks, unit
from flava.jobs import EvaluateJob, ImportJob, load_job
from flava.models import load_model
from flava.records import load_record
from flava.report.printed_tables import load_table_c1
from tests.workflow.smoke import Project
from workflow.plan import Plan

transformers = pytest.importorskip("transformers")

from tests.workflow.released_flava import RUN, SIZE, write_study  # noqa: E402


@pytest.fixture(scope="module")
def project(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project in which a study of published weights alone has run."""
    project = Project.copy(root, tmp_path_factory.mktemp("released"))
    write_study(project)
    result = project.snakemake(study="mine")
    assert result.returncode == 0, result.stderr[-6000:]
    return project


def test_the_papers_tasks_are_planned_for_released_weights_and_nothing_else(
    in_copy: Path,
) -> None:
    plan, paper = Plan.load("released"), Plan.load("paper")
    assert not plan.runs and not plan.inits and not plan.corpora and not plan.hashes
    assert plan.leaks is None and not plan.uses_codebook and not plan.uses_selection
    jobs = {job.job: job for (run, _), job in plan.evaluate_jobs.items() if "flava" in run}
    theirs = {job.job: job for (run, _), job in paper.evaluate_jobs.items() if "flava_dino" in run}
    assert {name: job.tasks for name, job in jobs.items()} == {
        name: job.tasks for name, job in theirs.items()
    }
    scored = {row for job in jobs.values() for t in job.tasks.values() for row in t.task.rows}
    printed = load_table_c1("params/paper").row_names()
    assert len(printed) == 41 and scored > set(printed)
    released = plan.imports["flava_released-s0"].flava
    own = paper.runs["flava_dino-s0"].flava
    assert released is not None and own is not None
    assert released == own.model_copy(update={"projection_dim": 768})


def test_a_dry_run_needs_no_data_and_says_no_error(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FLAVA_DATA", raising=False)
    done = Project.copy(root, tmp_path).snakemake("-n", study="released")
    assert done.returncode == 0, done.stderr
    said = done.stdout + done.stderr
    assert "Jobs: 42 (1 tokenizer, 2 import_model, 20 evaluate, 1 collect, " in said
    assert "0 of 0 trainings to run" in said
    assert "Exception" not in said and "Traceback" not in said


def test_every_row_of_the_study_is_scored_and_no_other_cell_is_filled(project: Project) -> None:
    results = pd.read_parquet(project.path / "results/mine/results.parquet")
    assert set(results["column"]) == {"flava_released"} and results["value"].notna().all()
    assert len(results) == 10  # as of every column of smoke with pairs
    page = (project.path / "results/mine/report/column_flava_released.html").read_text()
    assert "Column 15: FLAVA, released weights" in page
    assert "Not a column of the paper: no number of it is printed." in page
    assert "In the paper trained on" not in page
    index = (project.path / "results/mine/report/index.html").read_text()
    assert "Nothing was trained here: all models are published ones." in index
    assert "The leak check was not run: the study trains nothing" in index


def test_the_record_says_what_became_of_each_parameter(project: Project) -> None:
    record = load_record(project.path / RUN / "record.json")
    report = record.extra["converted"]
    dropped = report["dropped"]
    assert dropped["DALL-E codebook: image tokens are prepared beforehand"]
    assert dropped["encoder pooler: no loss reads it"]
    assert report["not_in_file"] == {} and report["differences"] == []
    job = load_job(ImportJob, project.path / RUN / "config.json")
    assert job.clip is None and job.flava is not None and record.step == "import"


def test_the_scores_are_those_of_hugging_faces_own_pipeline(project: Project) -> None:
    """Its image processor, its tokenizer and its projections give the recalls in the results."""
    model = transformers.FlavaForPreTraining.from_pretrained(project.path / "hub").eval()
    job = load_job(EvaluateJob, project.path / RUN / "evaluate/multimodal.config.json")
    spec = job.tasks["flickr30k"]
    data_at = str(project.path / spec.data.path)
    task = load_task("flickr30k", spec.task, spec.data.model_copy(update={"path": data_at}))
    every = np.arange(len(task.images))
    processor = transformers.models.flava.image_processing_pil_flava.FlavaImageProcessorPil
    pictures = [Image.fromarray(picture) for picture in task.images.pixels(every, SIZE)]
    pixels = processor.from_pretrained(project.path / "hub")(pictures, return_tensors="pt")
    texts = transformers.BertTokenizer(str(project.path / "hub/vocab.txt"))(
        task.captions, max_length=64, truncation=True, padding=True, return_tensors="pt"
    )
    with torch.inference_mode():
        images_ND = model.flava.get_image_features(**pixels).pooler_output[:, 0].numpy()
        texts_MD = model.flava.get_text_features(**texts).pooler_output[:, 0].numpy()
        fused = model.flava(pixel_values=pixels["pixel_values"][:8],
                            **{key: value[:8] for key, value in texts.items()})  # fmt: skip
    found = ranks(unit(images_ND), unit(texts_MD), task.image_M)
    results = pd.read_parquet(project.path / "results/mine/results.parquet").set_index("row")
    for name, ranks_Q in zip(("TR", "IR"), found, strict=True):
        for k in (1, 5):
            expected = 100 * float(np.mean(ranks_Q < k))
            assert results.loc[f"Flickr30K {name} R@{k}", "value"] == pytest.approx(expected)
    ours = load_model(project.path / RUN / "model")
    with torch.inference_mode():
        features = ours.multimodal_features(
            pixels["pixel_values"][:8], texts["input_ids"][:8], texts["attention_mask"][:8].bool()
        )
    expected = fused.multimodal_embeddings[:, 0]
    torch.testing.assert_close(features, expected, rtol=1e-5, atol=1e-5)


def test_every_cell_resolves_and_a_second_call_has_nothing_to_do(project: Project) -> None:
    done = project.python("-m", "workflow.trace", "--all", "--data", "--study", "mine", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert found["broken"] == {} and found["pages"] == []
    assert found["tables"]["Table C.1"]["cells"] >= 10
    again = project.snakemake(study="mine")
    assert "Nothing to be done" in again.stdout + again.stderr
