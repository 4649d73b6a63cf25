"""What a study costs before it runs: `python -m workflow.cost paper`; needs no data.

Prints updates, samples, FLOPs and GPU-hours of each column and of what it starts from, the jobs,
the wall time of training and the disk that all of it takes; refuses what a limit on GPU-hours does
not cover. Snakemake prints the same: before its first job, and in a dry run (`snakemake -n --config
study=paper`).
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add

from flava.cost.corpora import caption_words
from flava.cost.runs import NOTHING, JobCost, codebook_cost, encoder_cost
from flava.errors import run_cli
from flava.text_table import aligned
from workflow.assumptions import (
    Assumptions,
    check,
    corpus_images,
    pretraining_cost,
    shown_hours,
)
from workflow.estimate import check_budget, schedule_lines
from workflow.plan import Plan
from workflow.resources import LaunchSettings


@dataclass(frozen=True)
class Line:
    """A line of the table."""

    name: str
    cost: JobCost
    note: str = ""
    total: bool = False


def main() -> None:
    """Command line."""
    default = Assumptions()
    parser = argparse.ArgumentParser(prog="python -m workflow.cost", description=__doc__)
    parser.add_argument("study", help="a study of params/")
    parser.add_argument("--budget", help="one of its budgets, a smaller version of the study")
    parser.add_argument(
        "--budget-gpu-hours",
        help="refuse (exit code 2) if training that has not run yet needs more",
    )
    parser.add_argument("--seeds", help="number of seeds; default: the study's")
    parser.add_argument("--gpu", default=default.gpu, help="name of the GPU, for the caption")
    parser.add_argument("--peak-tflops", type=float, default=default.peak / 1e12)
    parser.add_argument("--fp32-tflops", type=float, default=default.peak_fp32 / 1e12)
    parser.add_argument("--utilisation", type=float, default=default.utilisation, help="0 to 1")
    parser.add_argument("--pieces-per-word", type=float, default=default.pieces_per_word)
    parser.add_argument(
        "--image-bytes",
        type=float,
        default=default.image_bytes,
        help="mean size of the images of pairs that are not prepared yet",
    )
    given = parser.parse_args()
    plan = Plan.load(given.study, given.budget, seeds=given.seeds)
    assumed = Assumptions(
        given.gpu,
        given.peak_tflops * 1e12,
        given.utilisation,
        given.pieces_per_word,
        given.image_bytes,
        given.fp32_tflops * 1e12,
    )
    print(whole_plan(plan, assumed))
    check_budget(plan, given.budget_gpu_hours, assumed)


def is_dry_run(arguments: Sequence[str]) -> bool:
    """Whether a command line of Snakemake asks for a dry run: -n, alone or with others (-np)."""
    return any(re.fullmatch("--dry-?run|-[a-zA-Z]*n[a-zA-Z]*", each) for each in arguments)


def announce(plan: Plan, settings: LaunchSettings | None = None) -> None:
    """Prints the whole plan on stderr: below the jobs of a dry run, and before the first job.

    Studies on a generated toy world are small and say nothing.
    """
    if not plan.study.config.data.toy_world:
        print(whole_plan(plan, Assumptions(), settings), file=sys.stderr, flush=True)


def whole_plan(plan: Plan, assumed: Assumptions, settings: LaunchSettings | None = None) -> str:
    """Cost, jobs, wall time (on the ranks that `settings` give) and disk as plain text.

    Raises:
        ConfigError: an assumption is out of range.
        DataError: a manifest or the paper's Table 2 is damaged.
    """
    # They import torch, which not every call should wait for.
    from workflow.by_column import column_table
    from workflow.disk import disk_lines
    from workflow.evaluation_cost import evaluation_lines

    parts = [[cost_table(plan, assumed, settings)], column_table(plan, assumed, settings)]
    parts += [schedule_lines(plan, assumed, settings), evaluation_lines(plan, assumed)]
    parts += [disk_lines(plan, assumed)]
    return "\n".join(line for part in parts for line in part)


def cost_table(
    plan: Plan, assumed: Assumptions | None = None, settings: LaunchSettings | None = None
) -> str:
    """The plan's cost as plain text.

    Args:
        settings: of the launcher, as `estimate.trainings`.

    Raises:
        ConfigError: an assumption is out of range.
        DataError: a manifest or the paper's Table 2 is damaged.
    """
    assumed = assumed or Assumptions()
    check(assumed)
    seeds = plan.study.config.seeds
    lines = [*codebook_lines(plan), *init_lines(plan, seeds[0])]
    lines += column_lines(plan, assumed, settings)
    body = [_cells(line, assumed) for line in lines]
    totals = [Line("total, one seed", _sum(line.cost for line in lines), total=True)]
    if len(seeds) > 1:
        whole = all_seeds(plan, assumed, settings)
        totals.append(Line(f"total, {len(seeds)} seeds", whole, total=True))
    body += [_cells(line, assumed) for line in totals]
    head = ["", "updates", "samples", "FLOPs", "padded", "GPU-hours"]
    title = f"Cost of study '{plan.name}', training alone:"
    return "\n".join([title, *aligned([head, *body], 2, "  "), *_footer(plan, assumed)])


def codebook_lines(plan: Plan) -> list[Line]:
    """The image tokenizer, where any run reads image tokens."""
    if not plan.uses_codebook:
        return []
    counts = {corpus: corpus_images(plan, corpus) for corpus in plan.tokens}
    unknown = ", ".join(corpus for corpus, count in counts.items() if count is None)
    cost = codebook_cost(plan.codebook_job(), sum(count or 0 for count in counts.values()))
    notes = ["published weights, encoding only"] if plan.study.config.codebook.published else []
    notes += [f"without the tokens of {unknown}: not prepared yet"] if unknown else []
    return [Line("image tokenizer", cost, "; ".join(notes))]


def init_lines(plan: Plan, seed: int) -> list[Line]:
    """Encoder initialisations of one seed."""
    codebook = plan.study.config.codebook
    return [
        Line(f"init {init.kind}", encoder_cost(init.job, codebook))
        for init in plan.inits.values()
        if init.job.seed == seed
    ]


def column_lines(
    plan: Plan, assumed: Assumptions, settings: LaunchSettings | None = None
) -> list[Line]:
    """One line a column, of the study's first seed."""
    seed, lines = plan.study.config.seeds[0], []
    for column in sorted(plan.study.config.columns, key=lambda c: plan.study.columns[c].number):
        run, number = f"{column}-s{seed}", plan.study.columns[column].number
        imported = run in plan.imports
        cost = NOTHING if imported else pretraining_cost(plan, run, assumed, settings)
        stands_in = plan.study.columns[column].released
        note = "published weights, evaluated only" if imported else "a stand-in" * stands_in
        lines.append(Line(f"{number:2d} {column}", cost, note))
    return lines


def all_seeds(plan: Plan, assumed: Assumptions, settings: LaunchSettings | None = None) -> JobCost:
    """Everything that the plan trains."""
    codebook = plan.study.config.codebook
    costs = [line.cost for line in codebook_lines(plan)]
    costs += [encoder_cost(init.job, codebook) for init in plan.inits.values()]
    costs += [pretraining_cost(plan, run, assumed, settings) for run in plan.runs]
    return _sum(costs)


def _sum(costs: Iterable[JobCost]) -> JobCost:
    return reduce(add, costs, NOTHING)


def _cells(line: Line, assumed: Assumptions) -> list[str]:
    cost = line.cost
    if not cost.samples:
        return [line.name, line.note or "none", "0", "0", "0", "0"]
    updates = " + ".join(f"{count:,} {kind}" for kind, count in cost.updates.items()) or "none"
    if line.total:
        updates = f"{sum(cost.updates.values()):,} of all kinds"
    hours = [shown_hours(assumed.hours(flops)) for flops in (cost.flops, cost.flops_padded)]
    shown = hours[0] if hours[0] == hours[1] else " to ".join(hours)
    cells = [line.name, updates, f"{cost.samples:,}"]
    cells += [f"{cost.flops:.2e}", f"{cost.flops_padded:.2e}", shown]
    return cells if not line.note else [*cells[:-1], f"{shown} ({line.note})"]


def _footer(plan: Plan, assumed: Assumptions) -> list[str]:
    words, source = caption_words(f"{plan.data}/pairs", plan.study.params / "paper")
    longest = plan.study.config.pretrain.pair_text_length
    return [
        f"  GPU-hours: at {assumed.utilisation:.0%} of {assumed.peak / 1e12:,.0f} TFLOP/s "
        f"({assumed.gpu}).",
        f"  FLOPs: captions of {words:.1f} words ({source}) x {assumed.pieces_per_word} pieces + 2 "
        f"tokens; padded: captions of {longest} tokens.",
        "  Not counted: evaluation, scores during training, preparation of data, the optimiser.",
    ]


if __name__ == "__main__":
    run_cli(main)
