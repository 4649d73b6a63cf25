"""How much each rank's and micro-batch's mean counts in the loss of the whole update."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from flava.data.batch import Batch
from flava.errors import DataError
from flava.models.backbone import counted_rows, field
from flava.objectives.masked import IGNORE
from flava.train.distributed import Ranks, sum_over_ranks

Counts = Mapping[str, int]


def count_terms(batch: Batch, losses: Sequence[str]) -> dict[str, int]:
    """How many terms each loss of `batch` is the mean of: masked positions, or else samples."""
    return {name: _count(batch, name) for name in losses}


def loss_weights(counts: Sequence[Counts], update: int, ranks: Ranks) -> list[dict[str, float]]:
    """Weights of each micro-batch's losses on this rank.

    The mean over ranks of the weighted sum over micro-batches is the mean over all terms of the
    update, whatever their distribution.

    Args:
        counts: terms of each of this rank's micro-batches; all name the same losses.
        update: number of the update (from 0), for the message.
        ranks: this process among all.

    Raises:
        DataError: a loss has no term in the whole update, so that its mean is undefined.
    """
    names = sorted(counts[0])
    own_N = torch.tensor([sum(each[name] for each in counts) for name in names])
    if ranks.world_size > 1:  # alone, no accelerator is waited for
        own_N = own_N.to(ranks.device)
    totals = dict(zip(names, sum_over_ranks(own_N), strict=True))
    if empty := [name for name, total in totals.items() if not total]:
        raise DataError(
            f"Update {update + 1} has no masked position for the loss {', '.join(empty)}, on no "
            "rank, so its mean is undefined. The masks must cover at least one position of each "
            "sample: raise masking.text_probability or masking.image_patches."
        )
    return [
        {name: ranks.world_size * each[name] / totals[name] for name in names} for each in counts
    ]


def _count(batch: Batch, loss: str) -> int:
    if loss == "mim":
        return int(field(batch, "patch_mask_BP").sum())
    if loss == "mmm_image":
        return int(field(batch, "patch_mask_BP")[counted_rows(batch)].sum())
    if loss in ("mlm", "mmm_text"):
        labels: Tensor = field(batch, "text_labels_BL")
        return int((labels if loss == "mlm" else labels[counted_rows(batch)]).ne(IGNORE).sum())
    return len(batch.keys)
