"""The paper's study against the paper's own numbers, one by one; and its plan without data."""

from __future__ import annotations

import csv
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from flava.config import FlavaConfig, PublishedCodebook
from flava.cost.models import published_parameters
from flava.cost.runs import token_flops
from flava.models import DiscreteVAE, Flava
from flava.studies import Study, load_study, read_yaml

TABLES = ("table_a1", "table_a2", "section_b1", "recipes")


def read_csv(root: Path, name: str) -> list[dict[str, str]]:
    with (root / "params" / "paper" / f"{name}.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def at(tree: Any, key: str) -> Any:
    for part in key.split("."):
        tree = tree[part]
    return tree


def same(value: Any, printed: str) -> bool:
    """Whether a setting is what the table prints: a number, N x N, or a schedule."""
    if isinstance(value, str):
        return printed.removeprefix("warmup_") == value
    return float(value) == float(printed.split(" x ")[0])


def differences(root: Path, name: str, trees: list[Any]) -> list[str]:
    return [
        f"{row['key']} is {at(tree, row['key'])}, {name} says {row['value']}"
        for row in read_csv(root, name)
        for tree in trees
        if not same(at(tree, row["key"]), row["value"])
    ]


@pytest.fixture(scope="module")
def study() -> Study:
    return load_study(Path(__file__).parent.parent / "params", "paper")


@pytest.mark.parametrize("name", TABLES)
def test_numbers_are_the_papers_and_stated(root: Path, study: Study, name: str) -> None:
    """Both in the file as written (a KeyError: not stated) and in what it resolves to."""
    trees = [read_yaml(root / "params" / "paper.yaml"), study.config.model_dump()]
    assert differences(root, name, trees) == []


def test_tables_are_whole(root: Path) -> None:
    assert [len(read_csv(root, name)) for name in TABLES[:3]] == [29, 3, 5]


def test_a_changed_number_is_found(root: Path, study: Study) -> None:
    """The comparison can fail, for every number of every table."""
    changed = 0
    for name in TABLES:
        for row in read_csv(root, name):
            tree = study.config.model_dump()
            *path, last = row["key"].split(".")
            parent = at(tree, ".".join(path))
            parent[last] = "linear" if isinstance(parent[last], str) else parent[last] + 1
            found = differences(root, name, [tree])
            assert any(row["key"] in line for line in found), row
            changed += 1
    assert changed > 60


def test_what_the_runs_resolve_to(study: Study) -> None:
    """Runs, inits and tasks carry the study's numbers, not defaults of their own."""
    run = study.run_config("flava_dino", 0)
    assert run.sampling == {"pairs": 0.70, "images": 0.15, "texts": 0.15}
    assert (run.pretrain.pair_updates, run.pretrain.select_updates) == (150_000, 8000)
    assert run.flava == study.config.flava
    sizes = {
        name: study.evaluate_task(name).finetune.image_size  # type: ignore[union-attr]
        for name in study.config.tasks
        if study.evaluate_task(name).finetune
    }
    assert sizes.pop("vqav2") == 480
    assert set(sizes.values()) <= {None, 224}
    vqa = study.evaluate_task("vqav2").finetune
    assert vqa is not None
    assert (vqa.batch_size, vqa.batch_size // vqa.accumulate, vqa.precision) == (256, 32, "bf16")


def test_models_have_no_dropout() -> None:
    """Table A.1: dropout 0 in all three encoders."""
    small = FlavaConfig(
        hidden_size=16, num_attention_heads=2, intermediate_size=16, image_layers=1, text_layers=1,
        multimodal_layers=1, image_size=32, vocab_size=50, codebook_size=8, projection_dim=8,
    )  # fmt: skip
    modules = list(Flava(small).modules())
    assert not [m for m in modules if isinstance(m, nn.Dropout) and m.p > 0]


def test_sources_are_table_2(root: Path, study: Study) -> None:
    table = {row["dataset"]: row["image_text_pairs_millions"] for row in read_csv(root, "table_2")}
    del table["Total"]
    pairs = {source.name: source.expected_pairs for source in study.config.data.pairs}
    assert list(pairs) == list(table)
    assert {name: n / 1e6 for name, n in pairs.items() if n} == {
        name: float(millions) for name, millions in table.items()
    }
    yfcc = study.config.data.pairs[-1]
    assert yfcc.filter is not None
    assert yfcc.filter.min_words == 3  # "more than two words"


def test_imagenet_is_whole(study: Study) -> None:
    """The corpus has the pictures that the probe of the same files counts."""
    (imagenet,) = study.config.data.images
    assert imagenet.expected_images == study.tasks["imagenet"].counts["train"]


def test_all_fourteen_columns(study: Study) -> None:
    assert study.config.columns == [n for n, c in study.columns.items() if c.number <= 14]
    assert len(study.config.columns) == 14


def test_plans_without_data(root: Path, tmp_path: Path) -> None:
    """`snakemake -n` with FLAVA_DATA unset plans every column and touches no data."""
    environment = {k: v for k, v in os.environ.items() if k != "FLAVA_DATA"}
    for name in ("Snakefile", "flava", "workflow", "params", "notebooks"):
        (tmp_path / name).symlink_to(root / name)
    command = ["-m", "snakemake", "-n", "--quiet", "rules", "--config", "study=paper"]
    done = subprocess.run(
        [sys.executable, *command, "--directory", str(tmp_path), "-s", str(tmp_path / "Snakefile")],
        cwd=tmp_path, env={**environment, "PYTHONPATH": str(root)}, capture_output=True, text=True,
        timeout=400, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert not (tmp_path / "data").exists()
    runs = {path.name for path in (tmp_path / "results" / "paper" / "runs").iterdir()}
    assert len(runs) == 14


def test_what_is_said_of_the_image_tokenizers_size(root: Path, study: Study) -> None:
    config, published = study.config.codebook, PublishedCodebook(path="folder")
    written = read_yaml(root / "params/paper.yaml")["codebook"]
    sizes = {"codebook_size", "downsample", "width", "layers", "updates", "batch_size"}
    assert written == config.model_dump(include=sizes) and config.published is None
    with torch.device("meta"):
        ours = sum(p.numel() for p in DiscreteVAE(config).encoder.parameters())
    theirs = published_parameters(published, config.codebook_size)
    taken = config.model_copy(update={"published": published})
    flops = [token_flops(each, study.config.flava.grid).total for each in (config, taken)]
    seen, images = config.updates * config.batch_size, 68e6 + 1_281_167  # PMD's and ImageNet's
    (line,) = re.findall(r"^\| image tokens .*$", (root / "docs/deviations.md").read_text(), re.M)
    for said in (
        f"{ours / 1e6:.1f}M parameters, {ours / theirs:.1%}".replace("%", " %"),
        f"DALL-E's {theirs / 1e6:.1f}M",
        f"{flops[0] / 1e9:.1f} GFLOP an image, {flops[0] / flops[1]:.1%}".replace("%", " %"),
        f"of {flops[1] / 1e9:.1f}; its {config.updates:,} updates of {config.batch_size} images",
        f"{seen:,} of some {images / 1e6:.0f}M ({seen / images:.2%})".replace("%", " %"),
    ):
        assert said in line, said
