"""What all masked-prediction losses share: which positions are read, and their cross-entropy."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from flava.errors import DataError

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


def masked_cross_entropy(logits_NV: Tensor, labels_N: Tensor, name: str) -> Tensor:
    """Mean cross-entropy in float32 over N masked positions.

    Raises:
        DataError: N is 0; the mean would be NaN.
    """
    if labels_N.numel() == 0:
        raise DataError(
            f"The {name} loss has no masked position in this batch, so its mean is undefined. "
            "The masks must cover at least one position of each sample."
        )
    return functional.cross_entropy(logits_NV.float(), labels_N)
