"""Masked image modelling (Section 3.2): the dVAE token of each masked patch of a lone image."""

from __future__ import annotations

from torch import Tensor

from flava.objectives.masked import masked_cross_entropy


def mim_loss(logits_NV: Tensor, tokens_N: Tensor) -> Tensor:
    """Mean cross-entropy over the N masked patches of the batch; V codebook entries.

    Source: Section 3.2 "Masked image modeling"; Hugging Face `FlavaForPreTraining.forward`.
    """
    return masked_cross_entropy(logits_NV, tokens_N)
