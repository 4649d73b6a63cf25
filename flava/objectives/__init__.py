"""FLAVA's losses: tensors in, losses out; they know no model."""

from flava.objectives.contrastive import (
    Contrastive,
    EmbeddingGradients,
    clamp_logit_scale,
    contrastive_loss,
)
from flava.objectives.itm import itm_loss, positive_rows
from flava.objectives.mim import mim_loss
from flava.objectives.mlm import mlm_loss
from flava.objectives.mmm import fusion_targets, mmm_loss

__all__ = [
    "Contrastive",
    "EmbeddingGradients",
    "clamp_logit_scale",
    "contrastive_loss",
    "fusion_targets",
    "itm_loss",
    "mim_loss",
    "mlm_loss",
    "mmm_loss",
    "positive_rows",
]
