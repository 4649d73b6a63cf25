"""A tiny generated corpus in official formats, and run configurations on it."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from flava.config import SourceConfig, TokenizerConfig
from flava.data.prepare import prepare
from flava.data.tokenizer import make_tokenizers
from flava.jobs import PrepareJob, RunConfig, TokenizerJob, parse

WORDS = ["red", "green", "blue", "small", "large", "circle", "square", "star", "left", "of", "two"]
IMAGES, CAPTIONS = 40, 2
PAIRS_OBJECTIVES = ["global_contrastive", "mmm_image", "mmm_text", "itm"]


def source(adapter: str, path: Path | str, **changes: Any) -> SourceConfig:
    """A source with its manifest fields filled."""
    about = {"name": adapter, "licence": "test", "version": "1"}
    return SourceConfig(**{**about, "adapter": adapter, "path": str(path), **changes})


def png(seed: int, size: int = 32) -> bytes:
    """A random PNG of 4 x 4 coloured tiles."""
    tiles = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(tiles.repeat(size // 4, 0).repeat(size // 4, 1)).save(file, "PNG")
    return file.getvalue()


def sentence(seed: int) -> str:
    """4 to 12 random words."""
    random = np.random.default_rng([7, seed])
    return " ".join(random.choice(WORDS, random.integers(4, 13)).tolist())


def write_raw(folder: Path, image: Callable[[int], bytes] = png) -> None:
    """Pairs as Karpathy JSON, images as an ImageFolder zip, texts as lines."""
    (folder / "pairs").mkdir(parents=True)
    (folder / "images").mkdir()
    entries = []
    with zipfile.ZipFile(folder / "pairs" / "images.zip", "w") as archive:
        for i in range(IMAGES):
            archive.writestr(f"{i:03d}.png", image(i))
            raw = [{"raw": f" {sentence(CAPTIONS * i + j)} . "} for j in range(CAPTIONS)]
            split = "val" if i >= IMAGES - 4 else "train"
            entries.append({"filename": f"{i:03d}.png", "split": split, "sentences": raw})
    (folder / "pairs" / "dataset_toy.json").write_text(json.dumps({"images": entries}))
    with zipfile.ZipFile(folder / "images" / "images.zip", "w") as archive:
        for i in range(30):
            archive.writestr(f"train/{'ab'[i % 2]}/{i:03d}.png", image(1000 + i))
    lines = [sentence(10_000 + i) for i in range(200)]
    (folder / "lines.txt").write_text("\n".join(lines) + "\n")


def pairs_source(raw: Path, **changes: Any) -> SourceConfig:
    """The tiny pairs."""
    return source("karpathy", raw / "pairs", name="toy pairs", **changes)


def make_corpus(raw: Path, out: Path, **changes: Any) -> Path:
    """Tokenizers, all three prepared corpora and random image tokens, under `out`."""
    pairs, texts = [pairs_source(raw)], [source("text_lines", raw / "lines.txt")]
    images = [source("image_folder", raw / "images" / "images.zip")]
    kinds = {"wordpiece": 120, "bpe": 560}
    tokenizers = {
        kind: TokenizerConfig(kind=kind, vocab_size=size)  # type: ignore[arg-type]
        for kind, size in kinds.items()
    }
    job = TokenizerJob(
        study="t", tokenizers=tokenizers, pairs=pairs, texts=texts, output=str(out / "tokenizers")
    )
    make_tokenizers(job)
    for kind, sources in {"pairs": pairs, "images": images, "texts": texts}.items():
        prepare(prepare_job(out, kind, sources, **changes))
    for kind, count in {"pairs": IMAGES - 4, "images": 30}.items():
        tokens = np.random.default_rng(count).integers(0, 512, (count, 16)).astype(np.uint16)
        np.save(out / f"{kind}_tokens.npy", tokens)
    return out


def prepare_job(
    out: Path, kind: str, sources: list[SourceConfig], shard_bytes: int = 6000
) -> PrepareJob:
    """A job that prepares `sources` into <out>/<kind>."""
    names = () if kind == "images" else ("wordpiece", "bpe")
    return PrepareJob(
        study="t",
        kind=kind,
        sources=sources,
        tokenizers={name: str(out / "tokenizers" / f"{name}.json") for name in names},
        shard_bytes=shard_bytes,
        output=str(out / kind),
    )


def run_config(out: Path, **changes: Any) -> RunConfig:
    """A FLAVA run on the tiny corpus; `pretrain` and `masking` are merged, the rest replaced."""
    pretrain = {
        "pair_updates": 20, "batch_size": 16, "text_batch_length": 24, "pair_text_length": 12,
        **changes.pop("pretrain", {}),
    }  # fmt: skip
    masking = {"image_patches": 6, "min_block_patches": 2, **changes.pop("masking", {})}
    value = {
        "study": "t", "column": "c", "seed": 1, "arch": "flava", "init": {}, "contrastive": {},
        "flava": {"image_size": 32, "patch_size": 8, "vocab_size": 200, "max_text_length": 32},
        "clip": None,
        "objectives": {"pairs": PAIRS_OBJECTIVES, "images": ["mim"], "texts": ["mlm"]},
        "sampling": {"pairs": 0.7, "images": 0.15, "texts": 0.15},
        "masking": masking, "pretrain": pretrain, "tokenizer": "wordpiece",
        "tokenizer_path": str(out / "tokenizers" / "wordpiece.json"),
        "corpora": {kind: str(out / kind) for kind in ("pairs", "images", "texts")},
        "image_tokens": {kind: str(out / f"{kind}_tokens.npy") for kind in ("pairs", "images")},
        "output": "results", "checkpoints": "checkpoints",
    }  # fmt: skip
    return parse(RunConfig, {**value, **changes}, "run")
