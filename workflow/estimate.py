"""Jobs, wall time and disk of a study before it runs, and the limit on its GPU-hours.

Printed below the table of `workflow.cost`; every figure that is no count is an estimate.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel

from flava.cost.runs import JobCost, codebook_cost, encoder_cost
from flava.errors import ConfigError, DataError
from flava.io import sha256_json
from flava.records import load_record
from workflow.assumptions import (
    Assumptions,
    corpus_images,
    pretraining_cost,
    shown_hours,
    study_settings,
)
from workflow.plan import Plan
from workflow.resources import LaunchSettings, resolve
from workflow.stages import needed

KEY = "budget_gpu_hours"


@dataclass(frozen=True)
class Training:
    """A job that trains.

    Attributes:
        group: "codebook", "init mlm", or the column: all seeds of one thing.
        before: names of the jobs that it waits for.
        ranks: GPUs that it runs on.
        ran: wall seconds by its record, where that is there and of the very configuration.
    """

    name: str
    group: str
    cost: JobCost
    before: tuple[str, ...]
    ranks: int
    ran: float | None


def trainings(
    plan: Plan, assumed: Assumptions, settings: LaunchSettings | None = None
) -> dict[str, Training]:
    """Everything that the plan trains, of all seeds, what comes first first.

    Args:
        plan: of the study.
        assumed: for the costs.
        settings: of the launcher, a cluster's file included; None: the study's resources alone.
    """
    found: dict[str, Training] = {}
    settings = settings or study_settings(plan)
    if plan.uses_codebook:
        job = plan.codebook_job()
        images = sum(corpus_images(plan, corpus) or 0 for corpus in plan.tokens)
        cost, ran = codebook_cost(job, images), seconds_run(f"{job.output}/record.json", job)
        found["codebook"] = Training(
            "codebook", "codebook", cost, (), _ranks(settings, "codebook"), ran
        )
    for name, init in plan.inits.items():
        cost = encoder_cost(init.job, plan.study.config.codebook)
        before = ("codebook",) if init.image_tokens else ()
        ran = seconds_run(f"{init.job.output}/record.json", init.job)
        ranks, group = _ranks(settings, f"init_{init.kind}"), f"init {init.kind}"
        found[f"init {name}"] = Training(f"init {name}", group, cost, before, ranks, ran)
    for name, run in plan.runs.items():
        sources = [s for s in (run.init.image, run.init.text) if s and s.directory]
        inits = [f"init {Path(str(s.directory)).parent.name}" for s in sources]
        waits = (*(["codebook"] if run.image_tokens else []), *inits)
        ran = seconds_run(f"{run.output}/record.json", run)
        cost = pretraining_cost(plan, name, assumed, settings)
        ranks = _ranks(settings, "pretrain", run.column)
        found[name] = Training(name, run.column, cost, waits, ranks, ran)
    return found


def seconds_run(path: str, job: BaseModel) -> float | None:
    """Wall seconds of a step with this very configuration; None where it has not run."""
    if not Path(path).is_file():
        return None
    try:
        record = load_record(path)
    except DataError:
        return None
    same = record.config_sha256 == sha256_json(job.model_dump(mode="json"))
    return record.wall_seconds if same else None


def job_counts(plan: Plan) -> dict[str, int]:
    """Rule -> jobs of the study, those that are done included."""
    return dict(Counter(step.rule for step in needed(plan)))


def check_budget(plan: Plan, limit: object, assumed: Assumptions | None = None) -> None:
    """Refuses a study whose training, as far as it has not run yet, costs more than the limit.

    Args:
        limit: GPU-hours; None: no limit.

    Raises:
        ConfigError: the limit is no number of hours, or the estimate for padded captions, the
            larger one, is above it.
    """
    if limit is None:
        return
    assumed, most = assumed or Assumptions(), budget_hours(limit)
    left = [job for job in trainings(plan, assumed).values() if job.ran is None]
    hours = {job.name: assumed.hours(job.cost.flops_padded) for job in left}
    total = sum(hours.values())
    if total <= most:
        return
    largest = sorted(hours, key=lambda name: -hours[name])[:3]
    named = ", ".join(f"{name} {shown_hours(hours[name])}" for name in largest)
    study = plan.study
    chosen = study.file + (f" --budget {study.budget}" if study.budget else "")
    raise ConfigError(
        f"Study '{plan.name}' still needs about {shown_hours(total)} GPU-hours of training at "
        f"{assumed.utilisation:.0%} of {assumed.gpu}, more than {KEY}={most:g}. The largest: "
        f"{named}. Train fewer columns or seeds, or raise the limit; "
        f"`python -m workflow.cost {chosen}` shows all of it."
    )


def budget_hours(value: object) -> float:
    """A limit on GPU-hours, as a study's caller gives it.

    Raises:
        ConfigError: it is no number of hours.
    """
    try:
        hours = float(str(value)) if not isinstance(value, bool) else -1.0
    except ValueError:
        hours = -1.0
    if not 0 <= hours < float("inf"):
        raise ConfigError(f"{KEY}={value} is not a number of GPU-hours. Give one, e.g. {KEY}=500.")
    return hours


def schedule_lines(
    plan: Plan, assumed: Assumptions, settings: LaunchSettings | None = None
) -> list[str]:
    """Jobs, and the wall time of training: all at once, one after another."""
    counts = job_counts(plan)
    jobs = trainings(plan, assumed, settings)
    left = sum(job.ran is None for job in jobs.values())
    shown = ", ".join(f"{count} {rule}" for rule, count in counts.items())
    lines = [f"Jobs: {sum(counts.values())} ({shown}); {left} of {len(jobs)} trainings to run."]
    if not jobs:
        return lines
    chain = longest(jobs, assumed)
    side = wall_time([jobs[name] for name in chain], assumed)
    lines.append("Wall time of training, estimated from the GPU-hours above:")
    lines.append(f"  all side by side: {side} ({' > '.join(chain)})")
    return [*lines, f"  one after another: {wall_time(jobs.values(), assumed)}"]


def longest(jobs: Mapping[str, Training], assumed: Assumptions) -> list[str]:
    """Names of the chain of jobs that takes longest, captions padded."""
    found = chains(jobs, assumed).values()
    return max(found, key=lambda chain: _length(jobs, chain, assumed), default=[])


def chains(jobs: Mapping[str, Training], assumed: Assumptions) -> dict[str, list[str]]:
    """Job -> what it waits for longest, itself at the end."""
    found: dict[str, list[str]] = {}
    for name, job in jobs.items():
        earlier: Iterable[list[str]] = (found[each] for each in job.before)
        best = max(earlier, key=lambda chain: _length(jobs, chain, assumed), default=[])
        found[name] = [*best, name]
    return found


def wall_time(jobs: Iterable[Training], assumed: Assumptions) -> str:
    """Of jobs one after another, on the ranks of each; captions at their mean and padded."""
    each = list(jobs)
    low, high = (sum(_wall(job, assumed, padded) for job in each) for padded in (False, True))
    return _range(low, high)


def _length(jobs: Mapping[str, Training], chain: Iterable[str], assumed: Assumptions) -> float:
    return sum(_wall(jobs[name], assumed, True) for name in chain)


def _wall(job: Training, assumed: Assumptions, padded: bool) -> float:
    """Hours on the job's ranks; what one of them does by itself is not divided."""
    flops, alone = job.cost.flops_padded if padded else job.cost.flops, job.cost.flops_alone
    return assumed.hours((flops - alone) / job.ranks + alone)


def _range(low: float, high: float) -> str:
    if high >= 1:
        pair, unit = (shown_hours(low), shown_hours(high)), "h"
    else:
        pair, unit = (f"{60 * low:.2g}", f"{60 * high:.2g}"), "min"
    return f"{pair[0]} {unit}" if pair[0] == pair[1] else f"{pair[0]} to {pair[1]} {unit}"


def _ranks(settings: LaunchSettings, rule: str, column: str | None = None) -> int:
    return resolve(rule, column, settings).ranks
