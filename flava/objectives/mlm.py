"""Masked language modelling (Section 3.2): the word piece at each masked position of a text."""

from __future__ import annotations

from torch import Tensor

from flava.objectives.masked import masked_cross_entropy


def mlm_loss(logits_NV: Tensor, labels_N: Tensor) -> Tensor:
    """Mean cross-entropy over the N masked tokens of the batch; V vocabulary entries.

    Source: Section 3.2 "Masked language modeling"; Hugging Face `FlavaForPreTraining.forward`.
    """
    return masked_cross_entropy(logits_NV, labels_N)
