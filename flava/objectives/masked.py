"""What all masked-prediction losses share: which positions are read, and their cross-entropy."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

IGNORE = -100


def read_positions(mask_BN: Tensor) -> tuple[Tensor, Tensor]:
    """Indices of each row's True positions, padded to the row that has most, at least one.

    Returns:
        index_BR: int64, the True positions in ascending order, then arbitrary False ones.
        valid_BR: bool, False on the padding.
    """
    count_B = mask_BN.sum(dim=1)
    most = max(1, int(count_B.max()))
    index_BR = torch.argsort(mask_BN.to(torch.int8), dim=1, descending=True, stable=True)[:, :most]
    valid_BR = torch.arange(most, device=mask_BN.device) < count_B[:, None]
    return index_BR, valid_BR


def masked_cross_entropy(logits_NV: Tensor, labels_N: Tensor) -> Tensor:
    """Mean cross-entropy in float32 over N masked positions; 0 where N is 0.

    One rank's or micro-batch's share of an update may hold no position at all; training weighs it
    with its number of positions and refuses an update that has none (`flava.train.terms`).
    """
    return functional.cross_entropy(logits_NV.float(), labels_N, reduction="sum") / max(
        1, labels_N.numel()
    )
