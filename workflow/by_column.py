"""What each column of a study takes before it runs: jobs, wall time, disk; all seeds together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from flava.report.html import duration
from flava.text_table import aligned
from workflow.assumptions import Assumptions
from workflow.disk import Disk, disk_by_column, size_text
from workflow.estimate import Training, chains, job_counts, trainings, wall_time
from workflow.plan import Plan
from workflow.resources import LaunchSettings

HEAD = ["", "jobs", "wall time of one", "from the start", "checkpoints", "models", "features",
        "disk", ""]  # fmt: skip


def column_table(
    plan: Plan, assumed: Assumptions, settings: LaunchSettings | None = None
) -> list[str]:
    """A line for the image tokenizer, each initialisation and each column; the rest; the sum.

    Args:
        plan: of the study.
        assumed: for wall times.
        settings: of the launcher, as `trainings`.
    """
    jobs, disk = trainings(plan, assumed, settings), disk_by_column(plan)
    numbers = {name: column.number for name, column in plan.study.columns.items()}
    groups = sorted(disk, key=lambda name: (numbers.get(name, 0), name))
    counts = _jobs(plan, jobs.values())
    body = []
    for group in groups:
        own = [job for job in jobs.values() if job.group == group]
        title = f"{numbers[group]:2d} {group}" if group in numbers else group
        body.append([title, str(counts[group]), *_wall(own, jobs, assumed), *_sizes(disk[group]),
                     _ran(own)])  # fmt: skip
    whole, total = sum(job_counts(plan).values()), sum(disk.values(), Disk())
    body.append(["data and pages", str(whole - counts.total()), *[""] * 7])
    body.append(["in all", str(whole), "", "", *_sizes(total), ""])
    seeds = len(plan.study.config.seeds)
    title = f"By column{f', {seeds} seeds' if seeds > 1 else ''}, checkpoints at most:"
    return [title, *aligned([HEAD, *body], 1, "  ")]


def _jobs(plan: Plan, trained: Iterable[Training]) -> Counter[str]:
    """Group -> its trainings or imports, and its evaluate jobs."""
    counts = Counter(job.group for job in trained)
    counts.update(job.column for job in plan.imports.values())
    counts.update(job.column for job in plan.evaluate_jobs.values())
    return counts


def _wall(
    own: Sequence[Training], jobs: Mapping[str, Training], assumed: Assumptions
) -> tuple[str, str]:
    """Of one training of a group, and with the longest chain that it waits for."""
    if not own:
        return "none", "none"
    first, ranks = own[0], own[0].ranks
    chain = [jobs[name] for name in chains(jobs, assumed)[first.name]]
    on = f" on {ranks} rank{'s' * (ranks > 1)}"
    return wall_time([first], assumed) + on, wall_time(chain, assumed)


def _sizes(disk: Disk) -> list[str]:
    sizes = (disk.checkpoints, disk.models, disk.features, disk.bytes)
    return [size_text(size) for size in sizes]


def _ran(own: Sequence[Training]) -> str:
    """What those that ran took, by their records."""
    ran = [duration(job.ran) for job in own if job.ran is not None]
    return f"ran in {', '.join(ran)}" if ran else ""
