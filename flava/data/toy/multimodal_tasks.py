"""Stand-ins for the multimodal rows: retrieval, SNLI-VE, VQAv2 and Hateful Memes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from flava.data.toy import questions
from flava.data.toy import vocabulary as v
from flava.data.toy.captions import an, caption, name, relate, relations
from flava.data.toy.draw import draw
from flava.data.toy.files import (
    karpathy,
    write_compact_json,
    write_images,
    write_jsonl,
)
from flava.data.toy.scenes import Scenes, Thing, lay_out, sample
from flava.data.toy.seeds import Seed, generators
from flava.data.toy.statements import changed, say

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


def write_snli_ve(folder: Path, seed: Seed, size: int, train: int, test: int) -> dict[str, int]:
    """Three hypotheses an image, one a label; the dev part is half as large as the test part."""
    numbers, rng = generators(seed)
    counts, names, images = {}, [], []
    first = 1
    for split, n in (("train", train), ("dev", max(test // 2, 3)), ("test", test)):
        scenes = _distinct(numbers, -(-n // 3), (2, 3))
        rows = []
        for number, things in enumerate(scenes.things(), first):
            photo = f"{number:010d}"
            names.append(f"flickr30k_images/{photo}.jpg")
            for label in ("entailment", "neutral", "contradiction"):
                rows.append(_hypothesis(rng, things, photo, label))
        first += len(scenes)
        images.append(draw(numbers, scenes, size))
        write_jsonl(folder / f"snli_ve_{split}.jsonl", rows)
        counts[split] = len(rows)
    write_images(folder / "images.zip", names, np.concatenate(images))
    return counts


# What a picture cannot show. It is said in every third hypothesis that the picture contradicts,
# and, the rest being true, makes a hypothesis neutral.
UNSEEN = ("that a child painted", "that {people} like", "that was here today", "that is very old")


def _hypothesis(rng: Random, things: list[Thing], photo: str, label: str) -> dict[str, Any]:
    a, b = rng.sample(things, 2)
    relation = rng.choice(relations(a, b))
    form = rng.choice(("exists", "exists", "relation"))
    if label == "contradiction":
        draw = rng.random()
        if form == "relation" and draw < 0.5:
            relation = v.RELATIONS[relation][1]
        else:
            taken = tuple(thing.shape for thing in things)
            if draw < 0.75:
                a = changed(rng, a, "shape", taken)
            if draw > 0.4:
                a = changed(rng, a, "colour")
    subject = say(rng, a, COLOUR)
    if label == "neutral" or (label == "contradiction" and rng.random() < 0.35):
        subject += " " + rng.choice(UNSEEN).format(people=rng.choice(v.PEOPLE))
    if form == "relation":
        text = f"{subject} is {relate(rng, relation)} {an(name(rng, _names(b)))} ."
    else:
        text = rng.choice(("there is {} .", "the picture shows {} .", "{} is here .")).format(
            subject
        )
    premise = f"{an(name(rng, _names(things[0])))} ."
    return {
        "Flickr30K_ID": photo,
        "Flikr30kID": f"{photo}.jpg",
        "captionID": f"{photo}.jpg#0",
        "pairID": f"{photo}.jpg#0r1{label[0]}",
        "gold_label": label,
        "sentence1": premise,
        "sentence2": text,
    }


def _names(thing: Thing) -> tuple[str, ...]:
    return v.NOUNS[thing.shape].singular


def write_vqav2(folder: Path, seed: Seed, size: int, train: int, test: int) -> dict[str, int]:
    """Two questions an image with ten answers each, in the official JSON files."""
    numbers, rng = generators(seed)
    counts, names, images = {}, [], []
    for split, n in (("train2014", train), ("val2014", test)):
        plain = np.arange(len(v.SHAPES))
        scenes = sample(numbers, -(-n // 2), (1, 3), plain, signs=0.2)
        table: dict[str, list[dict[str, Any]]] = {"questions": [], "annotations": []}
        for question, annotation in _questions(rng, scenes):
            table["questions"].append(question)
            table["annotations"].append(annotation)
        common = {"data_type": "mscoco", "data_subtype": split}
        for kind, file in (
            ("questions", f"v2_OpenEnded_mscoco_{split}_questions.json"),
            ("annotations", f"v2_mscoco_{split}_annotations.json"),
        ):
            write_compact_json(folder / file, {**common, kind: table[kind]})
        names += [f"{split}/COCO_{split}_{i + 1:012d}.jpg" for i in range(len(scenes))]
        images.append(draw(numbers, scenes, size))
        counts[split] = len(table["questions"])
    write_images(folder / "images.zip", names, np.concatenate(images))
    return counts


def _questions(rng: Random, scenes: Scenes) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    rows = zip(scenes.things(), scenes.background.tolist(), scenes.word.tolist(), strict=True)
    for image, (things, background, word) in enumerate(rows, 1):
        for number in range(2):
            text, answer, kind = questions.visual(rng, things, background, word)
            identity = {"image_id": image, "question_id": 1000 * image + number}
            annotation = {
                **identity,
                "question_type": " ".join(text.split()[:2]),
                "answer_type": kind,
                "multiple_choice_answer": answer,
                "answers": _ten(rng, answer, kind),
            }
            yield {**identity, "question": text}, annotation


def _ten(rng: Random, answer: str, kind: str) -> list[dict[str, Any]]:
    """Ten annotators' answers; one in twelve is mistaken."""
    mistakes = {"yes/no": ("yes", "no"), "number": ("1", "2", "3"), "other": v.BACKGROUND_NAMES}
    answers = [rng.choice(mistakes[kind]) if rng.random() < 1 / 12 else answer for _ in range(10)]
    return [
        {"answer": text, "answer_confidence": "yes", "answer_id": i}
        for i, text in enumerate(answers, 1)
    ]


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
