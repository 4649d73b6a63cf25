"""What tells whether self-distillation learns or has collapsed."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from flava.config import DinoInitConfig
from flava.errors import TrainingError
from flava.train.distributed import sum_over_ranks


class DinoWatch:
    """Measures of one update, over all ranks and micro-batches (docs/inits.md).

    Entropies and divergences are in nats. `*_feature_std` is the spread of the L2-normalised [CLS]
    features, sqrt(1 - |mean|²): 0 where all images have the same one.
    """

    names = (
        "teacher_entropy",
        "mean_entropy",
        "mean_to_uniform",
        "kl_global",
        "kl_local",
        "student_feature_std",
        "teacher_feature_std",
    )

    def __init__(self, config: DinoInitConfig, width: int) -> None:
        self.config = config
        self._sizes = [4, config.out_dim, width, width]
        self._sums = torch.zeros(sum(self._sizes), dtype=torch.float64)

    @torch.no_grad()
    def add(
        self,
        cross_entropy_QV: Tensor,
        target_NK: Tensor,
        student_ND: Tensor,
        teacher_ND: Tensor,
    ) -> None:
        """Adds a micro-batch.

        Args:
            cross_entropy_QV: of each pair of the teacher's and the student's crop.
            target_NK: the teacher's probabilities.
            student_ND, teacher_ND: features of the global crops.
        """
        entropy = -torch.xlogy(target_NK, target_NK).sum(dim=1).mean()
        between_global = (cross_entropy_QV[0, 1] + cross_entropy_QV[1, 0]) / 2
        with_local = cross_entropy_QV[:, 2:].mean() if self.config.local_crops else entropy
        numbers = torch.stack([torch.ones_like(entropy), entropy, between_global, with_local])
        means = [
            functional.normalize(x.float(), dim=1).mean(dim=0) for x in (student_ND, teacher_ND)
        ]
        self._sums += torch.cat([numbers, target_NK.mean(dim=0), *means]).cpu()

    def close(self) -> dict[str, float | None]:
        """The measures by name; starts anew. To be called on every rank."""
        sums = torch.tensor(sum_over_ranks(self._sums), dtype=torch.float64)
        self._sums.zero_()
        numbers, mean_K, student_D, teacher_D = torch.split(sums / sums[0], self._sizes)
        _, entropy, between_global, with_local = numbers.tolist()
        mean_entropy = float(-torch.xlogy(mean_K, mean_K).sum())
        spreads = [math.sqrt(max(0.0, 1 - float(x.square().sum()))) for x in (student_D, teacher_D)]
        divergences = [between_global - entropy, with_local - entropy]
        local = divergences[1] if self.config.local_crops else None
        to_uniform = math.log(self.config.out_dim) - mean_entropy
        values = (entropy, mean_entropy, to_uniform, divergences[0], local, *spreads)
        return dict(zip(self.names, values, strict=True))


def check_collapse(measures: dict[str, float | None], update: int, config: DinoInitConfig) -> None:
    """Stops a run whose teacher says the same of every image.

    Args:
        measures: of `DinoWatch.close`.
        update: updates done.
        config: limits, and the updates of grace.

    Raises:
        TrainingError: says which collapse, and what to change.
    """
    if update <= config.collapse_grace_updates:
        return
    highest = math.log(config.out_dim)
    mean, single = measures["mean_entropy"], measures["teacher_entropy"]
    assert mean is not None and single is not None
    if mean < config.min_entropy_fraction * highest:
        raise TrainingError(
            f"After update {update}, DINO has collapsed to a few prototypes: the teacher's mean "
            f"output has an entropy of {mean:.4f} nats, {mean / highest:.2%} of ln out_dim, less "
            f"than min_entropy_fraction ({config.min_entropy_fraction:.2%}). Centre more strongly "
            "(lower center_momentum, or centering: sinkhorn), raise teacher_temperature_start, or "
            "lower the learning rate."
        )
    if single > config.max_teacher_entropy_fraction * highest:
        raise TrainingError(
            f"After update {update}, DINO has collapsed to the uniform output: the teacher's "
            f"outputs have a mean entropy of {single:.4f} nats, {single / highest:.2%} of ln "
            f"out_dim, more than max_teacher_entropy_fraction "
            f"({config.max_teacher_entropy_fraction:.2%}). Sharpen more strongly (lower "
            "teacher_temperature), lower out_dim, or give the run a longer warm-up; raise "
            "collapse_grace_updates if it only needs more time."
        )
