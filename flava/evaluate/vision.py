"""The linear probe as a protocol: frozen image features in, one score out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from pydantic import JsonValue

from flava.config import ProbeConfig
from flava.errors import DataError
from flava.evaluate.context import Context
from flava.evaluate.features import FeatureArray
from flava.evaluate.kept_fits import KeptFits
from flava.evaluate.linear_probe import Sweep, stratified_split, sweep
from flava.evaluate.logistic import fit
from flava.evaluate.logistic_problem import LogisticRegression, Problem
from flava.evaluate.metrics import METRICS
from flava.evaluate.scores import Score, percent, score_predictions
from flava.evaluate.taskdata import IntArray, LabelledTask, Split, check_labels


class Described(NamedTuple):
    """Features and labels of some examples."""

    features_ND: FeatureArray
    labels_N: IntArray

    def take(self, rows: IntArray) -> Described:
        """The examples at `rows`."""
        return Described(self.features_ND[rows], self.labels_N[rows])

    def joined(self, other: Described) -> Described:
        """These examples, then the `other` ones."""
        return Described(
            np.concatenate([self.features_ND, other.features_ND]),
            np.concatenate([self.labels_N, other.labels_N]),
        )


@dataclass(frozen=True)
class Probe:
    """One training set's probe: its search for lambda and its last fit."""

    found: Sweep
    model: LogisticRegression
    n_train: int
    n_held: int

    @property
    def unconverged(self) -> int:
        """Fits that `max_iterations` stopped."""
        return self.found.unconverged + (not self.model.converged)


def evaluate(context: Context, data: LabelledTask, config: ProbeConfig) -> list[Score]:
    """Sweeps lambda on validation data, refits on train + validation, scores the test set once.

    Features are the image encoder's, before any projection, unnormalised (supplement B.2). Where
    no validation set is published, `validation_fraction` of train is held out, stratified. A set
    with several training sets has a probe for each, and their mean.

    Raises:
        DataError: a label is out of range, a split is empty or an image cannot be decoded.
        TrainingError: features are not finite.
    """
    train, held = _described(context, data.train, data, "train"), None
    if data.validation is not None:
        held = _described(context, data.validation, data, "validation")
    trains = [train.take(fold) for fold in data.folds] or [train]
    probes = [
        _probe(context, each, held, len(data.classes), config, KeptFits.of(context.saving, number))
        for number, each in enumerate(trains)
    ]
    predictions = {}
    for name, split in data.tests.items():
        test = _described(context, split, data, name)
        predictions[name] = [probe.model.predict(test.features_ND) for probe in probes]
    details = {**data.notes, **_details(probes)}
    n_train = probes[0].n_train
    return [score_predictions(context, predictions, data.tests, n_train=n_train, details=details)]


def _probe(
    context: Context,
    train: Described,
    held: Described | None,
    n_classes: int,
    config: ProbeConfig,
    kept: KeptFits,
) -> Probe:
    if held is None:
        whole, labels_N = train, train.labels_N
        fit_rows, held_rows = stratified_split(labels_N, config.validation_fraction, context.seed)
        if not len(held_rows):
            raise DataError(f"{context.what}: too few training examples to hold any out.")
        train, held = whole.take(fit_rows), whole.take(held_rows)
    else:
        whole = train.joined(held)
    metric, (held_ND, held_N) = METRICS[context.task.metric], held
    found = sweep(
        Problem.of(*train, n_classes),
        lambda model: metric(model.predict(held_ND), held_N),
        config,
        kept,
    )
    model = fit(Problem.of(*whole, n_classes), found.penalty, config.max_iterations, [found.model])
    return Probe(found, model, len(whole.labels_N), len(held_N))


def _details(probes: list[Probe]) -> dict[str, JsonValue]:
    """What a reader of the score should know; of several training sets the means and sums."""
    penalties = [probe.found.penalty for probe in probes]
    chosen = [probe.found.scores[probe.found.penalty] for probe in probes]
    return {
        "lambda": penalties[0] if len(probes) == 1 else list(penalties),
        "validation": percent(float(np.mean(chosen))),
        "validation examples": probes[0].n_held,
        "penalties tried": sum(len(probe.found.scores) for probe in probes),
        "fits stopped at max_iterations": sum(probe.unconverged for probe in probes),
    }


def _described(context: Context, split: Split, data: LabelledTask, name: str) -> Described:
    labels_N = split.labels()
    assert split.images is not None and split.image_N is not None
    check_labels(labels_N, len(data.classes), f"{context.what}, split '{name}'")
    model = context.model
    features_ND = context.cache.image_features(
        model.image_features, split.images, split.image_N, model.image_size, context.what
    )
    return Described(features_ND, labels_N)
