"""What evaluating a study is said to take of a GPU."""

from __future__ import annotations

from pathlib import Path

import pytest

from flava.cost.evaluation import GLUE_TOKENS, EvaluationCost, evaluation_cost, passes
from workflow.assumptions import Assumptions
from workflow.evaluation_cost import by_column, evaluation_lines
from workflow.plan import Plan


def test_updates_checks_and_test_sets_are_counted(in_copy: Path) -> None:
    plan = Plan.load("released")
    flava = plan.imports["flava_released-s0"].flava
    assert flava is not None

    def cost(job: str) -> EvaluationCost:
        return evaluation_cost(plan.evaluate_jobs["flava_released-s0", job], flava, 17)

    # VQAv2: 44,000 updates of 256 at 480 pixels, a tenth of train at 10 checks, val2014 once.
    pair = passes(flava, 17, 480).pair
    samples = 44_000 * 256 * pair.total + (10 * 44_375.7 + 214_354) * pair.forward
    assert cost("vqav2") == EvaluationCost(bf16=pytest.approx(samples))
    # SNLI-VE publishes a validation set.
    pair = passes(flava, 17).pair
    samples = 24_000 * 256 * pair.total + (10 * 17_858 + 17_901) * pair.forward
    assert cost("snli_ve") == EvaluationCost(bf16=pytest.approx(samples))
    mnli, qqp = 123_873 * 32 * 3, 113_272 * 32 * 3
    text = passes(flava, GLUE_TOKENS).text.forward
    assert cost("glue_large").fp32 == pytest.approx((mnli + qqp) * text, rel=0.1)
    image, one = passes(flava, 17).image.forward, passes(flava, 17).text.forward
    assert cost("retrieval") == EvaluationCost(fp32=pytest.approx(6_000 * image + 30_000 * one))


def test_hours_are_those_of_the_assumptions(in_copy: Path) -> None:
    plan, assumed = Plan.load("released"), Assumptions(peak=1e15, utilisation=0.5, peak_fp32=1e14)
    whole = sum(by_column(plan, assumed).values(), EvaluationCost())
    hours = (whole.bf16 / 5e14 + whole.fp32 / 5e13) / 3600
    line = evaluation_lines(plan, assumed)[0]
    assert line.startswith(f"Evaluation, estimated: {hours:.0f} GPU-hours, of one column at most ")
    assert line.endswith("(flava_released).")


def test_stand_ins_are_left_out_and_counted(in_copy: Path) -> None:
    assert evaluation_lines(Plan.load("toy"), Assumptions()) == [
        "Evaluation: not estimated, 36 stand-in tasks of unknown size."
    ]
