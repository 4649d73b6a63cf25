"""Image-text matching (Section 3.2), and the rows its labels leave to the other pair losses."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def itm_loss(logits_B2: Tensor, labels_B: Tensor) -> Tensor:
    """Mean cross-entropy over all rows; label 1 = image and text match, 0 = they do not.

    Source: Section 3.2 "Image-text matching"; Hugging Face `FlavaForPreTraining.forward`.
    """
    return functional.cross_entropy(logits_B2.float(), labels_B)


def positive_rows(labels_B: Tensor | None, rows: int, device: torch.device) -> Tensor:
    """Bool mask of the rows that MMM and the contrastive loss count, in a batch by itself.

    Matching rows only; all rows where no labels are given or none matches, as in Hugging Face
    `FlavaForPreTraining.forward` and torchmultimodal `losses/flava.py`. In training the batch is
    the whole update's, whatever share of it a rank holds (`Batch.counted_B`).
    """
    if labels_B is None:
        return torch.ones(rows, dtype=torch.bool, device=device)
    positive_B = labels_B.ne(0)
    return positive_B | ~positive_B.any()
