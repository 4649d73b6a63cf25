"""FLOPs of whole jobs: the schedule's very updates, caption lengths, recipes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from flava.config import CodebookConfig, FlavaConfig, PublishedCodebook
from flava.cost.corpora import caption_words, image_count
from flava.cost.disk import codebook_weights
from flava.cost.flops import add
from flava.cost.models import published_parameters
from flava.cost.runs import codebook_cost, encoder_cost, run_cost, sample_flops, token_flops
from flava.data.schedule import Schedule
from flava.errors import DataError
from workflow.plan import Plan

GF = 1e9


@pytest.fixture(scope="module")
def paper(root: Path) -> Plan:
    return Plan.load("paper", params=str(root / "params"))


def test_updates_and_samples_are_those_of_the_schedule(paper: Plan) -> None:
    run = paper.runs["flava_dino-s0"]
    cost = run_cost(run, caption_words=12.1, pieces_per_word=1.25)
    kinds, counts = np.unique(Schedule(run).kinds, return_counts=True)
    assert dict(cost.updates) == dict(zip(kinds.tolist(), counts.tolist(), strict=True))
    assert cost.updates["pairs"] == 150_000
    assert cost.samples == 8192 * counts.sum()
    # The paper's .70 / .15 / .15, so that updates on pairs are 70 % of all.
    assert cost.updates["pairs"] / counts.sum() == pytest.approx(0.70, abs=0.005)


def test_flops_of_a_sample_at_base_size(paper: Plan) -> None:
    """Counted once with torch's counter on a reference model: 275.5, 104.4 and 8.16 GFLOP."""
    run = paper.runs["flava_no_init-s0"]
    pairs, images, texts = (
        add(sample_flops(run, kind, 17.1, 17.1).values()).total
        for kind in ("pairs", "images", "texts")
    )
    assert pairs == pytest.approx(275.5 * GF, rel=0.01)
    assert images == pytest.approx(104.4 * GF, rel=0.01)
    assert texts == pytest.approx(8.16 * GF, rel=0.06)


def test_padding_costs_more_and_words_less(paper: Plan) -> None:
    run = paper.runs["flava_mm-s0"]
    short, long = (run_cost(run, words, 1.25) for words in (5.0, 12.1))
    assert short.flops < long.flops < long.flops_padded
    assert long.flops_padded == pytest.approx(run_cost(run, 1000, 1.25).flops, rel=0.05)
    mim = run_cost(paper.runs["mim-s0"], 12.1, 1.25)
    assert mim.flops == mim.flops_padded


def test_init_changes_no_cost_of_the_run(paper: Plan) -> None:
    costs = {run_cost(paper.runs[f"{c}-s0"], 12.1, 1.25).flops for c in ("flava_c", "flava_c_dino")}
    assert len(costs) == 1


def test_local_contrastive_saves_only_the_columns_gradient(paper: Plan) -> None:
    none, full = (run_cost(paper.runs[f"{c}-s0"], 12.1, 1.25) for c in ("flava_c_local", "flava_c"))
    saved = full.samples * 2 * 2 * 512 * 8192
    assert full.flops - none.flops == pytest.approx(saved)


def test_recipes_of_the_encoders(paper: Plan) -> None:
    jobs = {init.kind: init.job for init in paper.inits.values()}
    codebook = paper.study.config.codebook
    costs = {kind: encoder_cost(job, codebook) for kind, job in jobs.items()}
    assert costs["mlm"].samples == 125_000 * 2048
    fixed = jobs["beit"].recipe.model_copy(update={"augment": "fixed"})
    cheaper = encoder_cost(jobs["beit"].model_copy(update={"recipe": fixed}), codebook)
    tokens = costs["beit"].samples * token_flops(codebook, FlavaConfig().grid).total
    assert costs["beit"].flops - cheaper.flops == pytest.approx(tokens)
    assert costs["dino"].samples == 500_400 * 1024


def test_tokens_of_each_image_are_counted(paper: Plan) -> None:
    job = paper.codebook_job()
    less, more = codebook_cost(job, 0), codebook_cost(job, 1000)
    assert more.flops - less.flops == pytest.approx(1000 * token_flops(job.codebook, 14).forward)
    assert (less.samples, more.samples) == (3000 * 64, 3000 * 64 + 1000)
    assert token_flops(CodebookConfig(), 14).backward == 0


def test_a_published_codebook_costs_its_encoding_alone(paper: Plan) -> None:
    job, published = paper.codebook_job(), PublishedCodebook(path="folder")
    config = job.codebook.model_copy(update={"published": published})
    job = job.model_copy(update={"codebook": config})
    cost = codebook_cost(job, 1000)
    assert (cost.updates, cost.samples) == ({}, 1000)
    assert cost.flops == cost.flops_padded == 1000 * token_flops(config, 14).total
    assert token_flops(config, 14).total == pytest.approx(52.1e9, rel=1e-3)
    assert round(published_parameters(published, 8192) / 1e6, 1) == 53.8
    weights = codebook_weights(job)
    assert weights.checkpoints(config, False) == 0
    assert weights.model == 4 * published_parameters(published, 8192)
    beit = next(init.job for init in paper.inits.values() if init.kind == "beit")
    more = (
        encoder_cost(beit, config).flops - encoder_cost(beit, paper.codebook_job().codebook).flops
    )
    each = token_flops(config, 14).total - token_flops(paper.codebook_job().codebook, 14).total
    assert more == pytest.approx(beit.recipe.updates * beit.recipe.batch_size * each)


def write_manifest(folder: Path, sources: object) -> None:
    folder.mkdir()
    (folder / "manifest.json").write_text(json.dumps({"sources": sources}))


def test_caption_words_are_the_manifests_or_table_2s(root: Path, tmp_path: Path) -> None:
    published = root / "params" / "paper"
    assert caption_words(tmp_path / "absent", published) == (12.1, "Table 2")
    assert image_count(tmp_path / "absent") is None
    write_manifest(
        tmp_path / "pairs",
        [
            {"counts": {"pairs": 300, "images": 60}, "mean_words": 10.0},
            {"counts": {"pairs": 100, "images": 40}, "mean_words": 20.0},
        ],
    )
    words, source = caption_words(tmp_path / "pairs", published)
    assert words == pytest.approx(12.5)
    assert source == f"{tmp_path}/pairs/manifest.json"
    assert image_count(tmp_path / "pairs") == 100


def test_damaged_sources_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"table_2\.csv is missing"):
        caption_words(tmp_path, tmp_path)
    (tmp_path / "table_2.csv").write_text("dataset,avg_text_length_words\nTotal,many\n")
    with pytest.raises(DataError, match="no mean text length"):
        caption_words(tmp_path, tmp_path)
    write_manifest(tmp_path / "pairs", "none")
    with pytest.raises(DataError, match="lists no sources"):
        caption_words(tmp_path / "pairs", tmp_path)
