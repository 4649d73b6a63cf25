"""Exchange of embeddings between processes, with and without gradient."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def world() -> tuple[int, int]:
    """(rank, number of processes); (0, 1) where torch.distributed is not initialised."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


class _Gather(torch.autograd.Function):
    """Concatenation over processes whose backward sums all processes' gradients."""

    @staticmethod
    def forward(ctx: Any, rows_BD: Tensor) -> Tensor:
        ctx.rows = rows_BD.shape[0]
        return gather_values(rows_BD)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        # autograd may hand the same tensor to other nodes: never reduced in place
        gradient_ND = gradients[0].clone(memory_format=torch.contiguous_format)
        dist.all_reduce(gradient_ND)
        start = world()[0] * ctx.rows
        return gradient_ND[start : start + ctx.rows]


def gather_values(rows_BD: Tensor) -> Tensor:
    """All processes' rows in rank order, without gradient. Every process has equally many rows."""
    count = world()[1]
    rows_BD = rows_BD.detach().contiguous()
    if count == 1:
        return rows_BD
    parts = [torch.empty_like(rows_BD) for _ in range(count)]
    dist.all_gather(parts, rows_BD)
    return torch.cat(parts)


def gather_with_gradient(rows_BD: Tensor) -> Tensor:
    """All processes' rows in rank order; the gradient reaches the process that owns the row."""
    if world()[1] == 1:
        return rows_BD
    gathered: Tensor = _Gather.apply(rows_BD)  # type: ignore[no-untyped-call]
    return gathered
