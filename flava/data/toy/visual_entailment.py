"""Stand-in for SNLI-VE: statements that pictures show, contradict, or leave open.

What a picture does not show is left open: of a picture of the sea, "the star on the grass is red"
may be true. Each picture has one statement of each label, and the statements of all labels draw
noun, ground and colour alike, so that either alone is at chance.
"""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from flava.data.toy import vocabulary as v
from flava.data.toy.captions import an, name
from flava.data.toy.draw import draw
from flava.data.toy.files import write_images, write_jsonl
from flava.data.toy.scenes import Thing, sample
from flava.data.toy.seeds import Seed, generators
from flava.data.toy.statements import changed, other

LABELS = ("entailment", "neutral", "contradiction")
FORMS = ("the {noun} {place} is {colour} .", "{place} the {noun} is {colour} .",
         "the {noun} {place} is a {colour} one .")  # fmt: skip


def write_snli_ve(folder: Path, seed: Seed, size: int, train: int, test: int) -> dict[str, int]:
    """Three hypotheses an image, one a label; the dev part is half as large as the test part."""
    numbers, rng = generators(seed)
    counts, names, images = {}, [], []
    first = 1
    for split, n in (("train", train), ("dev", max(test // 2, 3)), ("test", test)):
        scenes = sample(numbers, -(-n // 3), (1, 1), shapes=np.arange(len(v.SHAPES)))
        rows = []
        seen = zip(scenes.things(), scenes.background.tolist(), strict=True)
        for number, (things, ground) in enumerate(seen, first):
            photo = f"{number:010d}"
            names.append(f"flickr30k_images/{photo}.jpg")
            rows += [_row(rng, things[0], ground, photo, label) for label in LABELS]
        first += len(scenes)
        images.append(draw(numbers, scenes, size))
        write_jsonl(folder / f"snli_ve_{split}.jsonl", rows)
        counts[split] = len(rows)
    write_images(folder / "images.zip", names, np.concatenate(images))
    return counts


def statement(rng: Random, thing: Thing, ground: int, label: str) -> str:
    """A statement of the given label about a picture of one thing on a ground."""
    if label == "contradiction":
        thing = changed(rng, thing, "colour")
    if label == "neutral":
        ground = other(rng, ground, len(v.BACKGROUNDS))
        thing = thing._replace(colour=rng.randrange(len(v.COLOURS)))
        if rng.random() < 0.5:
            thing = changed(rng, thing, "shape")
    return rng.choice(FORMS).format(
        noun=name(rng, v.NOUNS[thing.shape].singular),
        place=name(rng, v.BACKGROUND_PHRASES[ground]),
        colour=name(rng, v.COLOUR_NAMES[thing.colour]),
    )


def _row(rng: Random, thing: Thing, ground: int, photo: str, label: str) -> dict[str, Any]:
    return {
        "Flickr30K_ID": photo,
        "Flikr30kID": f"{photo}.jpg",
        "captionID": f"{photo}.jpg#0",
        "pairID": f"{photo}.jpg#0r1{label[0]}",
        "gold_label": label,
        "sentence1": f"{an(name(rng, v.NOUNS[thing.shape].singular))} .",
        "sentence2": statement(rng, thing, ground, label),
    }
