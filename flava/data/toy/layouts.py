"""How the pictures of a vision stand-in are laid out in files: what every set's writer shares."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from flava.data.toy.files import Images, write_images
from flava.data.toy.scenes import Ints

Rng = np.random.Generator
Parts = dict[str, tuple[Ints, Images]]  # split -> labels (N,), pictures (N, S, S, 3)
Writer = Callable[[Path, Sequence[str], Parts, Rng], None]

HELD_OUT = 5  # where a set publishes a validation split: one of so many training examples


@dataclass(frozen=True)
class Layout:
    """A set's official files.

    Attributes:
        write: writes class names and splits (train, test and, with `validation`, validation)
            into a folder.
        validation: whether the set publishes a validation split.
        side: pixels a side where the format fixes them.
        train_a_class: training examples of each class where the protocol fixes them.
    """

    write: Writer
    validation: bool = False
    side: int | None = None
    train_a_class: int | None = None


def hold_out(parts: Parts) -> Parts:
    """Moves a fifth of each class, at least one example, from train to validation."""
    label_N, images_N = parts["train"]
    held_N = np.zeros(len(label_N), bool)
    for k in np.unique(label_N):
        rows = np.flatnonzero(label_N == k)
        held_N[rows[: max(len(rows) // HELD_OUT, 1)]] = True
    return {
        "train": (label_N[~held_N], images_N[~held_N]),
        "validation": (label_N[held_N], images_N[held_N]),
        "test": parts["test"],
    }


def folder(name: str) -> str:
    """A class name as a folder name."""
    return name.replace(" ", "_")


def write_image_folder(root: Path, classes: Sequence[str], parts: Parts, rng: Rng) -> None:
    """images.zip with <split>/<class>/<number>.jpg."""
    write_class_folders(root / "images.zip", classes, parts, "{split}/{folder}/{number:05d}.jpg")


def write_class_folders(path: Path, classes: Sequence[str], parts: Parts, name: str) -> None:
    """A zip of all pictures; `name` is a format of split, folder and number."""
    names = [
        name.format(split=split, folder=folder(classes[k]), number=i)
        for split, (label_N, _) in parts.items()
        for i, k in enumerate(label_N.tolist())
    ]
    write_images(path, names, np.concatenate([images for _, images in parts.values()]))


def write_lines(path: Path, lines: Sequence[str]) -> None:
    """A text file of lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
