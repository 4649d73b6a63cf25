"""One update up to the optimiser: forward, backward, averaging, and a check for NaN."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import Parameter

from flava.errors import TrainingError
from flava.train.distributed import (
    Ranks,
    average_gradients,
    gather_objects,
    gradient_norm,
    scale_gradients,
    sum_over_ranks,
)
from flava.train.precision import autocast
from flava.train.recipe import AnyBatch
from flava.train.terms import loss_weights

Losses = dict[str, Tensor]


class LossSource(Protocol):
    """What a step asks of a recipe; `flava.train.recipe.Recipe` says more."""

    def terms(self, batch: Any) -> Mapping[str, int]:
        """How many terms each loss of a batch is the mean of."""

    def prepare(
        self, batches: Sequence[Any], update: int, scale: float
    ) -> tuple[Sequence[Any], Mapping[str, Tensor]]:
        """Batches ready for `losses`, and losses of the whole update known beforehand."""

    def losses(self, batch: Any, update: int) -> Mapping[str, Tensor]:
        """Losses of a batch by name."""


@dataclass(frozen=True)
class Step:
    """Numbers of one update.

    Attributes:
        losses: means over all terms of the update, of all micro-batches and ranks.
        grad_norm: L2 norm of the averaged gradient, before clipping.
        samples: samples over all ranks.
        overflow: fp16 did not hold the gradient; the update must be skipped.
    """

    losses: dict[str, float]
    grad_norm: float
    samples: int
    overflow: bool = False


def compute_gradients(
    parameters: Sequence[Parameter],
    source: LossSource,
    batches: Sequence[AnyBatch],
    ranks: Ranks,
    update: int,
    precision: str = "fp32",
    scale: float = 1.0,
) -> Step:
    """Leaves the gradient of the whole update's losses in `parameters`, on every rank.

    The losses of an update are summed with weight 1 each (torchmultimodal; the
    paper gives none). Each is
    the mean over all its terms, however ranks and micro-batches share them.

    Args:
        parameters: trainable parameters with no gradient yet; sharded or whole.
        source: of the losses.
        batches: this rank's micro-batches, all of one kind.
        ranks: this process among all.
        update: number of the update (from 0), for messages.
        precision: fp32, bf16 or fp16; parameters and gradients stay fp32.
        scale: factor on the loss in the backward pass, for fp16; taken out of the gradient.

    Raises:
        DataError: a loss has no term in the whole update.
        TrainingError: a loss or the gradient norm is NaN or infinite on any rank. All ranks raise
            it, before the optimiser has touched the weights. With fp16 the step says `overflow`
            instead.
    """
    weights = loss_weights([source.terms(batch) for batch in batches], update, ranks)
    moved = [batch.to(ranks.device) for batch in batches]
    with autocast(ranks.device, precision, ranks.sharded):
        ready, known = source.prepare(moved, update, scale)
    raw: list[Losses] = []
    for batch, weight in zip(ready, weights, strict=True):
        weight |= dict.fromkeys(known, 1.0)  # these hold the gradient of the whole update
        with autocast(ranks.device, precision, ranks.sharded):
            losses = source.losses(batch, update)
        parts = [weight[name] * loss.float() for name, loss in losses.items()]
        (scale * torch.stack(parts).sum()).backward()  # type: ignore[no-untyped-call]
        raw.append({name: loss.detach().float() for name, loss in losses.items()})
    losses_of_update, used = _means(raw, weights, known, parameters, ranks)
    finite = all(math.isfinite(value) for value in losses_of_update.values())
    if not finite and precision != "fp16":
        raise _not_finite(update, batches, [{**each, **known} for each in raw])
    average_gradients(parameters, used)
    scale_gradients(parameters, 1 / scale)
    norm = gradient_norm(parameters)
    if not math.isfinite(norm) and precision != "fp16":
        bad = {"the gradient norm": torch.tensor(norm)}
        raise _not_finite(update, batches, [bad] * len(batches))
    samples = ranks.world_size * sum(len(batch.keys) for batch in batches)
    return Step(losses_of_update, norm, samples, not (finite and math.isfinite(norm)))


def _means(
    raw: Sequence[Losses],
    weights: Sequence[Mapping[str, float]],
    known: Mapping[str, Tensor],
    parameters: Sequence[Parameter],
    ranks: Ranks,
) -> tuple[dict[str, float], list[bool]]:
    """Losses of the update, and which parameters any rank has a gradient of: one exchange."""
    own = dict(known)
    for name in raw[0].keys() - known.keys():
        parts = [weight[name] * each[name] for weight, each in zip(weights, raw, strict=True)]
        own[name] = torch.stack(parts).sum()
    names = sorted(own)
    own_N = torch.stack([own[name].double() for name in names])
    has_grad_P = torch.tensor([p.grad is not None for p in parameters], dtype=torch.float64)
    sums = sum_over_ranks(torch.cat([own_N, has_grad_P.to(own_N.device)]))
    losses = {name: sums[i] / ranks.world_size for i, name in enumerate(names)}
    return losses, [count > 0 for count in sums[len(names) :]]


def _not_finite(
    update: int, batches: Sequence[AnyBatch], per_batch: Sequence[Mapping[str, Tensor]]
) -> TrainingError:
    """The same message on every rank, about the first rank with a bad value."""
    found = None
    for batch, losses in zip(batches, per_batch, strict=True):
        bad = {name: float(loss) for name, loss in losses.items() if not loss.isfinite()}
        if bad and found is None:
            found = (bad, batch.keys[:4])
    reports = gather_objects(found)
    rank, report = next((r, report) for r, report in enumerate(reports) if report is not None)
    values = ", ".join(f"{name} = {value}" for name, value in report[0].items())
    where = f"At update {update + 1} ({batches[0].kind})"  # counted as in log.csv
    return TrainingError(
        f"{where}: {values} on rank {rank}; first samples of that "
        f"batch: {', '.join(report[1])}. Training stopped before it changed the weights, and the "
        "last checkpoint is kept. Lower pretrain.optim.learning_rate, set clip_grad_norm, use "
        "precision fp32, or look at these samples."
    )
