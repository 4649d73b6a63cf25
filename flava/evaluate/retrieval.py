"""Zero-shot retrieval by cosine similarity, all captions of an image (supplement B.2).

Text retrieval (TR): an image's query is a hit if any of its captions is among the top k of all
captions. Image retrieval (IR): a caption's query is a hit if its image is among the top k images.
Ties count against the model: a wrong candidate that scores as high as the right one ranks first.
"""

from __future__ import annotations

import math

import numpy as np
from pydantic import JsonValue

from flava.errors import ConfigError
from flava.evaluate.bootstrap import bootstrap_std
from flava.evaluate.context import Context
from flava.evaluate.features import FeatureArray
from flava.evaluate.scores import Score, percent
from flava.evaluate.taskdata import IntArray, RetrievalTask

CHUNK = 1024
TIE = 1e-6  # cosines nearer than float32 rounding of a dot product are equal
TOP_K = (1, 5, 10)


def evaluate(context: Context, data: RetrievalTask) -> list[Score]:
    """One score a row; a row's name ends in "TR R@k" or "IR R@k".

    Standard errors resample images with their captions.

    Raises:
        ConfigError: a row's name does not say which recall it is.
        DataError: an image cannot be decoded.
        TrainingError: embeddings are not finite.
    """
    model, what = context.model, context.what
    every = np.arange(len(data.images))
    image_ND = context.cache.image_features(
        model.image_embeddings, data.images, every, model.image_size, what
    )
    text_MD = context.cache.text_features(
        model.text_embeddings, data.captions, context.tokenizer, model.max_text_length, what
    )
    text_rank_N, image_rank_M = ranks(unit(image_ND), unit(text_MD), data.image_M)
    directions: dict[str, tuple[IntArray, IntArray]] = {
        "TR": (text_rank_N, every),
        "IR": (image_rank_M, data.image_M),
    }
    details: dict[str, JsonValue] = dict(data.notes)
    for direction, (ranks_Q, _) in directions.items():
        details |= {f"{direction} R@{k}": percent(float(np.mean(ranks_Q < k))) for k in TOP_K}
        details[f"{direction} median rank"] = float(np.median(ranks_Q)) + 1
    return [_score(context, row, data, directions, details) for row in context.task.rows]


def _score(
    context: Context,
    row: str,
    data: RetrievalTask,
    directions: dict[str, tuple[IntArray, IntArray]],
    details: dict[str, JsonValue],
) -> Score:
    direction, k = parse_row(row)
    ranks_Q, image_Q = directions[direction]
    hits_Q = ranks_Q < k
    error = bootstrap_std(
        lambda chosen: float(np.mean(hits_Q[chosen])), len(hits_Q), context.resamples, image_Q
    )
    captions_N = np.bincount(data.image_M, minlength=len(data.images))
    return Score(
        row=row,
        task=context.name,
        domain=context.task.domain,
        metric=f"{direction} R@{k}",
        value=percent(float(np.mean(hits_Q))),
        std_error=percent(error),
        chance=percent(random_recall(direction, k, captions_N)),
        n_examples=len(hits_Q),
        n_train=0,
        stand_in=context.stand_in,
        details=details,
    )


def parse_row(row: str) -> tuple[str, int]:
    """("TR" or "IR", k) of a row name such as "COCO TR R@5".

    Raises:
        ConfigError: the name does not end so.
    """
    match row.split():
        case [*_, ("TR" | "IR") as direction, recall] if (
            recall[:2] == "R@" and recall[2:].isdigit()
        ):
            return direction, int(recall[2:])
        case _:
            raise ConfigError(f"Retrieval row '{row}' must end in 'TR R@k' or 'IR R@k'.")


def ranks(
    image_ND: FeatureArray, text_MD: FeatureArray, image_M: IntArray
) -> tuple[IntArray, IntArray]:
    """Rank, from 0, of the best own caption (N,) and of each caption's image (M,).

    A rank is the number of wrong candidates that score at least as high, up to rounding.
    """
    own_M = np.einsum("md,md->m", text_MD, image_ND[image_M])
    best_N = np.full(len(image_ND), -np.inf, np.float32)
    np.maximum.at(best_N, image_M, own_M)
    text_rank_N = np.zeros(len(image_ND), np.int64)
    for start in range(0, len(image_ND), CHUNK):
        rows = slice(start, start + CHUNK)
        above_BM = image_ND[rows] @ text_MD.T >= best_N[rows, None] - TIE
        mine_BM = image_M[None, :] == np.arange(len(image_ND))[rows, None]
        text_rank_N[rows] = (above_BM & ~mine_BM).sum(axis=1)
    image_rank_M = np.zeros(len(text_MD), np.int64)
    for start in range(0, len(text_MD), CHUNK):
        rows = slice(start, start + CHUNK)
        above_BN = text_MD[rows] @ image_ND.T >= own_M[rows, None] - TIE
        mine_BN = image_M[rows, None] == np.arange(len(image_ND))[None, :]
        image_rank_M[rows] = (above_BN & ~mine_BN).sum(axis=1)
    return text_rank_N, image_rank_M


def random_recall(direction: str, k: int, captions_N: IntArray) -> float:
    """Expected recall of a random ranking; `captions_N` has each image's number of captions."""
    images, captions = len(captions_N), int(captions_N.sum())
    if direction == "IR":
        return min(1.0, k / images)
    return float(np.mean([1 - _miss(captions, int(own), k) for own in captions_N]))


def _miss(captions: int, own: int, k: int) -> float:
    """Chance that none of `own` captions is among k drawn of `captions`."""
    if k >= captions:
        return 0.0
    return math.comb(captions - own, k) / math.comb(captions, k)


def unit(features_ND: FeatureArray) -> FeatureArray:
    """Rows scaled to length 1; zero rows stay zero."""
    norms_N1 = np.linalg.norm(features_ND, axis=1, keepdims=True).astype(np.float32)
    scaled: FeatureArray = features_ND / np.maximum(norms_N1, 1e-12)
    return scaled
