"""The linear probe as a protocol: what is fitted, what is scored, what is refused."""

from __future__ import annotations

import dataclasses
from unittest.mock import Mock

import numpy as np
import pytest

from flava.config import ProbeConfig
from flava.errors import DataError, TrainingError
from flava.evaluate import vision
from flava.evaluate.images import ArrayImages
from flava.evaluate.logistic import fit
from flava.evaluate.taskdata import LabelledTask, Split
from tests.evaluate.fakes import FakeBackbone, context

EVERY = np.arange


def vision_task(n=120, seed=0, validation=False):
    random = np.random.default_rng(seed)
    labels = random.integers(0, 2, n)
    pixels = random.integers(0, 120, (n, 16, 16, 3), np.uint8)
    pixels[labels == 1, :, :, 0] += 100
    images = ArrayImages(pixels)
    third = n // 3
    parts = [Split(labels[s], images, EVERY(n)[s]) for s in
             (slice(0, third), slice(third, 2 * third), slice(2 * third, n))]  # fmt: skip
    return LabelledTask(
        train=parts[0],
        validation=parts[1] if validation else None,
        tests={"test": parts[2]},
        classes=["plain", "red"],
    )


@pytest.mark.parametrize("validation", [False, True])
def test_protocol(validation):
    (score,) = vision.evaluate(
        context("linear_probe"), vision_task(validation=validation), ProbeConfig(steps=24)
    )
    assert score.value > 90
    assert 0 <= score.std_error < 10
    assert 45 <= score.chance <= 75
    assert score.n_examples == 40
    assert score.n_train == (80 if validation else 40)
    assert score.details["validation examples"] == (40 if validation else 8)


@pytest.mark.parametrize("validation", [False, True])
def test_the_last_fit_has_train_and_validation_and_is_the_one_scored(monkeypatch, validation):
    """The model of the last fit is replaced by one that is always wrong: so must the score be."""
    data, fits = vision_task(validation=validation), []

    def spied(problem, penalty, max_iterations, starts):
        fits.append((len(problem.labels_N), penalty))
        return fit(problem, penalty, max_iterations, starts)

    monkeypatch.setattr(vision, "fit", spied)
    (score,) = vision.evaluate(context("linear_probe"), data, ProbeConfig(steps=24))
    assert fits == [(80 if validation else 40, score.details["lambda"])]

    def inverted(*arguments):
        model = fit(*arguments)
        return dataclasses.replace(
            model, weights_CD=-model.weights_CD, intercept_C=-model.intercept_C
        )

    monkeypatch.setattr(vision, "fit", inverted)
    (wrong,) = vision.evaluate(context("linear_probe"), data, ProbeConfig(steps=24))
    assert wrong.value == pytest.approx(100 - score.value)


def test_lambda_is_chosen_by_the_row_s_metric(monkeypatch):
    data, name = vision_task(validation=True), "mean_per_class"
    metric = Mock(wraps=vision.METRICS[name])
    monkeypatch.setitem(vision.METRICS, name, metric)
    (score,) = vision.evaluate(context("linear_probe", name), data, ProbeConfig(steps=12))
    scored = [call.args[1] for call in metric.call_args_list]
    on_held = sum(np.array_equal(labels, data.validation.targets) for labels in scored)
    assert on_held == score.details["penalties tried"] > 1


def test_of_several_training_sets_the_mean_is_the_score():
    """Each fold as if it were all of train; the errors of the folds are not independent."""
    data = vision_task(180)
    data.train.targets[::3] ^= 1  # so that validation differs
    random = np.random.default_rng(1)
    folds = tuple(np.sort(random.permutation(60)[:n]) for n in (10, 12, 30))
    config, where = ProbeConfig(steps=12), context("linear_probe")
    alone = [
        vision.evaluate(where, dataclasses.replace(data, train=data.train.take(fold)), config)[0]
        for fold in folds
    ]
    (score,) = vision.evaluate(where, dataclasses.replace(data, folds=folds), config)
    assert len({each.value for each in alone}) > 1
    assert score.value == pytest.approx(np.mean([each.value for each in alone]), abs=1e-3)
    assert score.details["lambda"] == [each.details["lambda"] for each in alone]
    held = [each.details["validation"] for each in alone]
    assert len(set(held)) > 1
    assert score.details["validation"] == pytest.approx(np.mean(held), abs=1e-3)
    tried = [each.details["penalties tried"] for each in alone]
    assert score.details["penalties tried"] == sum(tried)
    assert score.n_train == 10 and score.n_examples == alone[0].n_examples
    bounds = [each.std_error for each in alone]
    assert 0 < score.std_error <= np.mean(bounds) + 1e-3
    cut = dataclasses.replace(data, folds=folds).limited(11, None)
    assert [len(fold) for fold in cut.folds] == [10, 11, 11]
    assert all(set(part) <= set(fold) for part, fold in zip(cut.folds, folds, strict=True))


def test_broken_features_name_the_task():
    model = FakeBackbone()
    model.patches.bias.data[0] = float("nan")
    with pytest.raises(TrainingError, match="task 'fake': features of 40 of 40 different inputs"):
        vision.evaluate(context("linear_probe", model=model), vision_task(), ProbeConfig())


def test_bad_labels_and_empty_splits():
    task = vision_task()
    task.train.targets[3] = 2
    with pytest.raises(DataError, match="label 2 of example 3 is out of range"):
        vision.evaluate(context("linear_probe"), task, ProbeConfig())
    task = vision_task()
    task.tests["test"] = task.tests["test"].take(np.arange(0))
    with pytest.raises(DataError, match="split 'test' has no examples"):
        vision.evaluate(context("linear_probe"), task, ProbeConfig(steps=6))
