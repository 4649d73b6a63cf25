"""DINO's loss against Algorithm 1 of the paper, its centre and Sinkhorn on any number of ranks."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import softmax

from flava.objectives.dino import (
    Center,
    dino_loss,
    pair_cross_entropies,
    sinkhorn_probabilities,
    teacher_probabilities,
)

sys.path.insert(0, str(Path(__file__).parents[1] / "train"))
from train_helpers import run_ranks

CROPS, ROWS, PROTOTYPES = 5, 6, 7


def outputs(seed: int = 0) -> tuple[Tensor, Tensor]:
    """(student_VBK, teacher_QBK), cosines."""
    random = torch.Generator().manual_seed(seed)
    student = torch.rand(CROPS, ROWS, PROTOTYPES, generator=random, dtype=torch.float64) * 2 - 1
    teacher = torch.rand(2, ROWS, PROTOTYPES, generator=random, dtype=torch.float64) * 2 - 1
    return student, teacher


def algorithm_1(student: Tensor, teacher: Tensor, center: Tensor, tps: float, tpt: float) -> float:
    """The paper's H(t, s) for every pair of different crops, sample by sample."""
    total, terms = 0.0, 0
    for q in range(len(teacher)):
        for v in range(len(student)):
            if q == v:
                continue
            terms += 1
            for row in range(student.shape[1]):
                p = np.exp((teacher[q, row] - center).numpy() / tpt)
                p /= p.sum()
                s = np.exp(student[v, row].numpy() / tps)
                s /= s.sum()
                total -= float((p * np.log(s)).sum()) / student.shape[1]
    return total / terms


def loss(student_VBK: Tensor, teacher_QBK: Tensor, center_K: Tensor) -> Tensor:
    target_QBK = teacher_probabilities(teacher_QBK, center_K, 0.04)
    return dino_loss(pair_cross_entropies(student_VBK, target_QBK, 0.1))


def test_the_loss_is_algorithm_1() -> None:
    student, teacher = outputs()
    center = torch.linspace(-0.3, 0.3, PROTOTYPES)
    expected = algorithm_1(student, teacher, center.double(), tps=0.1, tpt=0.04)
    assert float(loss(student, teacher, center)) == pytest.approx(expected, rel=1e-5)
    two = algorithm_1(student[:2], teacher, center.double(), tps=0.1, tpt=0.04)
    assert float(loss(student[:2], teacher, center)) == pytest.approx(two, rel=1e-5)


def test_a_pair_is_the_cross_entropy_of_its_two_crops() -> None:
    student, teacher = outputs()
    target = softmax(teacher / 0.04, dim=-1)
    pairs = pair_cross_entropies(student, target, 0.1)
    assert pairs.shape == (2, CROPS)
    expected = -(target[1] * (student[3] / 0.1).log_softmax(-1)).sum(-1).mean()
    assert float(pairs[1, 3]) == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
def test_autocast_rounds_neither_the_cross_entropies_nor_their_gradient(half: torch.dtype) -> None:
    student, teacher = (x.float() for x in outputs())
    target = softmax(teacher / 0.04, dim=-1)

    def pairs_and_gradient(autocast: bool) -> tuple[Tensor, Tensor]:
        leaf = student.clone().requires_grad_()
        with torch.autocast("cpu", dtype=half, enabled=autocast):
            pairs = pair_cross_entropies(leaf, target, 0.1)
            loss = dino_loss(pairs)
        loss.backward()
        assert leaf.grad is not None
        return pairs.detach(), leaf.grad

    for got, expected in zip(pairs_and_gradient(True), pairs_and_gradient(False), strict=True):
        assert got.dtype == torch.float32
        assert torch.equal(got, expected)


def test_the_gradient_reaches_the_student_alone() -> None:
    student, teacher = (x.float().requires_grad_() for x in outputs())
    loss(student, teacher, torch.zeros(PROTOTYPES)).backward()
    assert teacher.grad is None and student.grad is not None
    # of a crop v: (its own softmax - the mean of its targets) times its share, / temperature
    target = softmax(teacher / 0.04, dim=-1).detach()
    own = softmax(student[3] / 0.1, dim=-1)
    expected = (2 * own - target[0] - target[1]).detach() / 0.1 / ROWS / (2 * CROPS - 2)
    torch.testing.assert_close(student.grad[3], expected)
    own = softmax(student[0] / 0.1, dim=-1)
    expected = (own - target[1]).detach() / 0.1 / ROWS / (2 * CROPS - 2)
    torch.testing.assert_close(student.grad[0], expected)


def test_equal_confident_outputs_have_no_loss() -> None:
    sure = torch.eye(ROWS, PROTOTYPES) * 10
    same = sure.expand(CROPS, -1, -1)
    assert float(loss(same, sure.expand(2, -1, -1), torch.zeros(PROTOTYPES))) < 1e-5


def test_the_centre_is_a_running_mean_of_all_micro_batches() -> None:
    center = Center(PROTOTYPES, momentum=0.9)
    _, teacher = outputs()
    before = torch.zeros(PROTOTYPES)
    for _ in range(3):
        center.add(teacher[0])
        center.add(teacher[1])
        assert torch.equal(center.center_K, before)  # the loss still sees the old one
        center.update()
        after = 0.9 * before + 0.1 * teacher.flatten(0, 1).mean(0).float()
        before = center.center_K.clone()
        torch.testing.assert_close(before, after)
    assert list(center.state_dict()) == ["center_K"]


def test_sinkhorn_uses_every_prototype_equally() -> None:
    teacher_NK = torch.randn(64, 8, generator=torch.Generator().manual_seed(0))
    teacher_NK[:, 0] += 2  # a favourite
    many = sinkhorn_probabilities(teacher_NK, 0.5, rounds=200)
    torch.testing.assert_close(many.sum(dim=1), torch.ones(64))
    torch.testing.assert_close(many.sum(dim=0), torch.full((8,), 8.0), atol=1e-3, rtol=0)
    # brute force: matrices of rows and columns scaled in turn
    mass = np.exp(teacher_NK.double().numpy() / 0.5)
    for _ in range(3):
        mass /= 8 * mass.sum(axis=0, keepdims=True)
        mass /= mass.sum(axis=1, keepdims=True)
    three = sinkhorn_probabilities(teacher_NK, 0.5)
    np.testing.assert_allclose(three.numpy(), mass, rtol=1e-5)
    sharp = sinkhorn_probabilities(teacher_NK * 10, 0.04)  # exp(1000) would overflow
    assert sharp.isfinite().all()


def test_constant_outputs_are_seen_as_uniform() -> None:
    constant = torch.zeros(8, 4)
    constant[:, 2] = 1
    for probabilities in (
        sinkhorn_probabilities(constant, 0.04),
        teacher_probabilities(constant, constant[0], 0.04),
    ):
        torch.testing.assert_close(probabilities, torch.full((8, 4), 0.25))
    alone = teacher_probabilities(constant, torch.zeros(4), 0.04)
    entropy = -torch.xlogy(alone, alone).sum(1).mean()
    assert float(entropy) < 1e-6 < math.log(4)


PROGRAM = """
import json, sys, torch
from flava.objectives.dino import Center, sinkhorn_probabilities
from flava.train.distributed import joined_ranks
torch.set_num_threads(1)
outputs_NK = torch.randn(2, 12, 5, generator=torch.Generator().manual_seed(0))
with joined_ranks() as ranks:
    share = 12 // ranks.world_size
    own = slice(ranks.rank * share, (ranks.rank + 1) * share)
    center = Center(5, 0.9)
    for part in outputs_NK:
        center.add(part[own])
        center.update()
    sharp = sinkhorn_probabilities(outputs_NK[0, own], 0.1)
    print(json.dumps({"center": center.center_K.tolist(), "sharp": sharp.tolist()}))
"""


def test_the_number_of_ranks_changes_nothing(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    (one,) = (json.loads(text) for text in run_ranks([str(program)], 1, tmp_path))
    ranks = [json.loads(text) for text in run_ranks([str(program)], 3, tmp_path)]
    for rank in ranks:
        np.testing.assert_allclose(rank["center"], one["center"], rtol=1e-6)
    together = [row for rank in ranks for row in rank["sharp"]]
    np.testing.assert_allclose(together, one["sharp"], rtol=1e-5)
