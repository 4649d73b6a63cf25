"""Writes the vision stand-ins, each in the official layout of its set."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flava.data.toy import layouts_a, layouts_b
from flava.data.toy import vocabulary as v
from flava.data.toy.draw import draw, write
from flava.data.toy.files import write_idx
from flava.data.toy.layouts import Layout, Parts, folder, hold_out, write_image_folder
from flava.data.toy.scenes import Ints, sample
from flava.data.toy.shapes import DISTANCES
from flava.data.toy.vision_tasks import VISION_TASKS
from flava.io import write_json

LAYOUTS = layouts_a.LAYOUTS | layouts_b.LAYOUTS  # others: class folders in a zip
TEMPLATES = ("a photo of a {}", "a picture of a {} .", "there is a {}", "a {}", "we see a {}")
SST_WORDS = (("poor", "dull", "ugly"), ("good", "fine", "nice"))  # of one length; by label
SST_SCALE = 2  # letters of 6 x 10 pixels at 32 pixels a side
TRAIN_A_CLASS, TEST_A_CLASS = 4, 1  # fewest examples: a probe carves its validation set out


def labels(rng: np.random.Generator, classes: int, n: int, least: int) -> Ints:
    """Balanced labels in random order; at least `least` of each class."""
    return rng.permutation(np.arange(max(n, least * classes)) % classes)


def write_vision_task(
    root: Path, task: str, rng: np.random.Generator, size: int, train: int, test: int
) -> dict[str, int]:
    """Writes <root>/<task> in the set's official layout; for ImageNet the zero-shot prompts too."""
    spec, layout = VISION_TASKS[task], LAYOUTS.get(task, Layout(write_image_folder))
    parts: Parts = {}
    if layout.train_a_class:
        train = layout.train_a_class * len(spec.classes)
    for split, n, least in (("train", train, TRAIN_A_CLASS), ("test", test, TEST_A_CLASS)):
        label = labels(rng, len(spec.classes), n, least)
        parts[split] = label, draw(rng, spec.paint(rng, label), layout.side or size)
    if layout.validation:
        parts = hold_out(parts)
    layout.write(root / task, spec.classes, parts, rng)
    if task == "imagenet":
        write_json(root / task / "classnames.json", zero_shot_names())
        write_json(root / task / "templates.json", list(TEMPLATES))
    return {split: len(label) for split, (label, _) in parts.items()} | {
        "classes": len(spec.classes)
    }


def zero_shot_names() -> list[str]:
    """ImageNet's class names in the order of the sorted class folders."""
    return sorted(VISION_TASKS["imagenet"].classes, key=folder)


def write_sst(
    root: Path, rng: np.random.Generator, size: int, train: int, test: int
) -> dict[str, int]:
    """Rendered SST: a large sign that says a good or a bad word on a scene."""
    layout = LAYOUTS.get("sst", Layout(write_image_folder))
    parts: Parts = {}
    for split, n, least in (("train", train, TRAIN_A_CLASS), ("test", test, TEST_A_CLASS)):
        label = labels(rng, 2, n, least)
        pixels = draw(rng, sample(rng, len(label), (1, 1)), size).astype(np.float32)
        pick = rng.integers(len(SST_WORDS[0]), size=len(label))
        lines = [[SST_WORDS[k][i]] for k, i in zip(label.tolist(), pick.tolist(), strict=True)]
        write(rng, pixels, np.arange(len(label)), lines, SST_SCALE)
        parts[split] = label, np.clip(pixels, 0, 255).astype(np.uint8)
    if layout.validation:
        parts = hold_out(parts)
    layout.write(root / "sst", ("negative", "positive"), parts, rng)
    return {split: len(label) for split, (label, _) in parts.items()} | {"classes": 2}


def write_mnist(root: Path, rng: np.random.Generator, train: int, test: int) -> dict[str, int]:
    """Digits at 28 pixels, grey, as MNIST's four gzipped idx files."""
    counts = {}
    for split, stem, n, least in (
        ("train", "train", train, TRAIN_A_CLASS),
        ("test", "t10k", test, TEST_A_CLASS),
    ):
        label = labels(rng, 10, n, least)
        write_idx(root / "mnist" / f"{stem}-images-idx3-ubyte.gz", _digits(rng, label))
        write_idx(root / "mnist" / f"{stem}-labels-idx1-ubyte.gz", label.astype(np.uint8))
        counts[split] = len(label)
    return {**counts, "classes": 10}


def _digits(rng: np.random.Generator, label: Ints) -> NDArray[np.uint8]:
    """White digits on black: uint8 [N, 28, 28]; shifted, turned, sheared, stretched, noisy."""
    n, side = len(label), 28
    steps = ((np.arange(side) + 0.5) / side * 2 - 1).astype(np.float32)
    out = np.zeros((n, side, side), np.float32)

    def each(low: float, high: float) -> NDArray[np.float32]:
        return rng.uniform(low, high, (n, 1, 1)).astype(np.float32)

    x, y = steps[None, None, :] - each(-0.3, 0.3), steps[None, :, None] - each(-0.2, 0.2)
    angle, shear = each(-0.35, 0.35), each(-0.3, 0.3)
    width, height = each(0.45, 0.85), each(0.55, 0.85)
    across = (np.cos(angle) * x + np.sin(angle) * y) / width
    down = (np.cos(angle) * y - np.sin(angle) * x) / height
    across = across + shear * down
    weight = each(-0.03, 0.07)
    for digit in range(10):
        rows = np.flatnonzero(label == digit)
        distance = DISTANCES[v.DIGIT0 + digit](across[rows], down[rows])
        out[rows] = np.clip(0.5 + (weight[rows] - distance) * 9, 0, 1)
    out = out * 235 + rng.normal(0, 22, out.shape).astype(np.float32)
    return np.clip(out, 0, 255).astype(np.uint8)
