"""The linear probe as a protocol: frozen image features in, one score out."""

from __future__ import annotations

import numpy as np
from pydantic import JsonValue

from flava.config import ProbeConfig
from flava.errors import DataError
from flava.evaluate.context import Context
from flava.evaluate.features import FeatureArray
from flava.evaluate.linear_probe import stratified_split, sweep
from flava.evaluate.logistic import fit
from flava.evaluate.logistic_problem import LogisticRegression, Problem
from flava.evaluate.metrics import METRICS
from flava.evaluate.scores import Score, percent, score_predictions
from flava.evaluate.taskdata import IntArray, LabelledTask, Split, check_labels


def evaluate(context: Context, data: LabelledTask, config: ProbeConfig) -> list[Score]:
    """Sweeps lambda on validation data, refits on train + validation, scores the test set once.

    Features are the image encoder's, before any projection, unnormalised (supplement B.2). Where
    no validation set is published, `validation_fraction` of train is held out, stratified.

    Raises:
        DataError: a label is out of range, a split is empty or an image cannot be decoded.
        TrainingError: features are not finite.
    """
    train_ND, train_N = _split_features(context, data.train, data, "train")
    if data.validation is None:
        fit_rows, held_rows = stratified_split(train_N, config.validation_fraction, context.seed)
        if not len(held_rows):
            raise DataError(f"{context.what}: too few training examples to hold any out.")
        held_ND, held_N = train_ND[held_rows], train_N[held_rows]
        all_ND, all_N = train_ND, train_N
        train_ND, train_N = train_ND[fit_rows], train_N[fit_rows]
    else:
        held_ND, held_N = _split_features(context, data.validation, data, "validation")
        all_ND, all_N = np.concatenate([train_ND, held_ND]), np.concatenate([train_N, held_N])
    metric = METRICS[context.task.metric]
    n_classes = len(data.classes)
    found = sweep(
        Problem.of(train_ND, train_N, n_classes),
        lambda model: metric(model.predict(held_ND), held_N),
        config,
    )
    final = fit(
        Problem.of(all_ND, all_N, n_classes), found.penalty, config.max_iterations, found.model
    )
    details: dict[str, JsonValue] = {
        **data.notes,
        "lambda": found.penalty,
        "validation": percent(found.scores[found.penalty]),
        "validation examples": len(held_N),
        "penalties tried": len(found.scores),
        "fits stopped at max_iterations": found.unconverged + (not final.converged),
    }
    return [_score(context, data, final, details, len(all_N))]


def _score(
    context: Context,
    data: LabelledTask,
    model: LogisticRegression,
    details: dict[str, JsonValue],
    n_train: int,
) -> Score:
    predictions = {}
    for name, split in data.tests.items():
        features_ND, _ = _split_features(context, split, data, name)
        predictions[name] = model.predict(features_ND)
    return score_predictions(context, predictions, data.tests, n_train=n_train, details=details)


def _split_features(
    context: Context, split: Split, data: LabelledTask, name: str
) -> tuple[FeatureArray, IntArray]:
    labels_N = split.labels()
    assert split.images is not None and split.image_N is not None
    check_labels(labels_N, len(data.classes), f"{context.what}, split '{name}'")
    model = context.model
    features_ND = context.cache.image_features(
        model.image_features, split.images, split.image_N, model.image_size, context.what
    )
    return features_ND, labels_N
