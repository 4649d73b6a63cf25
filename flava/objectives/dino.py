"""Self-distillation with no labels (DINO, arXiv 2104.14294, Algorithm 1)."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional

from flava.objectives.gather import world

SINKHORN_ROUNDS = 3  # DINOv2


def pair_cross_entropies(student_VBK: Tensor, target_QBK: Tensor, temperature: float) -> Tensor:
    """Cross-entropy of each pair (teacher's crop q, student's crop v), mean over the batch: QV.

    In float32, under autocast too.

    Args:
        student_VBK: the student's outputs for all crops; crop q of the teacher is crop q here too.
        target_QBK: the teacher's probabilities, without gradient.
        temperature: the student's.
    """
    log_p_VBK = functional.log_softmax(student_VBK.float() / temperature, dim=-1)
    # sum over K of target * log p, as one matrix product a sample, which autocast would round
    with torch.autocast(log_p_VBK.device.type, enabled=False):
        products_BQV = torch.einsum("qbk,vbk->bqv", target_QBK.detach().float(), log_p_VBK)
        return -products_BQV.mean(dim=0)


def dino_loss(cross_entropy_QV: Tensor) -> Tensor:
    """Mean over all pairs of different crops."""
    return cross_entropy_QV[different_crops(cross_entropy_QV)].mean()


def different_crops(pairs_QV: Tensor) -> Tensor:
    """bool QV, False where teacher and student see the same crop."""
    return ~torch.eye(*pairs_QV.shape, dtype=torch.bool, device=pairs_QV.device)


def teacher_probabilities(output_NK: Tensor, center_K: Tensor, temperature: float) -> Tensor:
    """The teacher's outputs centred and sharpened: probabilities NK."""
    return functional.softmax((output_NK.float() - center_K) / temperature, dim=-1)


@torch.no_grad()
def sinkhorn_probabilities(
    output_NK: Tensor, temperature: float, rounds: int = SINKHORN_ROUNDS
) -> Tensor:
    """The teacher's outputs sharpened, with every prototype used equally often: probabilities NK.

    Sinkhorn-Knopp over the samples of all ranks: prototypes and samples are normalised in turn.

    Args:
        output_NK: this rank's outputs; every rank has equally many.
        temperature: the teacher's.
        rounds: of normalisation.

    Source: DINOv2 (arXiv 2304.07193, Section 4), after SwAV.
    """
    log_NK = output_NK.double() / temperature
    for _ in range(rounds):
        highest_K = log_NK.amax(dim=0)
        _over_ranks(highest_K, dist.ReduceOp.MAX)
        sum_K = (log_NK - highest_K).exp().sum(dim=0)
        _over_ranks(sum_K, dist.ReduceOp.SUM)
        log_NK = functional.log_softmax(log_NK - highest_K - sum_K.log(), dim=1)
    return log_NK.exp().float()


class Center(nn.Module):
    """Running mean of the teacher's outputs over all ranks and micro-batches (DINO, Equation 4).

    Args:
        prototypes: K.
        momentum: share of the old mean in the new one.
    """

    center_K: Tensor
    sum_K: Tensor
    count: Tensor

    def __init__(self, prototypes: int, momentum: float) -> None:
        super().__init__()
        self.momentum = momentum
        self.register_buffer("center_K", torch.zeros(prototypes))
        self.register_buffer("sum_K", torch.zeros(prototypes, dtype=torch.float64), False)
        self.register_buffer("count", torch.zeros((), dtype=torch.float64), False)

    def add(self, output_NK: Tensor) -> None:
        """Adds a micro-batch of the teacher's outputs."""
        self.sum_K += output_NK.detach().double().sum(dim=0)
        self.count += len(output_NK)

    def update(self) -> None:
        """Moves the mean by all outputs since the last call, those of other ranks too."""
        total = torch.cat([self.sum_K, self.count[None]])
        _over_ranks(total, dist.ReduceOp.SUM)
        mean_K = (total[:-1] / total[-1]).float()
        self.center_K.mul_(self.momentum).add_(mean_K, alpha=1 - self.momentum)
        self.clear()

    def clear(self) -> None:
        """Forgets the outputs since the last call of `update`."""
        self.sum_K.zero_()
        self.count.zero_()


def _over_ranks(values: Tensor, operation: dist.ReduceOp.RedOpType) -> None:
    if world()[1] > 1:
        dist.all_reduce(values, operation)
