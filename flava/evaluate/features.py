"""Frozen features in batches, checked to be finite."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from flava.data.transforms import normalise
from flava.errors import TrainingError
from flava.evaluate.taskdata import Images, IntArray
from flava.prefetch import prefetched, reading_threads

if TYPE_CHECKING:
    from flava.data.tokenizer import Tokenizer

BATCH = 256
FeatureArray = npt.NDArray[np.float32]
ImageFunction = Callable[[Tensor], Tensor]
TextFunction = Callable[[Tensor, Tensor], Tensor]


def device() -> torch.device:
    """The device that evaluation runs on."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def image_features(
    function: ImageFunction, images: Images, rows: IntArray, size: int, what: str
) -> FeatureArray:
    """`function` of the images at `rows`, each computed once: (N, D).

    Raises:
        DataError: an image cannot be decoded.
        TrainingError: a feature is not finite; `what` names the task.
    """
    distinct, positions = np.unique(rows, return_inverse=True)
    kept = _Kept(len(distinct))

    def read(chosen: IntArray) -> Tensor:
        return normalise(images.pixels(distinct[chosen], size))

    ahead = reading_threads(device())
    with torch.inference_mode():
        for chosen, pixels_BCHW in prefetched(read, batches(len(distinct)), ahead):
            kept.put(chosen, function(pixels_BCHW.to(device())))
    return at_positions(kept.checked(what), positions)


def text_features(
    function: TextFunction, texts: Sequence[str], tokenizer: Tokenizer, max_length: int, what: str
) -> FeatureArray:
    """`function` of every text: (N, D); equal texts get equal features.

    Raises:
        TrainingError: a feature is not finite; `what` names the task.
    """
    tokens, positions = distinct_tokens(texts, tokenizer, max_length)
    return at_positions(token_features(function, tokens, tokenizer.pad_id, what), positions)


def distinct_tokens(
    texts: Sequence[str], tokenizer: Tokenizer, max_length: int
) -> tuple[list[list[int]], IntArray]:
    """Token ids of each distinct text, in order of appearance, and each text's position there."""
    position = {text: i for i, text in enumerate(dict.fromkeys(texts))}
    tokens = [tokenizer.pair(text, None, max_length) for text in position]
    return tokens, np.array([position[text] for text in texts], np.int64)


def token_features(
    function: TextFunction, tokens: Sequence[Sequence[int]], pad_id: int, what: str
) -> FeatureArray:
    """`function` of token ids, in batches of like length: (N, D).

    Raises:
        TrainingError: a feature is not finite; `what` names the task.
    """
    by_length = np.argsort([len(ids) for ids in tokens], kind="stable")
    kept = _Kept(len(tokens))
    with torch.inference_mode():
        for chosen in batches(len(tokens)):
            rows = by_length[chosen]
            text_BL, attention_BL = pad([tokens[i] for i in rows], pad_id)
            kept.put(rows, function(text_BL.to(device()), attention_BL.to(device())))
    return kept.checked(what)


def pad(tokens: Sequence[Sequence[int]], pad_id: int) -> tuple[Tensor, Tensor]:
    """Ids (B, L) padded to the longest row, and the mask of real tokens (B, L)."""
    lengths_B = torch.tensor([len(ids) for ids in tokens])
    text_BL = torch.full((len(tokens), int(lengths_B.max())), pad_id, dtype=torch.int64)
    for row, ids in enumerate(tokens):
        text_BL[row, : len(ids)] = torch.tensor(ids)
    return text_BL, torch.arange(text_BL.shape[1]) < lengths_B[:, None]


def batches(n: int) -> Iterator[IntArray]:
    """Positions 0 to n - 1 in consecutive batches."""
    for start in range(0, n, BATCH):
        yield np.arange(start, min(start + BATCH, n))


def at_positions(features_ND: FeatureArray, positions_M: IntArray) -> FeatureArray:
    """The features at `positions_M` (M, D); `features_ND` itself, not a copy, if these are all."""
    every = len(positions_M) == len(features_ND) and (positions_M[:-1] < positions_M[1:]).all()
    return features_ND if every else features_ND[positions_M]


class _Kept:
    """Features of n inputs as they come: one array, since those of ImageNet fill 4 GB."""

    def __init__(self, n: int) -> None:
        self.n = n
        self.features_ND: FeatureArray | None = None

    def put(self, rows: IntArray, features_BD: Tensor) -> None:
        """Keeps the features of the inputs at `rows`."""
        if self.features_ND is None:
            self.features_ND = np.empty((self.n, features_BD.shape[1]), np.float32)
        self.features_ND[rows] = features_BD.float().cpu().numpy()

    def checked(self, what: str) -> FeatureArray:
        """All features (n, D).

        Raises:
            TrainingError: one is not finite; `what` names the task.
        """
        assert self.features_ND is not None
        finite = (np.isfinite(self.features_ND[rows]).all(axis=1) for rows in batches(self.n))
        bad = self.n - sum(int(finite_B.sum()) for finite_B in finite)
        if bad:
            raise TrainingError(
                f"{what}: features of {bad} of {self.n} different inputs are not finite. "
                "The model's weights are broken: train it anew."
            )
        return self.features_ND
