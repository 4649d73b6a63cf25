"""FSDP2: parameters, gradients and optimiser state sharded over ranks.

The paper trains with FSDP (Section 3.4). Each transformer block is a unit, the root holds the
rest. The weights of a block are whole only while it works, so all computation goes through the
model's `forward` or through `method`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from typing import Any, get_args

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor, distribute_tensor

from flava.config import Sharding
from flava.models.transformer import Block

SHARDINGS = get_args(Sharding)
METHODS = ("image_embeddings", "text_embeddings")  # called in training besides `forward`


def shard(module: nn.Module, device: torch.device) -> None:
    """Shards a module over all ranks, in place.

    Scalars (the temperature) cannot be sharded; they stay whole on every rank.
    """
    mesh = init_device_mesh(device.type, (dist.get_world_size(),))
    for block in module.modules():
        if isinstance(block, Block):
            fully_shard(block, mesh=mesh)
    scalars = {p for p in module.parameters() if p.ndim == 0}
    fully_shard(module, mesh=mesh, ignored_params=scalars)
    for name in METHODS:
        if hasattr(module, name):
            setattr(module, _alias(name), getattr(module, name))
            register_fsdp_forward_method(module, _alias(name))


def method(module: nn.Module, name: str) -> Callable[..., Tensor]:
    """One of METHODS, to be called from outside of `forward`.

    `forward` itself calls these methods too, inside of which parameters must not be gathered and
    freed a second time; so their own names stay as they are.
    """
    found: Callable[..., Tensor] = getattr(
        module, _alias(name) if isinstance(module, FSDPModule) else name
    )
    return found


def reshard(modules: Iterable[nn.Module]) -> None:
    """Frees the whole weights that a forward pass without backward leaves at the root."""
    for module in modules:
        if isinstance(module, FSDPModule):
            module.reshard()


def local(tensor: Tensor) -> Tensor:
    """This rank's part of a sharded tensor, as a view; another tensor is its own part."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def whole_state(module: nn.Module, keep: bool) -> dict[str, Tensor]:
    """The whole tensors of a module, on the CPU; all ranks call it, those that `keep` get them."""
    state = {}
    for name, tensor in module.state_dict().items():
        whole = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
        if keep:
            state[name] = whole.detach().cpu()
    return state


def like(value: Tensor, target: Tensor) -> Tensor:
    """`value` in the form of `target`: this rank's part of it, where `target` is sharded."""
    if isinstance(target, DTensor) and not isinstance(value, DTensor):
        value = value.to(target.device)
        return distribute_tensor(value, target.device_mesh, target.placements, src_data_rank=None)
    return value


def load_state(module: nn.Module, state: Mapping[str, Tensor]) -> None:
    """`load_state_dict` of whole or sharded tensors into a module that may be sharded."""
    own = module.state_dict()
    module.load_state_dict({name: like(value, own[name]) for name, value in state.items()})


def skeleton(module: nn.Module) -> nn.Module:
    """A copy without weights, to take the whole ones at the end."""
    tensors = [*module.parameters(), *module.buffers()]
    memo: dict[int, Any] = {id(tensor): _meta(tensor) for tensor in tensors}
    return copy.deepcopy(module, memo)


def _meta(tensor: Tensor) -> Tensor:
    empty = tensor.detach().to("meta")
    return nn.Parameter(empty, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else empty


def _alias(name: str) -> str:
    return f"{name}_from_outside"
