"""What evaluating a study's models takes of a GPU, as a line of its plan."""

from __future__ import annotations

from collections import defaultdict

from flava.cost.corpora import caption_words
from flava.cost.evaluation import EvaluationCost, evaluation_cost
from flava.cost.runs import SPECIAL_TOKENS
from flava.jobs import ImportJob
from workflow.assumptions import Assumptions, shown_hours
from workflow.plan import Plan


def by_column(plan: Plan, assumed: Assumptions) -> dict[str, EvaluationCost]:
    """Column -> cost of its evaluation, all seeds.

    Raises:
        DataError: a manifest or the paper's Table 2 is damaged.
    """
    words, _ = caption_words(f"{plan.data}/pairs", plan.study.params / "paper")
    tokens = words * assumed.pieces_per_word + SPECIAL_TOKENS
    found: dict[str, EvaluationCost] = defaultdict(EvaluationCost)
    for (run, _), job in plan.evaluate_jobs.items():
        model = plan.models[run]
        config = model.architecture if isinstance(model, ImportJob) else model.flava or model.clip
        assert config is not None
        found[job.column] += evaluation_cost(job, config, tokens)
    return dict(found)


def evaluation_lines(plan: Plan, assumed: Assumptions) -> list[str]:
    """GPU-hours of all columns and of the one that takes most.

    Raises:
        DataError: as `by_column`.
    """
    costs = by_column(plan, assumed)
    hours = {column: assumed.evaluation_hours(cost) for column, cost in costs.items()}
    whole = sum(costs.values(), EvaluationCost())
    unknown = f"{len(whole.unknown)} stand-in tasks of unknown size"
    if not any(hours.values()):
        return [f"Evaluation: not estimated, {unknown}."]
    most = max(hours, key=lambda column: hours[column])
    total, largest = shown_hours(sum(hours.values())), shown_hours(hours[most])
    return [
        f"Evaluation, estimated: {total} GPU-hours, of one column at most {largest} ({most}).",
        f"  {whole.bf16:.1e} FLOPs in bf16 as above; {whole.fp32:.1e} in fp32 at "
        f"{assumed.utilisation:.0%} of {assumed.peak_fp32 / 1e12:,.0f} TFLOP/s.",
        "  Not counted: fits of linear probes, reading of images"
        + (f"; {unknown}." if whole.unknown else "."),
    ]
