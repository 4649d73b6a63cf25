"""Stand-in for VQAv2: each question is asked of two pictures that answer it differently.

As in the balanced VQA v2.0 (Goyal et al., CVPR 2017), so that the question alone tells its kind of
answer, and not the answer.
"""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from flava.data.toy import vocabulary as v
from flava.data.toy.captions import an, name
from flava.data.toy.draw import draw
from flava.data.toy.files import write_compact_json, write_images
from flava.data.toy.questions import colour_question, count_question, exists_question
from flava.data.toy.scenes import Scenes, Thing, lay_out, sample
from flava.data.toy.seeds import Seed, generators

KINDS = ("exists", "exists", "colour", "place", "count")  # two a pair of pictures
PLACE_QUESTIONS = ("where is this ?", "what is the ground ?", "where are we ?")
COLOURS = tuple(names[0] for names in v.COLOUR_NAMES)
MISTAKES = {"exists": ("yes", "no"), "count": ("1", "2", "3"), "colour": COLOURS,
            "place": v.BACKGROUND_NAMES}  # fmt: skip
TYPES = {"exists": "yes/no", "count": "number", "colour": "other", "place": "other"}
Scene = tuple[list[Thing], int]  # objects, the one both pictures have first; ground
Asked = tuple[str, str, tuple[str, str]]  # kind, question, the two pictures' answers


def write_vqav2(folder: Path, seed: Seed, size: int, train: int, test: int) -> dict[str, int]:
    """Two questions an image with ten answers each, in the official JSON files."""
    numbers, rng = generators(seed)
    counts, names, images = {}, [], []
    for split, n in (("train2014", train), ("val2014", test)):
        scenes = _pairs(numbers, -(-n // 4))
        table = _tables(rng, scenes)
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


def _pairs(numbers: np.random.Generator, pairs: int) -> Scenes:
    """Scenes of objects of different shapes; two neighbours have the first one's shape in common,
    in another colour, and stand on different grounds."""
    scenes = sample(numbers, 2 * pairs, (1, 3), shapes=np.arange(len(v.SHAPES)))
    order = np.argsort(numbers.random((pairs, len(v.SHAPES))), axis=1)
    half = scenes.shape.shape[1]
    second = np.concatenate([order[:, :1], order[:, half : 2 * half - 1]], axis=1)
    shape = np.stack([order[:, :half], second], axis=1).reshape(2 * pairs, half)
    scenes.shape = np.where(scenes.shape >= 0, shape, scenes.shape)
    for drawn, count in ((scenes.colour[:, 0], len(v.COLOURS)),
                         (scenes.background, len(v.BACKGROUNDS))):  # fmt: skip
        drawn[1::2] = (drawn[::2] + numbers.integers(1, count, size=pairs)) % count
    return lay_out(numbers, scenes)


def _tables(rng: Random, scenes: Scenes) -> dict[str, list[dict[str, Any]]]:
    seen = list(zip(scenes.things(), scenes.background.tolist(), strict=True))
    table: dict[str, list[dict[str, Any]]] = {"questions": [], "annotations": []}
    for first in range(0, len(seen), 2):
        asked = questions_of(rng, seen[first], seen[first + 1])
        for which in (0, 1):
            for number, (kind, text, answers) in enumerate(asked):
                image = first + which + 1
                identity = {"image_id": image, "question_id": 1000 * image + number}
                table["questions"].append({**identity, "question": text})
                annotation = {
                    **identity,
                    "question_type": " ".join(text.split()[:2]),
                    "answer_type": TYPES[kind],
                    "multiple_choice_answer": answers[which],
                    "answers": _ten(rng, answers[which], kind),
                }
                table["annotations"].append(annotation)
    return table


def questions_of(rng: Random, one: Scene, two: Scene) -> list[Asked]:
    """Two questions that the pictures answer differently.

    one, two: scenes whose first objects are of one shape in two colours, on different grounds.
    """
    pool = [kind for kind in KINDS if kind != "count" or len(one[0]) != len(two[0])]
    return [_ask(rng, kind, one, two) for kind in rng.sample(pool, 2)]


def _ask(rng: Random, kind: str, one: Scene, two: Scene) -> Asked:
    (first, ground), (second, other_ground) = one, two
    if kind == "place":
        answers = (v.BACKGROUND_NAMES[ground], v.BACKGROUND_NAMES[other_ground])
        return kind, rng.choice(PLACE_QUESTIONS), answers
    if kind == "count":
        question = count_question(rng, rng.choice(v.THINGS))
        return kind, question, (str(len(first)), str(len(second)))
    if kind == "colour":
        noun = name(rng, v.NOUNS[first[0].shape].singular)
        answers = (COLOURS[first[0].colour], COLOURS[second[0].colour])
        return kind, colour_question(rng, f"the {noun}"), answers
    there = rng.randrange(2)
    thing = rng.choice((first, second)[there])
    colour, noun = name(rng, v.COLOUR_NAMES[thing.colour]), name(rng, v.NOUNS[thing.shape].singular)
    question = exists_question(rng, an(f"{colour} {noun}"))
    return kind, question, ("no", "yes") if there else ("yes", "no")


def _ten(rng: Random, answer: str, kind: str) -> list[dict[str, Any]]:
    """Ten annotators' answers; one in twelve is mistaken."""
    answers = [rng.choice(MISTAKES[kind]) if rng.random() < 1 / 12 else answer for _ in range(10)]
    return [
        {"answer": text, "answer_confidence": "yes", "answer_id": i}
        for i, text in enumerate(answers, 1)
    ]
