"""A small real backbone-shaped model, a word tokenizer and writers of tiny data sets."""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional
from webdataset import TarWriter

from flava.config import FinetuneConfig, TaskConfig, TaskData
from flava.evaluate.context import Context
from flava.evaluate.datasets import load_task
from flava.evaluate.taskdata import PixelArray, TaskSet

WIDTH, VOCAB = 32, 512


class FakeTokenizer:
    """Words hashed to ids; 0 pads, 1 begins, 2 separates and ends."""

    pad_id = 0

    def pair(self, text_a: str, text_b: str | None = None, max_length: int = 512) -> list[int]:
        words = [*text_a.split(), *(["|"] if text_b is not None else []), *(text_b or "").split()]
        ids = [3 + zlib.crc32(word.encode()) % (VOCAB - 3) for word in words]
        return [1, *ids[: max_length - 2], 2]

    def types(self, ids: list[int]) -> list[int]:
        return [0] * len(ids)


class FakeBackbone(nn.Module):
    """Mean-pooled linear patches and words, and an MLP over both."""

    image_dim = text_dim = multimodal_dim = WIDTH
    image_size, max_text_length = 16, 32

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.patches = nn.Linear(3 * 4 * 4, WIDTH)
        self.words = nn.Embedding(VOCAB, WIDTH)
        self.fuse = nn.Sequential(nn.Linear(2 * WIDTH, WIDTH), nn.GELU(), nn.Linear(WIDTH, WIDTH))

    def image_features(self, pixels_BCHW: Tensor) -> Tensor:
        patches = functional.unfold(pixels_BCHW, 4, stride=4).transpose(1, 2)
        return torch.tanh(self.patches(patches)).mean(dim=1)

    def text_features(
        self, text_BL: Tensor, attention_BL: Tensor, types_BL: Tensor | None = None
    ) -> Tensor:
        weight = attention_BL[..., None].float()
        return (self.words(text_BL) * weight).sum(1) / weight.sum(1)

    def image_embeddings(self, pixels_BCHW: Tensor) -> Tensor:
        return functional.normalize(self.image_features(pixels_BCHW), dim=-1)

    def text_embeddings(self, text_BL: Tensor, attention_BL: Tensor) -> Tensor:
        return functional.normalize(self.text_features(text_BL, attention_BL), dim=-1)

    def multimodal_features(
        self, pixels_BCHW: Tensor, text_BL: Tensor, attention_BL: Tensor
    ) -> Tensor:
        image, text = self.image_features(pixels_BCHW), self.text_features(text_BL, attention_BL)
        return self.fuse(torch.cat([image, text], dim=1))

    def losses(self, *_: Any) -> dict[str, Tensor]:
        raise NotImplementedError


def task_config(family: str, metric: str = "accuracy", **changes: Any) -> TaskConfig:
    rows = ["Fake TR R@1", "Fake IR R@5"] if family == "retrieval" else ["Fake"]
    domain = {"glue": "nlp", "linear_probe": "vision", "zero_shot": "vision"}
    plain = {
        "title": "Fake", "domain": domain.get(family, "multimodal"), "family": family,
        "rows": rows, "metric": metric, "source": "test", "obtain": "example.org",
        "licence": "none",
    }  # fmt: skip
    return TaskConfig.model_validate(plain | changes)


def context(family: str, metric: str = "accuracy", model: Any = None, **changes: Any) -> Context:
    values = {
        "name": "fake", "task": task_config(family, metric), "model": model or FakeBackbone(),
        "tokenizer": FakeTokenizer(), "seed": 0, "resamples": 50, "stand_in": "made up",
    }  # fmt: skip
    return Context(**(values | changes))


def data_config(adapter: str, path: Path | str, **changes: Any) -> TaskData:
    return TaskData.model_validate({"adapter": adapter, "path": str(path)} | changes)


def load(name: str, family: str, adapter: str, path: Path | str, **changes: Any) -> TaskSet:
    """A task as `adapter` reads it."""
    return load_task(name, task_config(family), data_config(adapter, path, **changes))


def load_official(
    adapter: str, path: Path | str, family: str = "linear_probe", **changes: Any
) -> TaskSet:
    """A release that its own adapter reads, in another number than its publisher's."""
    return load("x", family, adapter, path, **{"stand_in": "toy"} | changes)


def finetune_config(**changes: Any) -> FinetuneConfig:
    plain = {
        "learning_rate": 0.01, "batch_size": 32, "updates": 60, "evaluations": 3,
        "warmup_updates": min(5, changes.get("updates", 60) - 1),
    }  # fmt: skip
    return FinetuneConfig.model_validate(plain | changes)


def png(array_HWC: PixelArray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array_HWC).save(buffer, "PNG")
    return buffer.getvalue()


def noise_png(seed: int, size: int = 16) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (size, size, 3), np.uint8)
    return png(pixels)


def colour_png(red: bool, seed: int, size: int = 16) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 120, (size, size, 3), np.uint8)
    pixels[..., 0 if red else 2] += 120
    return png(pixels)


def write_zip(path: Path, members: Mapping[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def write_json_lines(path: Path, rows: list[dict[str, Any]]) -> Path:
    return write(path, "".join(json.dumps(row) + "\n" for row in rows))


def web_dataset(
    root: Path, split: str, labels: Sequence[int | str | bytes], count: int = 2
) -> None:
    """A split of CLIP_benchmark's layout: noise pictures by number, dealt out to `count` tars.

    A label is a class number, or the captions of an image, one a line.
    """
    (root / split).mkdir(parents=True)
    write(root / split / "nshards.txt", str(count))
    for shard in range(count):
        with TarWriter(str(root / split / f"{shard}.tar")) as tar:
            for number in range(shard, len(labels), count):
                kind = "cls" if isinstance(labels[number], int) else "txt"
                sample = {"png": noise_png(number), kind: labels[number]}
                tar.write({"__key__": f"s{number:07d}", **sample})


def colour_folder(path: Path, train: int = 40, test: int = 20) -> Path:
    """Red and blue noise images in two classes."""
    return write_zip(
        path,
        {
            f"{split}/{'red' if i % 2 else 'blue'}/{i}.png": colour_png(bool(i % 2), i + start)
            for split, count, start in (("train", train, 0), ("test", test, 1000))
            for i in range(count)
        },
    )
