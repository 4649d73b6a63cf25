"""The contrastive loss of a whole update whose micro-batches are worked on one after another.

GradCache (Gao et al. 2021, arXiv 2101.06983): embeddings of all micro-batches without a graph, the
loss and its gradient with respect to them, then each micro-batch again with a graph that this
gradient flows into. It costs one more forward pass of the two encoders.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from flava.config import ContrastiveConfig
from flava.data.batch import Batch
from flava.models import Clip, Flava
from flava.models.backbone import counted_rows, field
from flava.objectives import clamp_logit_scale, contrastive_loss
from flava.train.sharding import method


def cache_contrastive(
    model: Flava | Clip, batches: Sequence[Batch], config: ContrastiveConfig, scale: float
) -> tuple[list[Batch], Tensor]:
    """The micro-batches with the gradients of their embeddings, and the loss of all together.

    The encoders must be without dropout, as in pretraining, so that both passes agree.

    Args:
        model: its `logit_scale` receives its gradient here.
        batches: this rank's micro-batches.
        config: gather mode and number of ranks.
        scale: the loss scale, which `logit_scale.grad` is multiplied by.
    """
    with torch.no_grad():
        image_ND, text_ND = (
            torch.cat(parts) for parts in zip(*_embed(model, batches), strict=True)
        )
        clamp_logit_scale(model.logit_scale)
    leaves = [image_ND.requires_grad_(), text_ND.requires_grad_(), model.logit_scale]
    counted_N = torch.cat([counted_rows(batch) for batch in batches])
    # The caller's autocast would work out the gradient of the float32 loss in half precision:
    # fp16 has no numbers as small as the gradients of a large batch's logits.
    with torch.autocast(image_ND.device.type, enabled=False):
        loss = contrastive_loss(image_ND, text_ND, model.logit_scale, counted_N, config)
        d_image_ND, d_text_ND, d_scale = torch.autograd.grad(loss, leaves)
    earlier = model.logit_scale.grad
    model.logit_scale.grad = d_scale * scale if earlier is None else earlier + d_scale * scale
    gradients_2ND = torch.stack([d_image_ND, d_text_ND])
    pieces = torch.split(gradients_2ND, [len(batch.keys) for batch in batches], dim=1)
    cached = [
        replace(batch, embedding_gradients_2BD=piece)
        for batch, piece in zip(batches, pieces, strict=True)
    ]
    return cached, loss.detach()


def _embed(model: Flava | Clip, batches: Sequence[Batch]) -> list[tuple[Tensor, Tensor]]:
    embed_images, embed_texts = method(model, "image_embeddings"), method(model, "text_embeddings")
    return [
        (
            embed_images(field(batch, "pixels_BCHW")),
            embed_texts(field(batch, "text_BL"), field(batch, "text_attention_BL")),
        )
        for batch in batches
    ]
