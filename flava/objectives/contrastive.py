"""Global and local image-text contrastive loss (Section 3.2, supplement C; docs/objectives.md)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from flava.config import ContrastiveConfig
from flava.errors import ConfigError
from flava.objectives.gather import gather_values, gather_with_gradient, world
from flava.objectives.itm import positive_rows

# ln 100 as Hugging Face and torchmultimodal round it: their losses at the bound are matched.
MAX_LOGIT_SCALE = 4.6052


def clamp_logit_scale(logit_scale: Tensor) -> None:
    """Clamps the log temperature to [0, ln 100] in place.

    The stored value, not a copy, so that at a bound the gradient still leads back inside
    (CLIP Section 2.5; Hugging Face and torchmultimodal do the same).
    """
    with torch.no_grad():
        logit_scale.clamp_(0.0, MAX_LOGIT_SCALE)


def contrastive_loss(
    image_BD: Tensor,
    text_BD: Tensor,
    logit_scale: Tensor,
    itm_labels_B: Tensor | None,
    config: ContrastiveConfig,
) -> Tensor:
    """Symmetric InfoNCE over the rows of all `config.ranks` ranks.

    Rows with ITM label 0 leave the loss and stay as negatives of the others; on a rank without
    any matching row all count. This process holds `ranks / processes` ranks as equal, contiguous
    slices of its rows. The mean over processes of the loss and of its gradient is what as many
    real ranks give.

    Args:
        image_BD: L2-normalised image embeddings of this process.
        text_BD: L2-normalised text embeddings of this process.
        logit_scale: scalar, natural logarithm of the factor on the cosines.
        itm_labels_B: int64, 0 = no match; None: all match.
        config: gather mode and number of ranks.

    Raises:
        ConfigError: the ranks cannot be dealt out evenly to processes and rows.
    """
    held = _ranks_held(image_BD.shape[0], config)
    with torch.autocast(image_BD.device.type, enabled=False):
        image_BD, text_BD, scale = image_BD.float(), text_BD.float(), logit_scale.float().exp()
        if config.gather in ("global_full", "openclip_2021"):
            return _full_rows(image_BD, text_BD, scale, itm_labels_B, config.gather, held)
        # Released code gathers nothing on a lone rank, so that all modes are equal there.
        mode = "global" if config.ranks == 1 else config.gather
        return _local_rows(image_BD, text_BD, scale, itm_labels_B, mode, held)


def _ranks_held(rows: int, config: ContrastiveConfig) -> int:
    processes = world()[1]
    if config.ranks % processes:
        raise ConfigError(
            f"contrastive.ranks is {config.ranks}, not a multiple of the {processes} processes "
            "that train. Change contrastive.ranks or the number of processes."
        )
    held = config.ranks // processes
    if rows % held:
        raise ConfigError(
            f"A process holds {rows} rows, which {held} contrastive ranks cannot share evenly. "
            "Make the batch size a multiple of accumulate times contrastive.ranks."
        )
    return held


def _local_rows(
    image_BD: Tensor, text_BD: Tensor, scale: Tensor, labels_B: Tensor | None, mode: str, held: int
) -> Tensor:
    """Each rank scores its own rows against all columns."""
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
        labels = None if labels_B is None else labels_B[own]
        losses.append(_symmetric(image_BD[own], text_BD[own], columns, scale, labels, target))
    return torch.stack(losses).mean()


def _full_rows(
    image_BD: Tensor, text_BD: Tensor, scale: Tensor, labels_B: Tensor | None, mode: str, held: int
) -> Tensor:
    """Each rank scores all rows against all columns."""
    if mode == "global_full":
        images_ND, texts_ND = gather_with_gradient(image_BD), gather_with_gradient(text_BD)
    else:
        # Each of the held ranks lets the gradient into its own slice only, and their mean counts:
        # the same as letting it into all of them, divided by their number.
        start = world()[0] * image_BD.shape[0]
        images_ND = _put_back(gather_values(image_BD), _divide_gradient(image_BD, held), start)
        texts_ND = _put_back(gather_values(text_BD), _divide_gradient(text_BD, held), start)
    labels_N = None if labels_B is None else gather_values(labels_B)
    return _symmetric(images_ND, texts_ND, (images_ND, texts_ND), scale, labels_N, 0)


def _symmetric(
    image_RD: Tensor,
    text_RD: Tensor,
    columns: tuple[Tensor, Tensor],
    scale: Tensor,
    labels_R: Tensor | None,
    target: int,
) -> Tensor:
    """Mean of image-to-text and text-to-image cross-entropy; row i belongs to column target + i."""
    images_ND, texts_ND = columns
    count, device = image_RD.shape[0], image_RD.device
    positive_R = positive_rows(labels_R, count, device)
    targets_R = torch.arange(target, target + count, device=device)[positive_R]
    to_text = functional.cross_entropy(scale * image_RD[positive_R] @ texts_ND.T, targets_R)
    to_image = functional.cross_entropy(scale * text_RD[positive_R] @ images_ND.T, targets_R)
    return (to_text + to_image) / 2


def _put_back(all_ND: Tensor, own_RD: Tensor, start: int) -> Tensor:
    """`all_ND` with the rows from `start` on replaced by `own_RD`, which carry a gradient."""
    return torch.cat([all_ND[:start], own_RD, all_ND[start + own_RD.shape[0] :]])


def _divide_gradient(rows_BD: Tensor, by: int) -> Tensor:
    """The same values; their gradient is divided by `by`."""
    return rows_BD.detach() + (rows_BD - rows_BD.detach()) / by
