"""AdamW, its learning rate (linear warm-up, then decay; Table A.1) and its weight decay."""

from __future__ import annotations

import math
from typing import Any

from torch import nn
from torch.distributed.tensor import DTensor
from torch.nn import Parameter
from torch.optim import AdamW

from flava.config import OptimConfig
from flava.errors import ConfigError


def make_optimizer(model: nn.Module, config: OptimConfig) -> AdamW:
    """Fused AdamW over all parameters of `model`, whole or sharded.

    One group with `decay_all` (the released code: torchmultimodal decays everything); otherwise
    biases, norms, embeddings and other single vectors are in a group without weight decay.
    """
    if config.decay_all:
        parameters = [p for p in model.parameters() if p.requires_grad]
        groups: list[dict[str, Any]] = [
            {"params": parameters, "weight_decay": config.weight_decay, "decays": True}
        ]
    else:
        decayed, others = split_by_decay(model)
        groups = [
            {"params": decayed, "weight_decay": config.weight_decay, "decays": True},
            {"params": others, "weight_decay": 0.0, "decays": False},
        ]
    return AdamW(
        [part for group in groups for part in _by_form(group)],
        lr=config.learning_rate,
        betas=(config.beta1, config.beta2),
        eps=config.eps,
        fused=True,
    )


def _by_form(group: dict[str, Any]) -> list[dict[str, Any]]:
    """Sharded and whole parameters apart: no fused update takes both."""
    parts = [
        [p for p in group["params"] if isinstance(p, DTensor) == sharded]
        for sharded in (True, False)
    ]
    return [{**group, "params": part} for part in parts if part]


def split_by_decay(model: nn.Module) -> tuple[list[Parameter], list[Parameter]]:
    """(matrices of linear and convolution layers, all other parameters)."""
    decayed: list[Parameter] = []
    others: list[Parameter] = []
    embeddings = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding)}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        # position tables and CLS or mask tokens are bare parameters, told by their names
        single = parameter.ndim < 2 or name.rpartition(".")[2].endswith(_SINGLE)
        (others if single or id(parameter) in embeddings else decayed).append(parameter)
    return decayed, others


_SINGLE = ("embedding", "embeddings", "token", "position", "positions")


def learning_rate(update: int, total: int, config: OptimConfig) -> float:
    """Learning rate of update number `update` (from 0) of `total`.

    As Hugging Face's `get_cosine_schedule_with_warmup`, which torchmultimodal's FLAVA uses:
    update / warmup during warm-up (so the first update has rate 0), then half a cosine from the
    peak down to `final_learning_rate_fraction` of it; `polynomial` is a straight line instead
    (fairseq's polynomial decay of power 1), `constant` stays at the peak. `total` counts the
    updates of all data kinds.
    """
    if update < config.warmup_updates:
        return config.learning_rate * update / config.warmup_updates
    progress = (update - config.warmup_updates) / max(1, total - config.warmup_updates)
    progress = min(1.0, progress)
    left = {
        "cosine": 0.5 * (1 + math.cos(math.pi * progress)),
        "polynomial": 1 - progress,
        "constant": 1.0,
    }[config.schedule]
    floor = config.final_learning_rate_fraction
    return config.learning_rate * (floor + (1 - floor) * left)


def weight_decay(update: int, total: int, config: OptimConfig) -> float:
    """Weight decay of update number `update` (from 0) of `total`: constant, or half a cosine.

    Source of the cosine: DINO, `utils.py:cosine_scheduler`.
    """
    if config.final_weight_decay is None:
        return config.weight_decay
    cosine = 0.5 * (1 + math.cos(math.pi * update / total))
    return config.final_weight_decay + (config.weight_decay - config.final_weight_decay) * cosine


def set_rates(optimizer: AdamW, rate: float, decay: float) -> None:
    """Sets the learning rate of all groups, and the weight decay of those that have one."""
    for group in optimizer.param_groups:
        group["lr"] = rate
        if group["decays"]:
            group["weight_decay"] = decay


def check_warmup(total: int, config: OptimConfig) -> None:
    """Refuses a warm-up that the run never leaves.

    Raises:
        ConfigError: warm-up is at least as long as the run.
    """
    if config.warmup_updates >= total:
        raise ConfigError(
            f"optim.warmup_updates is {config.warmup_updates}, but the whole run has {total} "
            "updates, so the peak learning rate is never reached. Lower warmup_updates or train "
            "for more updates."
        )
