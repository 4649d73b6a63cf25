"""One update up to the optimiser: forward, backward, averaging, and a check for NaN."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import Parameter

from flava.errors import TrainingError
from flava.train.distributed import Ranks, average_gradients, gather_objects, sum_over_ranks
from flava.train.recipe import AnyBatch

Losses = dict[str, Tensor]
LossFunction = Callable[[Any], Mapping[str, Tensor]]


@dataclass(frozen=True)
class Step:
    """Numbers of one update.

    Attributes:
        losses: means over micro-batches and ranks.
        grad_norm: L2 norm of the averaged gradient, before clipping.
        samples: samples over all ranks.
    """

    losses: dict[str, float]
    grad_norm: float
    samples: int


def compute_gradients(
    parameters: Sequence[Parameter],
    loss_function: LossFunction,
    batches: Sequence[AnyBatch],
    ranks: Ranks,
    bf16: bool,
    update: int,
) -> Step:
    """Leaves the update's gradients, averaged over micro-batches and ranks, in `parameters`.

    The losses of a batch are summed with weight 1 each (Section 3.2; torchmultimodal).

    Args:
        parameters: trainable parameters with no gradient yet.
        loss_function: losses of a batch by name, scalars.
        batches: this rank's micro-batches, all of one kind.
        ranks: this process among all.
        bf16: forward under bfloat16 autocast; parameters and gradients stay fp32.
        update: number of the update (from 0), for messages.

    Raises:
        TrainingError: a loss or the gradient norm is NaN or infinite on any rank. All ranks raise
            it, before the optimiser has touched the weights.
    """
    per_batch = [_backward(loss_function, batch, len(batches), ranks, bf16) for batch in batches]
    names = sorted(per_batch[0])
    losses_MN = torch.stack([torch.stack([each[name] for name in names]) for each in per_batch])
    has_grad_P = torch.tensor([p.grad is not None for p in parameters], dtype=torch.float64)
    means_N = losses_MN.double().mean(dim=0)
    sums = sum_over_ranks(torch.cat([means_N, has_grad_P.to(means_N.device)]))
    losses = {name: sums[i] / ranks.world_size for i, name in enumerate(names)}
    if not all(math.isfinite(value) for value in losses.values()):
        raise _not_finite(update, batches, per_batch)
    average_gradients(parameters, [count > 0 for count in sums[len(names) :]])
    norm = nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
    if not math.isfinite(grad_norm := float(norm)):
        raise _not_finite(update, batches, [{"the gradient norm": norm}] * len(batches))
    return Step(losses, grad_norm, ranks.world_size * sum(len(batch.keys) for batch in batches))


def _backward(
    loss_function: LossFunction, batch: AnyBatch, n_batches: int, ranks: Ranks, bf16: bool
) -> Losses:
    with torch.autocast(ranks.device.type, torch.bfloat16, enabled=bf16):
        losses = loss_function(batch.to(ranks.device))
    total = torch.stack([loss.float() for loss in losses.values()]).sum()
    (total / n_batches).backward()  # type: ignore[no-untyped-call]
    return {name: loss.detach().float() for name, loss in losses.items()}


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
