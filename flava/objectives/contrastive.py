"""Global and local image-text contrastive loss (Section 3.2, supplement C; docs/objectives.md)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from flava.config import ContrastiveConfig
from flava.objectives.gather import gather_values, gather_with_gradient, world
from flava.splits import ranks_held

# ln 100 as Hugging Face and torchmultimodal round it: their losses at the bound are matched.
MAX_LOGIT_SCALE = 4.6052


def clamp_logit_scale(logit_scale: Tensor) -> None:
    """Clamps the log temperature to [0, ln 100] in place.

    The stored value, not a copy, so that at a bound the gradient still leads back inside
    (CLIP Section 2.5; Hugging Face and torchmultimodal do the same).
    """
    with torch.no_grad():
        logit_scale.clamp_(0.0, MAX_LOGIT_SCALE)


@dataclass(frozen=True)
class EmbeddingGradients:
    """Gradient of a contrastive loss that was worked out beforehand (`flava.train.grad_cache`)."""

    image_BD: Tensor
    text_BD: Tensor


Contrastive = ContrastiveConfig | EmbeddingGradients


def contrastive_loss(
    image_BD: Tensor,
    text_BD: Tensor,
    logit_scale: Tensor,
    counted_B: Tensor | None,
    config: Contrastive,
) -> Tensor:
    """Symmetric InfoNCE over the rows of all `config.ranks` ranks.

    Rows that do not count leave the loss and stay as negatives of the others. This process holds
    `ranks / processes` ranks as equal, contiguous slices of its rows. The mean over processes of
    what is returned is the mean over all rows that count; where none does, it is 0.

    Args:
        image_BD: L2-normalised image embeddings of this process.
        text_BD: L2-normalised text embeddings of this process.
        logit_scale: scalar, natural logarithm of the factor on the cosines.
        counted_B: bool, rows that count; None: all.
        config: gather mode and number of ranks; or known gradients, for a result that is no loss
            but has just these gradients.

    Raises:
        ConfigError: the ranks cannot be dealt out evenly to processes and rows.
    """
    with torch.autocast(image_BD.device.type, enabled=False):
        image_BD, text_BD, scale = image_BD.float(), text_BD.float(), logit_scale.float().exp()
        if isinstance(config, EmbeddingGradients):
            return (image_BD * config.image_BD).sum() + (text_BD * config.text_BD).sum()
        held = ranks_held(image_BD.shape[0], config, world()[1])
        if counted_B is None:
            counted_B = image_BD.new_ones(len(image_BD), dtype=torch.bool)
        counted_N = gather_values(counted_B)
        if config.gather in ("global_full", "openclip_2021"):
            total = _full_rows(image_BD, text_BD, scale, counted_N, config.gather, held)
            return total / counted_N.sum().clamp(min=1)
        # Released code gathers nothing on a lone rank, so that all modes are equal there.
        mode = "global" if config.ranks == 1 else config.gather
        total = _local_rows(image_BD, text_BD, scale, counted_B, mode, held)
        return world()[1] * total / counted_N.sum().clamp(min=1)


def _local_rows(
    image_BD: Tensor, text_BD: Tensor, scale: Tensor, counted_B: Tensor, mode: str, held: int
) -> Tensor:
    """Each rank scores its own rows against all columns: sum over this process's rows."""
    collect = gather_with_gradient if mode == "global" else gather_values
    images_ND, texts_ND = collect(image_BD), collect(text_BD)
    rows, share = image_BD.shape[0], image_BD.shape[0] // held
    losses = []
    for start in range(0, rows, share):
        own = slice(start, start + share)
        target = world()[0] * rows + start
        columns = (images_ND, texts_ND)
        if mode == "local":
            columns = (
                _put_back(images_ND, image_BD[own], target),
                _put_back(texts_ND, text_BD[own], target),
            )
        losses.append(
            _symmetric(image_BD[own], text_BD[own], columns, scale, counted_B[own], target)
        )
    return torch.stack(losses).sum()


def _full_rows(
    image_BD: Tensor, text_BD: Tensor, scale: Tensor, counted_N: Tensor, mode: str, held: int
) -> Tensor:
    """Each rank scores all rows against all columns: sum over all rows."""
    if mode == "global_full":
        images_ND, texts_ND = gather_with_gradient(image_BD), gather_with_gradient(text_BD)
    else:
        # Each of the held ranks lets the gradient into its own slice only, and their mean counts:
        # the same as letting it into all of them, divided by their number.
        start = world()[0] * image_BD.shape[0]
        images_ND = _put_back(gather_values(image_BD), _divide_gradient(image_BD, held), start)
        texts_ND = _put_back(gather_values(text_BD), _divide_gradient(text_BD, held), start)
    return _symmetric(images_ND, texts_ND, (images_ND, texts_ND), scale, counted_N, 0)


def _symmetric(
    image_RD: Tensor,
    text_RD: Tensor,
    columns: tuple[Tensor, Tensor],
    scale: Tensor,
    counted_R: Tensor,
    target: int,
) -> Tensor:
    """Mean of image-to-text and text-to-image cross-entropy, summed over the rows that count.

    Row i belongs to column target + i.
    """
    images_ND, texts_ND = columns
    targets_R = torch.arange(target, target + len(image_RD), device=image_RD.device)[counted_R]
    to_text = scale * image_RD[counted_R] @ texts_ND.T
    to_image = scale * text_RD[counted_R] @ images_ND.T
    both = torch.stack(
        [
            functional.cross_entropy(logits_RN, targets_R, reduction="sum")
            for logits_RN in (to_text, to_image)
        ]
    )
    return both.mean()


def _put_back(all_ND: Tensor, own_RD: Tensor, start: int) -> Tensor:
    """`all_ND` with the rows from `start` on replaced by `own_RD`, which carry a gradient."""
    return torch.cat([all_ND[:start], own_RD, all_ND[start + own_RD.shape[0] :]])


def _divide_gradient(rows_BD: Tensor, by: int) -> Tensor:
    """The same values; their gradient is divided by `by`."""
    return rows_BD.detach() + (rows_BD - rows_BD.detach()) / by
