"""What the examples of a task are, as one hash: the data's part of an evaluation's record."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from flava.evaluate.taskdata import (
    Images,
    IntArray,
    LabelledTask,
    RetrievalTask,
    SoftLabels,
    Split,
    Targets,
    TaskSet,
    ZeroShotTask,
)
from flava.io import canonical_json, sha256_parts
from flava.records import DataUse


def task_use(data: TaskSet) -> DataUse:
    """SHA-256 over all examples that the task reads, and how many of each split.

    Images count by their content, not by name, place or archive; texts, targets, classes and
    templates as they are, all in their order.

    Raises:
        DataError: an image cannot be read.
    """
    return DataUse(sha256=sha256_parts(_parts(data)), counts=dict(data.counts))


def _parts(data: TaskSet) -> Iterator[bytes]:
    if isinstance(data, RetrievalTask):
        yield _images(data.images, np.arange(len(data.images)))
        yield _json(data.captions)
        yield data.image_M.tobytes()
        return
    yield _json(data.classes)
    if isinstance(data, ZeroShotTask):
        yield _json(data.templates)
        yield from _split(data.test)
        return
    yield from _labelled(data)


def _labelled(data: LabelledTask) -> Iterator[bytes]:
    yield from _split(data.train)
    yield from (fold.tobytes() for fold in data.folds)
    if data.validation is not None:
        yield from _split(data.validation)
    for name, split in sorted(data.tests.items()):
        yield name.encode()
        yield from _split(split)


def _split(split: Split) -> Iterator[bytes]:
    yield from _targets(split.targets)
    yield _json(split.texts)
    if split.images is not None and split.image_N is not None:
        rows, positions_N = np.unique(split.image_N, return_inverse=True)
        yield _images(split.images, rows)
        yield positions_N.astype(np.int64).tobytes()


def _targets(targets: Targets) -> Iterator[bytes]:
    if isinstance(targets, SoftLabels):
        yield from (targets.ids_NK.tobytes(), targets.scores_NK.tobytes())
    else:
        yield targets.tobytes()


def _images(images: Images, rows: IntArray) -> bytes:
    return images.digest(rows).encode()


def _json(value: object) -> bytes:
    return canonical_json(value).encode()
