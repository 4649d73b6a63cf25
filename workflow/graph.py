"""The plan as a graph of its stages, for the picture on the report's index page."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from flava.jobs import PlanGraph, PlanStage
from workflow.stages import Step, needed, unique

if TYPE_CHECKING:
    from workflow.plan import Plan


def graph(plan: Plan) -> PlanGraph:
    """Stages of all that the plan's targets need, with the jobs of each rule."""
    steps = needed(plan)
    producer = {path: step.stage for step in steps for path in step.outputs}
    grouped: dict[str, list[Step]] = {}
    for step in steps:
        grouped.setdefault(step.stage, []).append(step)
    found = []
    for name, members in grouped.items():
        jobs = Counter(step.rule for step in members)
        read = unique(producer[p] for step in members for p in step.inputs if p in producer)
        after = [stage for stage in read if stage != name]
        found.append(PlanStage(name=name, jobs=list(jobs.items()), after=after))
    return PlanGraph(stages=found)
