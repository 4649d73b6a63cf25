"""FLOPs of whole jobs: the schedule's very updates, caption lengths, recipes."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from flava.config import CodebookConfig, ContrastiveConfig, FlavaConfig, PublishedCodebook
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


def test_the_page_has_what_the_formulas_give(paper: Plan, root: Path) -> None:
    run, page = paper.runs["flava_mm-s0"], (root / "docs" / "cost.md").read_text()
    rows = [line.strip("| \n").split(" | ") for line in page.splitlines() if line.startswith("|")]
    found = {row[0].strip("*"): [cell.strip("*") for cell in row[1:]] for row in rows}
    parts = [sample_flops(run, "pairs", 17.1, padded) for padded in (17.1, 77)]
    for title, name in {
        "image encoder, unmasked (contrastive)": "image encoder, unmasked",
        "text encoder, unmasked (contrastive)": "text encoder, unmasked",
        "image encoder, masked": "image encoder, masked",
        "text encoder, masked": "text encoder, masked",
        "fusion encoder": "fusion encoder",
    }.items():
        assert found[title] == [f"{each[name].total / GF:.1f}" for each in parts], title
    totals = [f"{add(each.values()).total / GF:.1f}" for each in parts]
    assert found["all losses on a pair"] == totals


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


def pairs_flops(plan: Plan, column: str, processes: int = 1, gather: str = "", **options) -> float:
    """FLOPs of a pair of 17.1 tokens, from the resolved configuration of a column."""
    run = plan.runs[f"{column}-s0"]
    pretrain = run.pretrain.model_copy(update=options)
    contrastive = run.contrastive.model_copy(update={"gather": gather or run.contrastive.gather})
    run = run.model_copy(update={"pretrain": pretrain, "contrastive": contrastive})
    return add(sample_flops(run, "pairs", 17.1, 17.1, processes).values()).total


def encoders_forward(layers: int, text_width: int = 768) -> float:
    """FLOPs of both encoders at base size, [CLS] alone in the last block, and of projections."""

    def encoder(length: float, width: int) -> float:
        linears, attention = 2 * length * 12 * width**2, 4 * length**2 * width
        last = 2 * (length * 2 + 10) * width**2 + 4 * length * width
        return (layers - 1) * (linears + attention) + last

    patches = 2 * 196 * 3 * 16**2 * 768
    projections = 2 * 512 * (768 + text_width)
    return patches + encoder(197, 768) + encoder(17.1, text_width) + projections


COSINES = 3 * 2 * 2 * 512  # of a pair and a column, both directions, forward and backward


@pytest.mark.parametrize("column, text_width", [("flava_c", 768), ("clip_pmd", 512)])
def test_micro_batches_embed_pairs_once_more(paper: Plan, column: str, text_width: int) -> None:
    flops = partial(pairs_flops, paper, column, gather="global")
    plain = flops()
    assert flops(contrastive_batch="micro") == plain  # there is one
    whole = flops(accumulate=4)
    assert whole - plain == pytest.approx(encoders_forward(12, text_width))
    micro = flops(accumulate=4, contrastive_batch="micro")
    assert plain - micro == pytest.approx(COSINES * (8192 - 2048))


def test_what_has_no_contrastive_loss_is_never_embedded_before(paper: Plan) -> None:
    for name, kind in (("mim-s0", "pair_images"), ("mlm-s0", "pair_texts"),
                       ("flava_dino-s0", "texts"), ("flava_dino-s0", "images")):  # fmt: skip
        run = paper.runs[name]
        parts = run.model_copy(
            update={"pretrain": run.pretrain.model_copy(update={"accumulate": 4})}
        )
        assert sample_flops(parts, kind, 17.1, 17.1) == sample_flops(run, kind, 17.1, 17.1)


def test_each_process_scores_all_rows_where_the_mode_says_so(paper: Plan) -> None:
    plain = pairs_flops(paper, "flava_c")
    for gather in ("global", "local"):
        assert pairs_flops(paper, "flava_c", 8, gather) == plain
    for gather in ("global_full", "openclip_2021"):
        assert pairs_flops(paper, "flava_c", 1, gather) == plain
        more = pairs_flops(paper, "flava_c", 8, gather) - plain
        assert more == pytest.approx(7 * COSINES * 8192)


def test_on_one_rank_all_modes_cost_the_same(paper: Plan) -> None:
    run = paper.runs["flava_c_local-s0"]
    alone = run.model_copy(update={"contrastive": ContrastiveConfig(gather="none", ranks=1)})
    costs = [add(sample_flops(alone, "pairs", 17.1, 17.1).values()).total]
    assert costs == [pairs_flops(paper, "flava_c")]


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
