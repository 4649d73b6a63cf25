"""Prediction heads of FLAVA's losses."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from flava.models.transformer import LayerNorm


class MaskedPredictionHead(nn.Module):
    """Linear, GELU, norm, Linear to a vocabulary (BERT); the decoder is not tied to embeddings."""

    def __init__(self, width: int, vocabulary: int, eps: float) -> None:
        super().__init__()
        self.dense = nn.Linear(width, width)
        self.norm = LayerNorm(width, eps=eps)
        self.decoder = nn.Linear(width, vocabulary)

    def forward(self, x_ND: Tensor) -> Tensor:
        """Logits logits_NV of N masked positions."""
        logits_NV: Tensor = self.decoder(self.norm(functional.gelu(self.dense(x_ND))))
        return logits_NV


class ItmHead(nn.Module):
    """BERT's pooler (Linear, tanh) over [CLS_M] and a two-way classifier."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.pooler = nn.Linear(width, width)
        self.classifier = nn.Linear(width, 2)

    def forward(self, cls_BD: Tensor) -> Tensor:
        """Logits logits_B2: column 1 is "image and text match"."""
        logits_B2: Tensor = self.classifier(torch.tanh(self.pooler(cls_BD)))
        return logits_B2
