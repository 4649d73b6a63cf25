"""What a reader hands to a protocol: images, texts and targets of a task's splits."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt

from flava.errors import DataError

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]
PixelArray = npt.NDArray[np.uint8]

SUBSET_SEED = 0  # limits choose the same examples for every column and seed


class Images(Protocol):
    """Images by position, decoded on demand."""

    def __len__(self) -> int: ...

    def pixels(self, indices: IntArray, size: int) -> PixelArray:
        """uint8 RGB of the images at `indices`, resized to a square: (B, size, size, 3)."""
        ...

    def digest(self, indices: IntArray) -> str:
        """SHA-256 of the content of the images at `indices`, in that order."""
        ...

    def take(self, indices: IntArray) -> Images:
        """The images at `indices`, in that order."""
        ...


@dataclass(frozen=True)
class SoftLabels:
    """VQA targets: up to K answers an example, each with a soft score.

    Attributes:
        ids_NK: positions in the answer vocabulary, -1 where there is none.
        scores_NK: soft scores in [0, 1], 0 where there is none.
        n_answers: size of the answer vocabulary.
    """

    ids_NK: IntArray
    scores_NK: npt.NDArray[np.float32]
    n_answers: int

    def __len__(self) -> int:
        return len(self.ids_NK)

    def __getitem__(self, indices: IntArray) -> SoftLabels:
        return SoftLabels(self.ids_NK[indices], self.scores_NK[indices], self.n_answers)

    def dense(self) -> npt.NDArray[np.float32]:
        """Soft scores of every answer: (N, n_answers)."""
        dense_NA = np.zeros((len(self), self.n_answers), np.float32)
        rows_M, columns_M = np.nonzero(self.ids_NK >= 0)
        dense_NA[rows_M, self.ids_NK[rows_M, columns_M]] = self.scores_NK[rows_M, columns_M]
        return dense_NA


Targets = IntArray | FloatArray | SoftLabels


def subset(n: int, limit: int | None) -> IntArray | None:
    """Sorted positions of a fixed random `limit` of `n`; None where all are within the limit."""
    if limit is None or limit >= n:
        return None
    return np.sort(np.random.default_rng(SUBSET_SEED).permutation(n)[:limit])


@dataclass(frozen=True)
class Split:
    """Examples of one split; a task has images, texts or both.

    Attributes:
        targets: class positions (int64), values (float64) or soft answers.
        images: the distinct images, for tasks that have any.
        image_N: position of each example's image in `images`.
        texts: first and second sentence of each example, for tasks that have any.
        picture_N: a number for what each example shows, where one picture has several files; it
            matters to the bootstrap alone. None: as `image_N`.
    """

    targets: Targets
    images: Images | None = None
    image_N: IntArray | None = None
    texts: list[tuple[str, str | None]] | None = None
    picture_N: IntArray | None = None

    def __len__(self) -> int:
        return len(self.targets)

    def labels(self) -> IntArray:
        """The targets of a classification task."""
        assert isinstance(self.targets, np.ndarray)
        return self.targets.astype(np.int64, casting="safe")

    def take(self, indices: IntArray) -> Split:
        """The examples at `indices`, in that order."""
        return Split(
            targets=self.targets[indices],
            images=self.images,
            image_N=None if self.image_N is None else self.image_N[indices],
            texts=None if self.texts is None else [self.texts[i] for i in indices],
            picture_N=None if self.picture_N is None else self.picture_N[indices],
        )

    def limited(self, limit: int | None) -> Split:
        """A fixed random subset of at most `limit` examples, in their order."""
        chosen_L = subset(len(self), limit)
        return self if chosen_L is None else self.take(chosen_L)


@dataclass(frozen=True)
class LabelledTask:
    """A task with training examples: linear probe, GLUE or multimodal.

    Attributes:
        tests: scored splits by name; a task's value is the mean over them (MNLI has two).
        folds: positions in `train` of several training sets; a task's value is the mean over what
            is trained on each (STL10 has ten). Empty: all of `train` is the one.
        classes: class or answer names in target order; empty for regression.
        notes: what a reader of the result should know, e.g. rows skipped.
        drawn_from: part of a release -> its examples, where the splits are drawn from them.
    """

    train: Split
    tests: dict[str, Split]
    classes: list[str]
    validation: Split | None = None
    folds: tuple[IntArray, ...] = ()
    notes: dict[str, str | int] = field(default_factory=dict)
    drawn_from: dict[str, int] = field(default_factory=dict)

    @property
    def counts(self) -> dict[str, int]:
        """Examples of each split as read and of what they were drawn from, and folds, if any."""
        folds = {"folds": len(self.folds)} if self.folds else {}
        held = {} if self.validation is None else {"validation": len(self.validation)}
        scored = {name: len(split) for name, split in self.tests.items()}
        return {**self.drawn_from, "train": len(self.train), **folds, **held, **scored}

    @property
    def trains(self) -> list[Split]:
        """Each of the training sets."""
        return [self.train.take(fold) for fold in self.folds] or [self.train]

    def limited(self, train: int | None, test: int | None) -> LabelledTask:
        """At most so many examples of each training set and of each scored split."""
        tests = {name: split.limited(test) for name, split in self.tests.items()}
        if not self.folds:
            return replace(self, train=self.train.limited(train), tests=tests)
        parts = ((fold, subset(len(fold), train)) for fold in self.folds)
        folds = tuple(fold if part is None else fold[part] for fold, part in parts)
        return replace(self, folds=folds, tests=tests)


@dataclass(frozen=True)
class RetrievalTask:
    """Images with their captions.

    Attributes:
        captions: M captions.
        image_M: position of each caption's image.
    """

    images: Images
    captions: list[str]
    image_M: IntArray
    notes: dict[str, str | int] = field(default_factory=dict)

    @property
    def counts(self) -> dict[str, int]:
        """Images and captions as read."""
        return {"images": len(self.images), "captions": len(self.captions)}

    def limited(self, train: int | None, test: int | None) -> RetrievalTask:
        """At most `test` images, each with all its captions; there is no training part."""
        chosen_L = subset(len(self.images), test)
        if chosen_L is None:
            return self
        kept = np.flatnonzero(np.isin(self.image_M, chosen_L))
        return replace(
            self,
            images=self.images.take(chosen_L),
            captions=[self.captions[i] for i in kept],
            image_M=np.searchsorted(chosen_L, self.image_M[kept]),
        )


@dataclass(frozen=True)
class ZeroShotTask:
    """Labelled images, class names and prompt templates with one `{}` each."""

    test: Split
    classes: list[str]
    templates: list[str]
    notes: dict[str, str | int] = field(default_factory=dict)

    @property
    def counts(self) -> dict[str, int]:
        """Images, class names and templates as read."""
        return {
            "test": len(self.test),
            "classes": len(self.classes),
            "templates": len(self.templates),
        }

    def limited(self, train: int | None, test: int | None) -> ZeroShotTask:
        """At most `test` images; there is no training part."""
        return replace(self, test=self.test.limited(test))


TaskSet = LabelledTask | RetrievalTask | ZeroShotTask


def require(condition: bool, message: str) -> None:
    """Raises DataError(message) unless `condition` holds."""
    if not condition:
        raise DataError(message)


def check_labels(labels_N: IntArray, n_classes: int, where: str) -> None:
    """Labels lie in [0, n_classes) and there is at least one.

    Raises:
        DataError: the split is empty or a label is out of range.
    """
    require(len(labels_N) > 0, f"{where} has no examples. Check the file or the split's name.")
    bad = np.flatnonzero((labels_N < 0) | (labels_N >= n_classes))
    if len(bad):
        raise DataError(
            f"{where}: label {labels_N[bad[0]]} of example {bad[0]} is out of range; "
            f"the task has {n_classes} classes (0 to {n_classes - 1})."
        )
