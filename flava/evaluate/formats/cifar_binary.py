"""`cifar10`, `cifar100`: the binary version; the Python version is pickle and is refused."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from flava.config import TaskData
from flava.errors import DataError
from flava.evaluate.formats.official import Release
from flava.evaluate.images import ArrayImages
from flava.evaluate.taskdata import LabelledTask, Split, check_labels

SIDE = 32
PIXELS = 3 * SIDE * SIDE  # a plane of red, one of green, one of blue, each row by row


@dataclass(frozen=True)
class Layout:
    """A set's folder, files and number of label bytes before the pixels (the last one counts)."""

    folder: str
    train: tuple[str, ...]
    test: str
    names: str
    label_bytes: int

    @property
    def how_to_get(self) -> str:
        archive = self.folder.replace("-batches-bin", "-binary") + ".tar.gz"
        return (
            f"Unpack {archive} (the binary version) of www.cs.toronto.edu/~kriz/cifar.html there."
        )


CIFAR10 = Layout(
    "cifar-10-batches-bin",
    tuple(f"data_batch_{number}.bin" for number in range(1, 6)),
    "test_batch.bin",
    "batches.meta.txt",
    1,
)
CIFAR100 = Layout("cifar-100-binary", ("train.bin",), "test.bin", "fine_label_names.txt", 2)


def load10(path: Path, data: TaskData) -> LabelledTask:
    """cifar-10-batches-bin: five training batches and a test batch.

    Raises:
        DataError: a file is missing or cut off, a label is out of range, or the files are pickle.
    """
    return _load(path, CIFAR10)


def load100(path: Path, data: TaskData) -> LabelledTask:
    """cifar-100-binary: train.bin and test.bin, labelled by the 100 fine classes.

    Raises:
        DataError: a file is missing or cut off, a label is out of range, or the files are pickle.
    """
    return _load(path, CIFAR100)


def _load(path: Path, layout: Layout) -> LabelledTask:
    release = Release.find(path, layout.folder, layout.how_to_get)
    first = layout.train[0].removesuffix(".bin")
    pickled = path / layout.folder.replace("-batches-bin", "-batches-py").replace(
        "-100-binary", "-100-python"
    )
    if not (release.root / layout.train[0]).exists() and (
        pickled.is_dir() or (release.root / first).is_file()
    ):
        raise DataError(
            f"{path} holds the Python version, whose pickle files can run any code when they are "
            f"opened: they are not read. {layout.how_to_get}"
        )
    classes = release.names(layout.names)
    return LabelledTask(
        train=_split(release, layout.train, layout, len(classes)),
        tests={"test": _split(release, (layout.test,), layout, len(classes))},
        classes=classes,
    )


def _split(release: Release, files: tuple[str, ...], layout: Layout, n_classes: int) -> Split:
    """The records of `files`: label bytes, then 3,072 pixels."""
    size = layout.label_bytes + PIXELS
    parts = []
    for name in files:
        raw = release.read(name)
        if len(raw) % size:
            raise DataError(
                f"{release.root / name} has {len(raw)} bytes, no multiple of a record's {size}: "
                "truncated, or another set. Get it anew."
            )
        records_NR = np.frombuffer(raw, np.uint8).reshape(-1, size)
        labels_N = records_NR[:, layout.label_bytes - 1].astype(np.int64)
        check_labels(labels_N, n_classes, str(release.root / name))
        parts.append((labels_N, records_NR[:, layout.label_bytes :]))
    pixels_NP = np.concatenate([pixels for _, pixels in parts])
    labels_N = np.concatenate([labels for labels, _ in parts])
    images_NHWC = pixels_NP.reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1)
    return Split(labels_N, ArrayImages(images_NHWC), np.arange(len(labels_N)))
