"""Autocast, and the dynamic loss scale that fp16 needs (Section 3.4: FP16 but for layer norms)."""

from __future__ import annotations

from typing import Any

import torch

from flava.config import LoopConfig
from flava.errors import TrainingError

DTYPES = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


def autocast(device: torch.device, precision: str, sharded: bool = False) -> torch.autocast:
    """Forward in a half precision; parameters, gradients and optimiser stay fp32.

    Norms, contrastive logits and cross-entropies leave it themselves. Sharded weights are cast at
    each use: a cache would keep them after their shards are freed.
    """
    dtype = DTYPES[precision]
    return torch.autocast(
        device.type,
        dtype or torch.bfloat16,
        enabled=dtype is not None,
        cache_enabled=not sharded,
    )


class LossScale:
    """Factor on the loss that keeps small fp16 gradients from vanishing; 1 for other precisions.

    As `torch.amp.GradScaler`: an update whose gradient overflows is skipped and halves the factor;
    `growth_updates` good ones in a row double it. Unlike there the decision is one for all ranks,
    whether gradients are sharded or not, and the counts are kept.
    """

    def __init__(self, options: LoopConfig) -> None:
        self.active = options.precision == "fp16"
        self.options = options.loss_scale
        self.value = self.options.initial if self.active else 1.0
        self.good = self.skipped = self.in_a_row = 0

    def update(self, overflow: bool, update: int) -> None:
        """Takes note of one update (counted from 0).

        Raises:
            TrainingError: too many updates in a row were skipped.
        """
        if not self.active:
            return
        if not overflow:
            self.good, self.in_a_row = self.good + 1, 0
            if self.good == self.options.growth_updates:
                self.value, self.good = 2 * self.value, 0
            return
        self.value, self.good = self.value / 2, 0
        self.skipped, self.in_a_row = self.skipped + 1, self.in_a_row + 1
        if self.in_a_row >= self.options.max_skipped:
            raise TrainingError(
                f"The fp16 gradient overflowed in {self.in_a_row} updates in a row, the last of "
                f"them number {update + 1}, down to a loss scale of {self.value:g}; none of them "
                "changed the weights. Training has diverged or fp16 does not hold this model: "
                "try a lower optim.learning_rate, optim.clip_grad_norm, or precision bf16."
            )

    def columns(self) -> dict[str, float | None]:
        """What log.csv says of it."""
        return {"loss_scale": self.value} if self.active else {}

    def facts(self) -> dict[str, Any]:
        """For the record."""
        return {"loss_scale": self.value, "skipped_updates": self.skipped} if self.active else {}

    def state(self) -> dict[str, Any]:
        """Plain data for a checkpoint."""
        names = ("value", "good", "skipped", "in_a_row")
        return {name: getattr(self, name) for name in names}

    def load_state(self, state: dict[str, Any]) -> None:
        """Takes over what `state` returned."""
        for name, value in state.items():
            setattr(self, name, value)
