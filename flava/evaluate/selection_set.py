"""Labelled data for scores during training: zero-shot accuracy and k-NN, as plain arrays.

    python -m flava.evaluate.selection_set --config results/<study>/configs/selection.json

Training reads these arrays alone (`flava.train.selection`), so that a change of an evaluation
adapter re-plans this step and no training whose arrays stay equal.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flava.data.commands import config_argument
from flava.data.tokenizer import load_tokenizer
from flava.errors import ConfigError, run_cli
from flava.evaluate.datasets import load_task
from flava.evaluate.taskdata import LabelledTask, Split, ZeroShotTask
from flava.io import atomic_path, sha256_file, write_json
from flava.jobs import EvaluateTask, SelectionJob, load_job
from flava.records import make_record

Array = NDArray[Any]
Arrays = Iterator[tuple[str, Array]]


def write_selection(job: SelectionJob) -> None:
    """Writes arrays and, last, record.json with their hashes into `job.output`.

    Files, each only where its task is given: zero_shot_pixels.npy (uint8 [N, S, S, 3]) and
    zero_shot_labels.npy (int64 [N]); prompts_<tokenizer>.npy (int64 [C, T, L], -1 after the end);
    <images|texts>_<train|test>_labels.npy, images_<half>_pixels.npy, texts_<half>_<tokenizer>.npy.

    Raises:
        ConfigError: a task is not of the family that is needed.
        DataError: a task's data are missing or malformed.
    """
    started = time.time()
    output = Path(job.output)
    output.mkdir(parents=True, exist_ok=True)
    (output / "record.json").unlink(missing_ok=True)
    facts: dict[str, Any] = {}
    hashes = {}
    for name, array in chain.from_iterable(_all_arrays(job, facts)):  # in memory one at a time
        path = output / f"{name}.npy"
        with atomic_path(path) as temporary, open(temporary, "wb") as file:
            np.save(file, array, allow_pickle=False)
        del array
        hashes[name] = sha256_file(path)
    extra = {"arrays_sha256": hashes, "tasks": facts}
    write_json(output / "record.json", make_record("selection", job, started, extra=extra))


def _all_arrays(job: SelectionJob, facts: dict[str, Any]) -> list[Arrays]:
    """Named arrays of each task, to be made one by one; all tasks are loaded and checked first."""
    found = [_zero_shot(job, _zero_shot_task(job, job.zero_shot), facts)] if job.zero_shot else []
    for kind, spec in (("images", job.images), ("texts", job.texts)):
        if spec:
            found.append(_labelled(job, kind, _labelled_task(job, kind, spec), facts))
    return found


def _zero_shot_task(job: SelectionJob, spec: EvaluateTask) -> ZeroShotTask:
    task = load_task(job.names["zero_shot"], spec.task, spec.data)
    if not isinstance(task, ZeroShotTask):
        raise ConfigError(
            f"study '{job.study}': selection.zero_shot must be a task of family 'zero_shot'; "
            f"'{job.names['zero_shot']}' is of family '{spec.task.family}'. Name another task."
        )
    return task


def _zero_shot(job: SelectionJob, task: ZeroShotTask, facts: dict[str, Any]) -> Arrays:
    test = task.test.limited(job.limit)
    facts["zero_shot"] = {
        "examples": len(test),
        "classes": len(task.classes),
        "templates": len(task.templates),
    }
    yield "zero_shot_pixels", _pixels(test, job)
    yield "zero_shot_labels", test.labels()
    prompts = [template.replace("{}", name) for name in task.classes for template in task.templates]
    for name, ids in _tokens(job, [(prompt, None) for prompt in prompts]):
        yield f"prompts_{name}", ids.reshape(len(task.classes), len(task.templates), -1)


def _labelled_task(job: SelectionJob, kind: str, spec: EvaluateTask) -> LabelledTask:
    task = load_task(job.names[kind], spec.task, spec.data)
    if not isinstance(task, LabelledTask) or not task.classes:
        raise ConfigError(
            f"study '{job.study}': selection.{kind} must be a classification task with training "
            f"examples; '{job.names[kind]}', of family '{spec.task.family}', has none or no "
            "classes. Name another task."
        )
    return task


def _labelled(job: SelectionJob, kind: str, task: LabelledTask, facts: dict[str, Any]) -> Arrays:
    halves = {"train": task.train, "test": next(iter(task.tests.values()))}
    facts[kind] = {"classes": len(task.classes)}
    for half, whole in halves.items():
        split = whole.limited(job.limit)
        facts[kind][half] = len(split)
        yield f"{kind}_{half}_labels", split.labels()
        if kind == "images":
            yield f"{kind}_{half}_pixels", _pixels(split, job)
        else:
            assert split.texts is not None
            for name, ids in _tokens(job, split.texts):
                yield f"{kind}_{half}_{name}", ids


def _pixels(split: Split, job: SelectionJob) -> Array:
    assert split.images is not None and split.image_N is not None
    return split.images.pixels(split.image_N, job.image_size)


def _tokens(job: SelectionJob, texts: list[tuple[str, str | None]]) -> Arrays:
    for name, path in job.tokenizers.items():
        tokenizer = load_tokenizer(path)
        ids = [tokenizer.pair(a, b, job.max_text_length[name]) for a, b in texts]
        array = np.full((len(ids), max(map(len, ids))), -1, np.int64)
        for row, text in zip(array, ids, strict=True):
            row[: len(text)] = text
        yield name, array


def main() -> None:
    """Command line."""
    write_selection(load_job(SelectionJob, config_argument(__doc__)))


if __name__ == "__main__":
    run_cli(main)
