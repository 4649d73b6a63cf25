"""GLUE and the multimodal tasks as protocols: fine-tune, choose a checkpoint, score once."""

from __future__ import annotations

import numpy as np
from pydantic import JsonValue

from flava.config import FinetuneConfig
from flava.errors import DataError
from flava.evaluate.context import Context
from flava.evaluate.examples import Examples
from flava.evaluate.finetune import finetune
from flava.evaluate.linear_probe import stratified_split
from flava.evaluate.scores import Score, percent, score_predictions
from flava.evaluate.taskdata import IntArray, LabelledTask, SoftLabels, Split, require


def evaluate(context: Context, data: LabelledTask, config: FinetuneConfig) -> list[Score]:
    """One score of a fine-tuned copy of the model.

    The official GLUE dev sets are what the paper reports, so the checkpoint is chosen on a part
    of train that is held out (stratified, seeded); so it is for VQAv2. SNLI-VE and Hateful Memes
    publish a validation set.

    Raises:
        DataError: too few examples, or an image cannot be decoded.
        TrainingError: the loss is not finite.
    """
    train, held = _train_and_validation(context, data, config)
    size = config.image_size or context.model.image_size
    types = config.segment_types
    ready = [_examples(context, split, size, types) for split in (train, held)]
    done = finetune(context, ready[0], ready[1], max(1, len(data.classes)), config)
    predictions = {
        name: [done.predict(_examples(context, split, size, types))]
        for name, split in data.tests.items()
    }
    details: dict[str, JsonValue] = {
        **data.notes,
        "validation": percent(done.validation),
        "validation examples": len(held),
        "best update": done.update,
        "updates": config.updates,
    }
    return [
        score_predictions(context, predictions, data.tests, n_train=len(train), details=details)
    ]


def _examples(context: Context, split: Split, size: int, types: bool) -> Examples:
    return Examples(split, context.tokenizer, context.model.max_text_length, size, types)


def _train_and_validation(
    context: Context, data: LabelledTask, config: FinetuneConfig
) -> tuple[Split, Split]:
    for name, split in [("train", data.train), *data.tests.items()]:
        require(len(split) > 0, f"{context.what}: split '{name}' has no examples.")
    if data.validation is not None:
        return data.train, data.validation
    keep, held = hold_out(data.train, config.validation_fraction, context.seed)
    if not len(keep) or not len(held):
        raise DataError(
            f"{context.what}: {len(data.train)} training examples are too few to hold "
            f"{config.validation_fraction:.0%} out for the choice of a checkpoint."
        )
    return data.train.take(keep), data.train.take(held)


def hold_out(split: Split, fraction: float, seed: int) -> tuple[IntArray, IntArray]:
    """Positions of (train, validation), seeded: whole images where there are any, since the
    questions of one image are alike; else the same share of each class, or of all values."""
    if split.image_N is not None:
        distinct = np.unique(split.image_N)
        images = np.random.default_rng(seed).permutation(distinct)
        is_held = np.isin(split.image_N, images[: round(fraction * len(images))])
        return np.flatnonzero(~is_held), np.flatnonzero(is_held)
    targets = split.targets
    if isinstance(targets, SoftLabels) or not np.issubdtype(targets.dtype, np.integer):
        return stratified_split(np.zeros(len(split), np.int64), fraction, seed)
    return stratified_split(targets.astype(np.int64), fraction, seed)
