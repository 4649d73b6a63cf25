"""A tiny prepared study: 64 captioned pictures, 40 pictures, 60 sentences, tokens of a codebook."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw
from train_helpers import Tree, codebook_job, write_config

from flava.config import SourceConfig, TokenizerConfig
from flava.data import prepare, tokenizer
from flava.jobs import PrepareJob, TokenizerJob
from flava.train.codebook import train_codebook

COLOURS = ("red", "green", "blue", "yellow")
SHAPES = ("circle", "square")


def picture(rng: np.random.Generator, colour: str, shape: str) -> Image.Image:
    image = Image.fromarray(rng.integers(0, 60, (20, 24, 3), np.uint8))
    x, y = (int(v) for v in rng.integers(1, 8, 2))
    draw = ImageDraw.Draw(image)
    (draw.ellipse if shape == "circle" else draw.rectangle)((x, y, x + 10, y + 10), fill=colour)
    return image


def write_raw(folder: Path) -> None:
    rng = np.random.default_rng(0)
    for part, count in (("pairs/images", 64), ("images/train/all", 40)):
        (folder / part).mkdir(parents=True)
        lines = []
        for i in range(count):
            colour, shape = COLOURS[i % 4], SHAPES[int(rng.integers(2))]
            picture(rng, colour, shape).save(folder / part / f"{i:03d}.png")
            captions = [f"a {colour} {shape} lies in the dark"]
            lines.append(json.dumps({"file": f"{i:03d}.png", "captions": captions}))
        if part == "pairs/images":
            (folder / "pairs" / "captions.jsonl").write_text("\n".join(lines) + "\n")
    words = [*COLOURS, *SHAPES, "lies", "dark", "the", "in"]
    sentences = [" ".join(rng.choice(words, int(rng.integers(3, 12)))) for _ in range(60)]
    (folder / "texts.txt").write_text("\n".join(sentences) + "\n")


def source(adapter: str, path: Path) -> SourceConfig:
    return SourceConfig(
        adapter=adapter, path=str(path), name=adapter, licence="CC0-1.0", version="1"
    )


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with tokenizers/, pairs/, images/, texts/ and codebook/ of the tiny study."""
    root = tmp_path_factory.mktemp("study")
    write_raw(root / "raw")
    sources = {
        "pairs": [source("captions_jsonl", root / "raw" / "pairs" / "captions.jsonl")],
        "images": [source("image_folder", root / "raw" / "images")],
        "texts": [source("text_lines", root / "raw" / "texts.txt")],
    }
    tokenizer.make_tokenizers(
        TokenizerJob(
            study="tiny",
            tokenizers={
                "wordpiece": TokenizerConfig(kind="wordpiece", vocab_size=80),
                "bpe": TokenizerConfig(kind="bpe", vocab_size=600),
            },
            pairs=sources["pairs"],
            texts=sources["texts"],
            output=str(root / "tokenizers"),
        )
    )
    paths = {name: str(root / "tokenizers" / f"{name}.json") for name in ("wordpiece", "bpe")}
    for kind, items in sources.items():
        job = PrepareJob(
            study="tiny",
            kind=kind,
            sources=items,
            tokenizers={} if kind == "images" else paths,
            shard_bytes=100_000,
            output=str(root / kind),
        )
        prepare.prepare(job)
    train_codebook(codebook_job(root))
    return root


@pytest.fixture
def run_tree(study: Path, tmp_path: Path) -> Tree:
    """Plain data of a tiny FLAVA run on all three corpora; tests change it and write it."""
    return {
        "study": "tiny",
        "column": "flava_c",
        "seed": 1,
        "arch": "flava",
        "flava": {
            "hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 32,
            "image_layers": 1, "text_layers": 1, "multimodal_layers": 1, "image_size": 16,
            "patch_size": 4, "vocab_size": 128, "max_text_length": 24, "codebook_size": 32,
            "projection_dim": 16,
        },
        "clip": None,
        "init": {},
        "objectives": {
            "pairs": ["global_contrastive", "mmm_image", "mmm_text", "itm"],
            "images": ["mim"],
            "texts": ["mlm"],
        },
        "sampling": {"pairs": 0.6, "images": 0.2, "texts": 0.2},
        "contrastive": {"gather": "global", "ranks": 1},
        "masking": {
            "image_patches": 6, "min_block_patches": 2, "itm_negative_probability": 0.25,
        },
        "pretrain": {
            "pair_updates": 12, "batch_size": 8, "text_batch_length": 24, "pair_text_length": 16,
            "precision": "fp32", "checkpoint_updates": 4, "log_updates": 3,
            "optim": {"learning_rate": 1e-3, "warmup_updates": 3},
        },
        "tokenizer": "wordpiece",
        "tokenizer_path": str(study / "tokenizers" / "wordpiece.json"),
        "corpora": {name: str(study / name) for name in ("pairs", "images", "texts")},
        "image_tokens": {n: str(study / "codebook" / f"{n}.npy") for n in ("pairs", "images")},
        "output": str(tmp_path / "run"),
        "checkpoints": str(tmp_path / "checkpoints"),
    }  # fmt: skip


@pytest.fixture
def write_run() -> Callable[[Tree], str]:
    """What writes a run's plain data as its config.json and returns the path."""
    return write_config


@pytest.fixture
def encoder_trees(run_tree: Tree, study: Path, tmp_path: Path) -> dict[str, Tree]:
    """Plain data of a tiny job of each encoder recipe, by its step."""
    common = {
        "study": "tiny", "seed": 1, "flava": run_tree["flava"], "selection": None,
        "output": str(tmp_path / "init"), "checkpoints": str(tmp_path / "checkpoints"),
    }  # fmt: skip
    loop = {
        "updates": 40, "batch_size": 4, "precision": "fp32", "checkpoint_updates": 8,
        "log_updates": 10, "optim": {"learning_rate": 5e-3, "warmup_updates": 4},
    }  # fmt: skip
    masks = {"image_patches": 6, "min_block_patches": 2}
    return {
        "init_mlm": common
        | {
            "recipe": loop
            | {"text_length": 24, "validation_fraction": 0.2, "select_updates": 10, "dropout": 0.1},
            "masking": {},
            "tokenizer_path": str(study / "tokenizers" / "wordpiece.json"),
            "texts": str(study / "texts"),
        },
        "init_beit": common
        | {
            "recipe": loop | {"batch_size": 8, "drop_path": 0.2, "augment": "random"},
            "masking": masks,
            "images": str(study / "images"),
            "image_tokens": str(study / "codebook" / "images.npy"),
            "crop_scale_min": 0.9,
        },
    }
