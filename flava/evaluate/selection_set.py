"""Labelled data for scores during training: zero-shot accuracy and k-NN, as plain arrays.

    python -m flava.evaluate.selection_set --config results/<study>/configs/selection.json

Training reads these arrays alone (`flava.train.selection`), so that a change of an evaluation
adapter re-plans this step and no training whose arrays stay equal.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import IO, Any

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
Named = tuple[str, int, Iterable[Array]]  # an array's name, its length, and its rows in blocks
Arrays = Iterator[Named]
ROWS = 256  # of pictures that are in memory at one time: ImageNet's are 7.5 GB


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
    for name, count, blocks in chain.from_iterable(_all_arrays(job, facts)):
        path = output / f"{name}.npy"
        with atomic_path(path) as temporary, open(temporary, "wb") as file:
            _save(file, count, blocks)
        hashes[name] = sha256_file(path)
    extra = {"arrays_sha256": hashes, "tasks": facts}
    write_json(output / "record.json", make_record("selection", job, started, extra=extra))


def _save(file: IO[bytes], count: int, blocks: Iterable[Array]) -> None:
    """Writes an array of `count` rows, the bytes that `numpy.save` would write of it as a whole."""
    for number, block in enumerate(blocks):
        if number == 0:
            shape = (count, *block.shape[1:])
            header = {"descr": block.dtype.str, "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)
        file.write(np.ascontiguousarray(block).data)


def _whole(name: str, array: Array) -> Named:
    return name, len(array), [array]


def _all_arrays(job: SelectionJob, facts: dict[str, Any]) -> list[Arrays]:
    """Arrays of each task, to be made one by one; all tasks are loaded and checked first."""
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
    yield "zero_shot_pixels", len(test), _pixels(test, job)
    yield _whole("zero_shot_labels", test.labels())
    prompts = [template.replace("{}", name) for name in task.classes for template in task.templates]
    for name, ids in _tokens(job, [(prompt, None) for prompt in prompts]):
        shape = (len(task.classes), len(task.templates), -1)
        yield _whole(f"prompts_{name}", ids.reshape(shape))


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
        yield _whole(f"{kind}_{half}_labels", split.labels())
        if kind == "images":
            yield f"{kind}_{half}_pixels", len(split), _pixels(split, job)
        else:
            assert split.texts is not None
            for name, ids in _tokens(job, split.texts):
                yield _whole(f"{kind}_{half}_{name}", ids)


def _pixels(split: Split, job: SelectionJob) -> Iterator[Array]:
    assert split.images is not None and split.image_N is not None
    for start in range(0, len(split.image_N), ROWS):
        yield split.images.pixels(split.image_N[start : start + ROWS], job.image_size)


def _tokens(job: SelectionJob, texts: list[tuple[str, str | None]]) -> Iterator[tuple[str, Array]]:
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
