"""The cross-entropy that all masked-prediction losses share."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

IGNORE = -100


def masked_cross_entropy(logits_NV: Tensor, labels_N: Tensor) -> Tensor:
    """Mean cross-entropy in float32 over N masked positions; 0 where N is 0.

    One rank's or micro-batch's share of an update may hold no position at all; training weighs it
    with its number of positions and refuses an update that has none (`flava.train.terms`).
    """
    return functional.cross_entropy(logits_NV.float(), labels_N, reduction="sum") / max(
        1, labels_N.numel()
    )
