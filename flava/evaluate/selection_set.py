"""Labelled data for scores during training: zero-shot accuracy and k-NN, as plain arrays.

    python -m flava.evaluate.selection_set --config results/<study>/configs/selection.json

Training reads these arrays alone (`flava.train.selection`), so that a change of an evaluation
adapter re-plans this step and no training whose arrays stay equal.
"""

from __future__ import annotations

import time
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
    arrays: dict[str, Array] = {}
    facts: dict[str, Any] = {}
    if job.zero_shot:
        arrays |= _zero_shot(job, job.zero_shot, facts)
    for kind, spec in (("images", job.images), ("texts", job.texts)):
        if spec:
            arrays |= _labelled(job, kind, spec, facts)
    hashes = {}
    for name, array in arrays.items():
        path = output / f"{name}.npy"
        with atomic_path(path) as temporary, open(temporary, "wb") as file:
            np.save(file, array, allow_pickle=False)
        hashes[name] = sha256_file(path)
    extra = {"arrays_sha256": hashes, "tasks": facts}
    write_json(output / "record.json", make_record("selection", job, started, extra=extra))


def _zero_shot(job: SelectionJob, spec: EvaluateTask, facts: dict[str, Any]) -> dict[str, Array]:
    task = load_task(job.names["zero_shot"], spec.task, spec.data)
    if not isinstance(task, ZeroShotTask):
        raise ConfigError(
            f"study '{job.study}': selection.zero_shot must be a task of family 'zero_shot'; "
            f"'{job.names['zero_shot']}' is of family '{spec.task.family}'. Name another task."
        )
    test = task.test.limited(job.limit)
    prompts = [template.replace("{}", name) for name in task.classes for template in task.templates]
    arrays = {"zero_shot_pixels": _pixels(test, job), "zero_shot_labels": test.labels()}
    for name, ids in _tokens(job, [(prompt, None) for prompt in prompts]).items():
        shape = (len(task.classes), len(task.templates), -1)
        arrays[f"prompts_{name}"] = ids.reshape(shape)
    facts["zero_shot"] = {
        "examples": len(test),
        "classes": len(task.classes),
        "templates": len(task.templates),
    }
    return arrays


def _labelled(
    job: SelectionJob, kind: str, spec: EvaluateTask, facts: dict[str, Any]
) -> dict[str, Array]:
    task = load_task(job.names[kind], spec.task, spec.data)
    if not isinstance(task, LabelledTask) or not task.classes:
        raise ConfigError(
            f"study '{job.study}': selection.{kind} must be a classification task with training "
            f"examples; '{job.names[kind]}', of family '{spec.task.family}', has none or no "
            "classes. Name another task."
        )
    halves = {"train": task.train, "test": next(iter(task.tests.values()))}
    arrays: dict[str, Array] = {}
    facts[kind] = {"classes": len(task.classes)}
    for half, whole in halves.items():
        split = whole.limited(job.limit)
        arrays[f"{kind}_{half}_labels"] = split.labels()
        facts[kind][half] = len(split)
        if kind == "images":
            arrays[f"{kind}_{half}_pixels"] = _pixels(split, job)
        else:
            assert split.texts is not None
            found = _tokens(job, split.texts)
            arrays |= {f"{kind}_{half}_{name}": ids for name, ids in found.items()}
    return arrays


def _pixels(split: Split, job: SelectionJob) -> Array:
    assert split.images is not None and split.image_N is not None
    return split.images.pixels(split.image_N, job.image_size)


def _tokens(job: SelectionJob, texts: list[tuple[str, str | None]]) -> dict[str, Array]:
    found = {}
    for name, path in job.tokenizers.items():
        tokenizer = load_tokenizer(path)
        ids = [tokenizer.pair(a, b, job.max_text_length[name]) for a, b in texts]
        array = np.full((len(ids), max(map(len, ids))), -1, np.int64)
        for row, text in zip(array, ids, strict=True):
            row[: len(text)] = text
        found[name] = array
    return found


def main() -> None:
    """Command line."""
    write_selection(load_job(SelectionJob, config_argument(__doc__)))


if __name__ == "__main__":
    run_cli(main)
