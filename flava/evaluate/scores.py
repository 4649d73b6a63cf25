"""The scores that a task yields: what results.parquet is made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from pydantic import Field, JsonValue, NonNegativeInt, PositiveInt

from flava.config import Domain, NonNegativeFloat, Strict
from flava.errors import TrainingError
from flava.evaluate.bootstrap import bootstrap_std
from flava.evaluate.context import Context
from flava.evaluate.metrics import DETAILS, METRICS, Predictions, chance_level
from flava.evaluate.taskdata import Split, Targets


class Score(Strict):
    """One cell of Table C.1; `value`, `std_error` and `chance` are in per cent."""

    row: str
    task: str
    domain: Domain
    metric: str
    value: float
    std_error: NonNegativeFloat = Field(description="bootstrap over test examples")
    chance: float = Field(description="best constant prediction; random ranking for retrieval")
    n_examples: PositiveInt
    n_train: NonNegativeInt
    stand_in: str | None
    details: dict[str, JsonValue]


def percent(fraction: float) -> float:
    """A fraction as per cent, to four decimals.

    Raises:
        TrainingError: it is not finite.
    """
    if not np.isfinite(fraction):
        raise TrainingError(
            "A score is not finite: the model's outputs are broken. Look for the update at which "
            "the losses in the log.csv of its run stop being sound, and train it again, e.g. with "
            "a lower learning rate."
        )
    return round(100 * float(fraction), 4)


def score_predictions(
    context: Context,
    predictions: Mapping[str, Sequence[Predictions]],
    tests: Mapping[str, Split],
    *,
    n_train: int,
    details: dict[str, JsonValue],
) -> Score:
    """The task's one score: mean of the metric over its scored splits and its training sets.

    Examples that show one picture are resampled together.

    Args:
        predictions: of each scored split, one array a training set.
        n_train: examples of a training set.
    """
    task = context.task
    values, errors, chances = [], [], []
    for split_name, split in tests.items():
        predicted, targets = predictions[split_name], split.targets
        values.append(_mean(METRICS[task.metric], predicted, targets))
        errors.append(
            bootstrap_std(
                lambda chosen, p=predicted, t=targets: _mean(  # type: ignore[misc]
                    METRICS[task.metric], [each[chosen] for each in p], t[chosen]
                ),
                len(split),
                context.resamples,
                split.image_N if split.picture_N is None else split.picture_N,
            )
        )
        chances.append(chance_level(task.metric, targets))
        if len(tests) > 1:
            details[f"{split_name} {task.metric}"] = percent(values[-1])
        for other, function in DETAILS.get(task.metric, {}).items():
            details[other] = percent(_mean(function, predicted, targets))
    return Score(
        row=task.rows[0],
        task=context.name,
        domain=task.domain,
        metric=task.metric,
        value=percent(float(np.mean(values))),
        std_error=percent(_mean_error(errors)),
        chance=percent(float(np.mean(chances))),
        n_examples=sum(len(split) for split in tests.values()),
        n_train=n_train,
        stand_in=context.stand_in,
        details=details,
    )


def _mean(
    metric: Callable[..., float], predicted: Sequence[Predictions], targets: Targets
) -> float:
    return float(np.mean([metric(each, targets) for each in predicted]))


def _mean_error(errors: Sequence[float]) -> float:
    """Standard error of a mean of independent values."""
    return float(np.sqrt(np.sum(np.square(errors)))) / len(errors)
