"""Generates the toy world: corpora, all stand-ins and a manifest, from one seed."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from zlib import crc32

import numpy as np

from flava.config import ToyWorldConfig
from flava.data.toy.documents import documents
from flava.data.toy.draw import draw
from flava.data.toy.files import karpathy, write_compact_json, write_images, write_manifest
from flava.data.toy.glue_tasks import GLUE_TASKS, write_glue_task
from flava.data.toy.layouts import folder
from flava.data.toy.multimodal_tasks import (
    MULTIMODAL_TASKS,
    RETRIEVAL_TASKS,
    captions_of,
    write_retrieval,
)
from flava.data.toy.scenes import sample
from flava.data.toy.seeds import Seed, generators
from flava.data.toy.vision_tasks import VISION_TASKS, imagenet
from flava.data.toy.write_vision import labels, write_mnist, write_sst, write_vision_task
from flava.io import atomic_directory
from flava.jobs import ToyWorldJob

VERSION = "5"  # raise when the same seed gives other bytes
SIGNS = 0.25  # share of captioned scenes with a written word
TEXTS = {"news": "ssfqp", "books": "srrgp"}  # kinds of documents in each file
Counts = dict[str, int]


def generate(job: ToyWorldJob, threads: int = 1) -> None:
    """Writes the toy world to `job.output`; the same job gives the same bytes.

    Args:
        job: what to write, and where.
        threads: processes that share the parts; not part of the bytes.

    Raises:
        OSError: the folder cannot be written.
    """
    with atomic_directory(Path(job.output)) as root:
        names = list(parts(job.toy_world))
        counts = _written(job.toy_world, names, root, threads)
        write_manifest(
            root,
            {
                "name": "toy world",
                "version": VERSION,
                "licence": "generated",
                "config": job.toy_world.model_dump(),
                "counts": counts,
            },
        )


def parts(config: ToyWorldConfig) -> dict[str, Callable[[Path], Counts]]:
    """Each part's writer, by its folder; every part has its own random stream."""
    size, train, test = config.image_size, config.task_train, config.task_test

    def seed(part: str) -> Seed:
        return Seed([config.seed, crc32(part.encode())])

    def rng(part: str) -> np.random.Generator:
        return np.random.default_rng(seed(part))

    few, shown = max(train // 10, 1), max(test // 2, 2)
    found: dict[str, Callable[[Path], Counts]] = {
        "pairs": lambda root: _pairs(root / "pairs", seed("pairs"), size, config.pairs),
        "images": lambda root: _images(root / "images", rng("images"), config),
        "texts": lambda root: _texts(root / "texts", seed("texts"), config.sentences),
        "tasks/sst": lambda root: write_sst(root / "tasks", rng("sst"), size, train, test),
        "tasks/mnist": lambda root: write_mnist(root / "tasks", rng("mnist"), train, test),
    }

    if config.large_pairs:
        found["large_pairs"] = lambda root: _pairs(
            root / "large_pairs", seed("large_pairs"), size, config.large_pairs
        )

    def vision(task: str, root: Path) -> Counts:
        return write_vision_task(root / "tasks", task, rng(task), size, train, test)

    def glue(task: str, root: Path) -> Counts:
        return write_glue_task(root / "tasks", task, seed(task), train, test)

    def retrieval(task: str, objects: tuple[int, int], root: Path) -> Counts:
        folder = root / "tasks" / task
        return write_retrieval(folder, task, seed(task), size, few, shown, objects)

    def multimodal(task: str, root: Path) -> Counts:
        write = MULTIMODAL_TASKS[task]
        return write(root / "tasks" / task, seed(task), size, train, test)

    found |= {f"tasks/{task}": partial(vision, task) for task in VISION_TASKS}
    found |= {f"tasks/{task}": partial(glue, task) for task in GLUE_TASKS}
    found |= {f"tasks/{task}": partial(retrieval, task, n) for task, n in RETRIEVAL_TASKS.items()}
    found |= {f"tasks/{task}": partial(multimodal, task) for task in MULTIMODAL_TASKS}
    return found


def _written(
    config: ToyWorldConfig, names: Sequence[str], root: Path, threads: int
) -> dict[str, Counts]:
    """Counts of each part, once all are written."""
    write = partial(_write, config, root)
    if threads == 1:
        return {name: write(name) for name in names}
    # The largest first: nothing else takes as long.
    order = sorted(names, key=lambda name: name != "large_pairs")
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(threads, mp_context=context) as pool:
        found = dict(zip(order, pool.map(write, order), strict=True))
    return {name: found[name] for name in names}


def _write(config: ToyWorldConfig, root: Path, name: str) -> Counts:
    return parts(config)[name](root)


def _pairs(root: Path, seed: Seed, size: int, count: int) -> Counts:
    """Captioned scenes in Karpathy's layout; one or two captions each."""
    numbers, rng = generators(seed)
    scenes = sample(numbers, count, signs=SIGNS)
    texts = captions_of(rng, scenes, (1, 2))
    files = [f"{i:07d}.jpg" for i in range(count)]
    splits = ["train"] * count
    write_compact_json(root / "dataset_toy.json", karpathy("toy", files, splits, texts))
    write_images(root / "images.zip", files, draw(numbers, scenes, size))
    return {"images": len(files), "captions": sum(len(captions) for captions in texts)}


def _images(root: Path, rng: np.random.Generator, config: ToyWorldConfig) -> Counts:
    """Image-only scenes: the ImageNet stand-in's classes, other pictures."""
    classes = VISION_TASKS["imagenet"].classes
    label = labels(rng, len(classes), config.images, 1)
    names = [f"train/{folder(classes[k])}/{i:06d}.jpg" for i, k in enumerate(label.tolist())]
    write_images(root / "images.zip", names, draw(rng, imagenet(rng, label), config.image_size))
    return {"images": len(names), "classes": len(classes)}


def _texts(root: Path, seed: Seed, sentences: int) -> Counts:
    """news.txt: scene reports, facts, questions; books.txt: stories, reviews, plain sentences."""
    root.mkdir(parents=True)
    counts = {}
    for name, kinds, child in zip(
        ("news", "books"), ("ssfqp", "srrgp"), seed.spawn(2), strict=True
    ):
        lines = list(documents(child, max(sentences // 2, 1), kinds))
        (root / f"{name}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
        counts[f"{name} documents"] = len(lines)
    return {**counts, "sentences": sentences}
