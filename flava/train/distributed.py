"""Ranks: joining them from the environment, and averaging gradients and numbers over them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.tensor import DTensor
from torch.nn import Parameter

from flava.config import Sharding
from flava.errors import TrainingError
from flava.train.sharding import local

# Rank 0 alone writes files and scores; NCCL gives the others ten minutes to wait for it.
PATIENCE = timedelta(hours=1)
BUCKET_ELEMENTS = 1 << 24  # 64 MB of fp32: the extra memory of one gradient all-reduce


@dataclass(frozen=True)
class Ranks:
    """This process among all processes of the run.

    Attributes:
        rank: number of this process.
        world_size: processes.
        device: of this process.
        sharded: FSDP2 deals the weights out to the processes.
    """

    rank: int
    world_size: int
    device: torch.device
    sharded: bool = False

    @property
    def first(self) -> bool:
        """True on the one rank that writes files and prints."""
        return self.rank == 0


@contextmanager
def joined_ranks(sharding: Sharding = "none") -> Iterator[Ranks]:
    """Joins the ranks named by RANK, WORLD_SIZE, LOCAL_RANK and MASTER_*; leaves them at the end.

    Without these variables the process is alone. NCCL for tensors on CUDA, gloo for those on the
    CPU. On one rank there is nothing to shard.

    Raises:
        TrainingError: the variables are not whole numbers in range, or there are too few GPUs.
    """
    rank, world_size = _number("RANK", 0), _number("WORLD_SIZE", 1)
    if not 0 <= rank < world_size:
        raise TrainingError(
            f"RANK is {rank} and WORLD_SIZE is {world_size}; RANK must be in 0 … WORLD_SIZE - 1. "
            "Start the ranks with the launcher or torchrun."
        )
    device = _device(_number("LOCAL_RANK", 0))
    if world_size > 1:
        backends = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
        dist.init_process_group(backends, timeout=PATIENCE)
    try:
        yield Ranks(rank, world_size, device, sharding == "fsdp" and world_size > 1)
    finally:
        if world_size > 1:
            dist.destroy_process_group()


def average_gradients(parameters: Sequence[Parameter], used: Sequence[bool]) -> None:
    """Replaces the gradients of used parameters by their means over ranks, in place.

    Sharded gradients are left alone: FSDP2's backward pass has averaged them.

    A batch of one kind leaves the heads of other kinds without a gradient. Those keep `None`, so
    that AdamW skips them (no decay, no step count) at every world size; a parameter that only some
    ranks used counts as zero on the others. torch's DistributedDataParallel with
    find_unused_parameters=True gives the same, but wants all losses to go through `forward`.

    Args:
        parameters: all trainable parameters, in the same order on every rank.
        used: for each, whether any rank has a gradient.
    """
    if not dist.is_initialized():
        return
    grads = []
    for parameter, is_used in zip(parameters, used, strict=True):
        if is_used and not isinstance(parameter, DTensor):
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            grads.append(parameter.grad)
    for bucket in _buckets(grads):
        flat = torch.cat([grad.reshape(-1) for grad in bucket])
        dist.all_reduce(flat)
        flat /= dist.get_world_size()
        pieces = torch.split(flat, [grad.numel() for grad in bucket])
        torch._foreach_copy_(bucket, [p.view_as(g) for p, g in zip(pieces, bucket, strict=True)])


def norms(grads: Sequence[Tensor]) -> Tensor:
    """L2 norm of each gradient, whole or sharded: the same numbers [P] on every rank."""
    norm_P = torch.stack(torch._foreach_norm([local(grad) for grad in grads]))
    sharded_P = torch.tensor([isinstance(grad, DTensor) for grad in grads], device=norm_P.device)
    if sharded_P.any():
        square_P = norm_P.double().square() * sharded_P
        dist.all_reduce(square_P)
        norm_P = torch.where(sharded_P, square_P.sqrt().to(norm_P.dtype), norm_P)
    return norm_P


def gradient_norm(parameters: Sequence[Parameter]) -> float:
    """L2 norm of all gradients, whole or sharded: the same number on every rank."""
    grads = [parameter.grad for parameter in parameters if parameter.grad is not None]
    return float(norms(grads).norm()) if grads else 0.0


def scale_gradients(parameters: Sequence[Parameter], factor: float) -> None:
    """Multiplies all gradients, in place."""
    grads = [local(parameter.grad) for parameter in parameters if parameter.grad is not None]
    if factor != 1.0 and grads:
        torch._foreach_mul_(grads, factor)


def sum_over_ranks(values: Tensor) -> list[float]:
    """Elementwise sum of a vector over ranks, as numbers."""
    values = values.double()
    if dist.is_initialized():
        dist.all_reduce(values)
    numbers: list[float] = values.tolist()
    return numbers


def gather_objects(value: Any) -> list[Any]:
    """Each rank's small object, in rank order, on every rank."""
    if not dist.is_initialized():
        return [value]
    gathered: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(gathered, value)
    return gathered


def _buckets(grads: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    bucket: list[Tensor] = []
    elements = 0
    for grad in grads:
        if bucket and elements + grad.numel() > BUCKET_ELEMENTS:
            yield bucket
            bucket, elements = [], 0
        bucket.append(grad)
        elements += grad.numel()
    if bucket:
        yield bucket


def _device(local_rank: int) -> torch.device:
    if not torch.cuda.is_available():
        return torch.device("cpu")
    count = torch.cuda.device_count()
    index = 0 if count == 1 else local_rank  # a cluster may show each rank its own GPU only
    if index >= count:
        raise TrainingError(
            f"LOCAL_RANK is {local_rank} but this machine shows {count} GPUs. "
            "Ask for as many GPUs a node as ranks a node."
        )
    device = torch.device("cuda", index)
    torch.cuda.set_device(device)
    return device


def _number(name: str, default: int) -> int:
    text = os.environ.get(name, str(default))
    if not text.isdigit():
        raise TrainingError(f"The environment variable {name} is '{text}', not a whole number.")
    return int(text)
