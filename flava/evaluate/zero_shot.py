"""Zero-shot classification with prompt templates (supplement B.1, after CLIP)."""

from __future__ import annotations

import numpy as np
from pydantic import JsonValue

from flava.evaluate.context import Context
from flava.evaluate.features import FeatureArray
from flava.evaluate.retrieval import unit
from flava.evaluate.scores import Score, percent, score_predictions
from flava.evaluate.taskdata import ZeroShotTask, check_labels


def evaluate(context: Context, data: ZeroShotTask) -> list[Score]:
    """Nearest class by cosine; a class is the normalised mean of its normalised prompts.

    Raises:
        DataError: a label is out of range or an image cannot be decoded.
        TrainingError: embeddings are not finite.
    """
    split, model = data.test, context.model
    labels_N = split.labels()
    assert split.images is not None and split.image_N is not None
    check_labels(labels_N, len(data.classes), context.what)
    image_ND = context.cache.image_features(
        model.image_embeddings, split.images, split.image_N, model.image_size, context.what
    )
    cosine_NC = unit(image_ND) @ class_embeddings(context, data).T
    order_N5 = np.argsort(-cosine_NC, axis=1, kind="stable")[:, :5]
    details: dict[str, JsonValue] = {
        **data.notes,
        "classes": len(data.classes),
        "templates": len(data.templates),
        "top-5": percent(float(np.mean((order_N5 == labels_N[:, None]).any(axis=1)))),
        "uniform chance": percent(1 / len(data.classes)),
    }
    return [
        score_predictions(
            context, {"test": [order_N5[:, 0]]}, {"test": split}, n_train=0, details=details
        )
    ]


def class_embeddings(context: Context, data: ZeroShotTask) -> FeatureArray:
    """Unit vector of each class (C, D): normalise each prompt, average, normalise."""
    prompts = [template.replace("{}", name) for name in data.classes for template in data.templates]
    prompts_PD = context.cache.text_features(
        context.model.text_embeddings,
        prompts,
        context.tokenizer,
        context.model.max_text_length,
        context.what,
    )
    prompts_CTD = unit(prompts_PD).reshape(len(data.classes), len(data.templates), -1)
    return unit(prompts_CTD.mean(axis=1))
