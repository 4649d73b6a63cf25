"""The report's index page: `python -m flava.report.site --config <report.json>`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from flava.data.commands import config_argument
from flava.errors import run_cli
from flava.io import atomic_path
from flava.jobs import PlanGraph, ReportJob, load_job
from flava.records import Record
from flava.report import sections
from flava.report.claims import Direction
from flava.report.compare import Comparison, load_comparison
from flava.report.dag import dag
from flava.report.directions import load_directions, support
from flava.report.headline import headline
from flava.report.html import duration, page, paragraph, quantity, text
from flava.report.leaks import leaks_section
from flava.report.origins import preparations
from flava.report.overview import claims_overview, page_links
from flava.report.runs import Run, load_earlier, load_runs, load_sources, named_records
from flava.report.scores import load_scores
from flava.report.spread import spread_note
from flava.report.versions import versions


def main() -> None:
    """Writes index.html into the report's folder."""
    write_index(load_job(ReportJob, config_argument(__doc__)))


def write_index(job: ReportJob) -> None:
    """Writes `<output>/index.html`, self-contained.

    Raises:
        DataError: a result, record, log or manifest is missing or damaged.
    """
    comparison = load_comparison(job)
    runs = load_runs(job, comparison.records)
    earlier = load_earlier(job)
    directions = load_directions(job, comparison)
    plan = load_job(PlanGraph, job.dag)
    folder = Path(job.output)
    body = [
        f"<h1>FLAVA, reproduced: {text(job.title)}</h1>",
        paragraph(
            "FLAVA (Singh et al., CVPR 2022) is one model for images, for texts and for pairs of "
            f"both. {made(job)}, and stand beside the numbers of the paper.",
            "lead",
        ),
        sections.banner(job, comparison),
        facts(comparison, directions, runs, earlier),
        "<h2>Which of the paper's claims it supports</h2>",
        claims_overview(comparison, directions),
        "<h2>Pages</h2>",
        page_links(folder, job.columns),
        "<h2>Averages</h2>",
        headline(comparison) + spread_note(job, comparison, load_scores(job.results, job.study)),
        "<h2>Stand-ins</h2>",
        sections.stand_in_list(comparison),
        "<h2>How it was made</h2>",
        pipeline(plan, comparison, runs),
        "<h2>The plan</h2>",
        dag(plan),
        "<h2>Data</h2>",
        sections.data(load_sources(runs)),
        "<h2>Test examples in the pretraining data</h2>",
        leaks_section(job),
        "<h2>What did not run, and why</h2>",
        sections.not_run(comparison),
        "<h2>Cost</h2>",
        sections.cost(runs, earlier),
    ]
    with atomic_path(folder / "index.html") as temporary:
        title = f"FLAVA, reproduced: {job.title}"
        temporary.write_text(page(title, "\n".join(body)), encoding="utf-8")


def made(job: ReportJob) -> str:
    """What the study ran anew."""
    if job.trains_nothing:
        return "Published weights were evaluated anew"
    return "Its pretraining and evaluation were run anew"


def facts(
    comparison: Comparison,
    directions: Sequence[Direction],
    runs: Sequence[Run],
    earlier: Mapping[str, Record],
) -> str:
    """What a reader asks first, as a list of terms."""
    ran = ", ".join(f"{c.number} {c.title}" for c in comparison.ran())
    rows = [
        ("Claims", text(support(directions))),
        ("Columns", text(ran or "none")),
        ("Cost", text(sections.total_cost(runs, earlier))),
        ("Hardware", text(machines(runs, earlier))),
        ("Code", commits(runs, earlier)),
        ("Software", text(versions(runs, earlier) or "unknown")),
    ]
    items = "".join(f"<dt>{name}</dt><dd>{value}</dd>" for name, value in rows)
    return f'<dl class="facts">{items}</dl>'


def machines(runs: Sequence[Run], earlier: Mapping[str, Record]) -> str:
    """All hardware that the runs, what they start from and their evaluations ran on."""
    found = [sections.hardware(record) for _, record in named_records(runs, earlier)]
    return "; ".join(dict.fromkeys(found)) or "none"


def commits(runs: Sequence[Run], earlier: Mapping[str, Record]) -> str:
    """Commits that the runs, what they start from, their evaluations and the corpora that all of
    these read were made at, dirty ones marked, and those of processes that they continued.

    Raises:
        DataError: the record of a corpus is missing or damaged.
    """
    records = [record for _, record in named_records(runs, earlier)]
    records += preparations(records).values()
    found = dict.fromkeys((record.git_commit, record.git_dirty) for record in records)
    known = {commit for commit, _ in found}
    before = [name for record in records for name in record.earlier_commits if name not in known]
    found |= dict.fromkeys((name, None) for name in before)
    shown = []
    for commit, dirty in found:
        if commit == "unknown":
            shown.append("unknown commit (not run from a git checkout)")
        else:
            state = " with uncommitted changes" if dirty else ""
            shown.append(f"commit <code>{text(commit[:12])}</code>{state}")
    return "; ".join(shown) or "no run"


def pipeline(plan: PlanGraph, comparison: Comparison, runs: Sequence[Run]) -> str:
    """The way of the data, left to right: the steps that the study's plan has, with its counts."""
    tasks = {row.task for row in comparison.rows + comparison.extra_rows if row.task}
    evaluate = sum(run.evaluate_seconds for run in runs)
    jobs = sum(len(run.evaluations) for run in runs)
    corpora = {kind for run in runs for kind in run.corpora}
    rules = Counter[str]()
    for stage in plan.stages:
        rules.update(dict(stage.jobs))
    done = f"{quantity(len(tasks), 'task')}, {quantity(jobs, 'job')}, {duration(evaluate)}"
    steps = [("prepare", ", ".join(sorted(corpora)) or "no corpus")]
    if rules["codebook"]:
        steps.append(("codebook", "image tokens of a discrete VAE"))
    if rules["init"]:
        steps.append(("initialise", f"{quantity(rules['init'], 'encoder')} to start from"))
    for step, imported in (("pretrain", False), ("import", True)):
        if some := [run for run in runs if run.imported is imported]:
            seconds = sum(run.record.wall_seconds for run in some)
            steps.append((step, f"{quantity(len(some), 'run')}, {duration(seconds)}"))
    steps += [("evaluate", done), ("collect", "one table of scores"), ("report", "these pages")]
    items = "".join(f"<li><b>{name}</b><span>{text(what)}</span></li>" for name, what in steps)
    return f'<ol class="flow">{items}</ol>'


if __name__ == "__main__":
    run_cli(main)
