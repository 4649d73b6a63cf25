"""Stand-ins for retrieval and Hateful Memes, and the list of all multimodal stand-ins."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from flava.data.toy import vocabulary as v
from flava.data.toy.captions import caption
from flava.data.toy.draw import draw
from flava.data.toy.files import (
    karpathy,
    write_compact_json,
    write_images,
    write_jsonl,
)
from flava.data.toy.scenes import Scenes, Thing, lay_out, sample
from flava.data.toy.seeds import Seed, generators
from flava.data.toy.statements import say
from flava.data.toy.visual_entailment import write_snli_ve
from flava.data.toy.visual_questions import write_vqav2

CAPTIONS = 5
COLOUR = frozenset({"colour"})


def captions_of(rng: Random, scenes: Scenes, each: tuple[int, int]) -> list[list[str]]:
    """each[0]..each[1] captions a scene."""
    rows = zip(scenes.things(), scenes.background.tolist(), scenes.word.tolist(), strict=True)
    return [
        [caption(rng, things, background, word) for _ in range(rng.randint(*each))]
        for things, background, word in rows
    ]


def write_retrieval(
    folder: Path, task: str, seed: Seed, size: int, train: int, test: int, objects: tuple[int, int]
) -> dict[str, int]:
    """Karpathy JSON and images: five captions an image; `test` images, a tenth of it as val."""
    numbers, rng = generators(seed)
    counts = {"train": max(train, 1), "val": max(test // 10, 1), "test": test}
    splits = [split for split, n in counts.items() for _ in range(n)]
    scenes = sample(numbers, len(splits), objects, signs=0.15)
    style = "COCO_val2014_{:012d}.jpg" if task == "coco" else "{:010d}.jpg"
    files = [style.format(i + 1) for i in range(len(splits))]
    texts = captions_of(rng, scenes, (CAPTIONS, CAPTIONS))
    write_compact_json(folder / f"dataset_{task}.json", karpathy(task, files, splits, texts))
    place = "val2014" if task == "coco" else "flickr30k_images"
    names = [f"{place}/{file}" for file in files]
    write_images(folder / "images.zip", names, draw(numbers, scenes, size))
    return counts


def _distinct(numbers: np.random.Generator, n: int, objects: tuple[int, int]) -> Scenes:
    """Scenes whose objects differ in shape, so that a noun names one of them."""
    scenes = sample(numbers, n, objects, shapes=np.arange(len(v.SHAPES)))
    order = np.argsort(numbers.random((n, len(v.SHAPES))), axis=1)[:, : scenes.shape.shape[1]]
    scenes.shape = np.where(scenes.shape >= 0, order, scenes.shape)
    return lay_out(numbers, scenes)


INSULTS = ("nobody likes {}", "who wants {} today", "send {} home", "we all laugh at {}",
           "{} must go", "look how dull {} is")  # fmt: skip


def write_hateful_memes(
    folder: Path, seed: Seed, size: int, train: int, test: int
) -> dict[str, int]:
    """Memes in fours: two pictures, two texts; hateful where the text aims at what is shown.

    Each picture and each text occurs once with each label (benign confounders), so that either
    alone is at chance.
    """
    numbers, rng = generators(seed)
    counts, names, images = {}, [], []
    first = 1
    for split, n in (("train", train), ("dev_unseen", max(test // 2, 4)), ("test_unseen", test)):
        rows = []
        quads = -(-n // 4)
        scenes = _distinct(numbers, 2 * quads, (1, 2))
        things = scenes.things()
        for quad in range(quads):
            pair = (2 * quad, 2 * quad + 1)
            rows += _four(rng, [things[i] for i in pair], pair)
        rng.shuffle(rows)
        shown = np.array([row.pop("scene") for row in rows])
        for number, row in enumerate(rows, first):
            row.update(id=number, img=f"img/{number:05d}.png")
            names.append(row["img"])
        first += len(rows)
        images.append(draw(numbers, scenes, size)[shown])
        write_jsonl(folder / f"{split}.jsonl", rows)
        counts[split] = len(rows)
    write_images(folder / "images.zip", names, np.concatenate(images))
    return counts


def _four(rng: Random, things: list[list[Thing]], pair: tuple[int, int]) -> list[dict[str, Any]]:
    aims = [rng.choice(scene) for scene in things]
    texts = [rng.choice(INSULTS).format(say(rng, aim, COLOUR, the=True)) for aim in aims]
    rows = []
    for image in (0, 1):
        shown = {(thing.shape, thing.colour) for thing in things[image]}
        for text in (0, 1):
            hateful = (aims[text].shape, aims[text].colour) in shown
            rows.append(
                {"id": 0, "img": "", "label": int(hateful), "text": texts[text],
                 "scene": pair[image]}
            )  # fmt: skip
    return rows


RETRIEVAL_TASKS = {"flickr30k": (1, 3), "coco": (2, 4)}  # fewest and most objects
MULTIMODAL_TASKS = {
    "snli_ve": write_snli_ve,
    "vqav2": write_vqav2,
    "hateful_memes": write_hateful_memes,
}
