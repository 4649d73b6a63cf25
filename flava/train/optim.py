"""AdamW and its learning rate: linear warm-up, then cosine decay (Table A.1)."""

from __future__ import annotations

import math

from torch import nn
from torch.nn import Parameter
from torch.optim import AdamW

from flava.config import OptimConfig
from flava.errors import ConfigError


def make_optimizer(model: nn.Module, config: OptimConfig) -> AdamW:
    """Fused AdamW over all parameters of `model`.

    One group with `decay_all` (the released code: torchmultimodal decays everything); otherwise
    biases, norms, embeddings and other single vectors are in a group without weight decay.
    """
    if config.decay_all:
        groups = [{"params": list(model.parameters()), "weight_decay": config.weight_decay}]
    else:
        decayed, others = split_by_decay(model)
        groups = [
            {"params": decayed, "weight_decay": config.weight_decay},
            {"params": others, "weight_decay": 0.0},
        ]
    return AdamW(
        groups,
        lr=config.learning_rate,
        betas=(config.beta1, config.beta2),
        eps=config.eps,
        fused=True,
    )


def split_by_decay(model: nn.Module) -> tuple[list[Parameter], list[Parameter]]:
    """(matrices of linear and convolution layers, all other parameters)."""
    decayed: list[Parameter] = []
    others: list[Parameter] = []
    embeddings = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding)}
    for name, parameter in model.named_parameters():
        # position tables and CLS or mask tokens are bare parameters, told by their names
        single = parameter.ndim < 2 or name.rpartition(".")[2].endswith(_SINGLE)
        (others if single or id(parameter) in embeddings else decayed).append(parameter)
    return decayed, others


_SINGLE = ("embedding", "embeddings", "token", "position", "positions")


def learning_rate(update: int, total: int, config: OptimConfig) -> float:
    """Learning rate of update number `update` (from 0) of `total`.

    As Hugging Face's `get_cosine_schedule_with_warmup`, which torchmultimodal's FLAVA uses:
    update / warmup during warm-up (so the first update has rate 0), then half a cosine from the
    peak down to `final_learning_rate_fraction` of it. `total` counts the updates of all data kinds.
    """
    if update < config.warmup_updates:
        return config.learning_rate * update / config.warmup_updates
    progress = (update - config.warmup_updates) / max(1, total - config.warmup_updates)
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
    floor = config.final_learning_rate_fraction
    return config.learning_rate * (floor + (1 - floor) * cosine)


def set_learning_rate(optimizer: AdamW, rate: float) -> None:
    """Sets the rate of all groups."""
    for group in optimizer.param_groups:
        group["lr"] = rate


def check_warmup(total: int, config: OptimConfig) -> None:
    """Refuses a warm-up that the run never leaves.

    Raises:
        ConfigError: warm-up is at least as long as the run.
    """
    if config.warmup_updates >= total:
        raise ConfigError(
            f"pretrain.optim.warmup_updates is {config.warmup_updates}, but the whole run has "
            f"{total} updates, so the peak learning rate is never reached. Lower warmup_updates "
            "or raise pretrain.pair_updates."
        )
