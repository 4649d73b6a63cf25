"""Masked multimodal modelling (Section 3.2): both modalities masked, read after fusion."""

from __future__ import annotations

import torch
from torch import Tensor

from flava.objectives.masked import IGNORE, masked_cross_entropy

# The fusion sequence is [CLS_M], [CLS_I], patches, text.
FIRST_PATCH = 2


def mmm_loss(logits_NV: Tensor, labels_N: Tensor) -> Tensor:
    """Mean cross-entropy over the N masked positions of one modality in matching pairs.

    Source: Section 3.2 "Masked multimodal modeling"; Hugging Face `FlavaForPreTraining.forward`.
    """
    return masked_cross_entropy(logits_NV, labels_N)


def fusion_targets(
    patch_mask_BP: Tensor, image_tokens_BP: Tensor, text_labels_BL: Tensor, positive_B: Tensor
) -> Tensor:
    """Labels of the whole fusion sequence, `IGNORE` wherever no loss reads.

    Args:
        patch_mask_BP: bool, True where masked.
        image_tokens_BP: int64 dVAE codes.
        text_labels_BL: int64 original ids at masked positions, `IGNORE` elsewhere.
        positive_B: bool, rows that count.

    Returns:
        labels_BS: int64 of length S = 2 + P + L.
    """
    cls_B2 = torch.full_like(text_labels_BL[:, :1], IGNORE).expand(-1, FIRST_PATCH)
    image_BP = image_tokens_BP.masked_fill(~patch_mask_BP, IGNORE)
    labels_BS = torch.cat([cls_B2, image_BP, text_labels_BL], dim=1)
    return labels_BS.masked_fill(~positive_B[:, None], IGNORE)
