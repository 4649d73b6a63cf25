"""A traced cell as text and as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from flava.processes import Hardware, Process, Work
from flava.records import Record
from flava.report.html import duration, quantity
from workflow.provenance.cells import Cell
from workflow.provenance.chain import Corpus, Node
from workflow.provenance.links import Link
from workflow.provenance.score import Traced, TracedScore

WIDTH = 14
LISTED = 8  # of a step's output files, the rest is counted


def as_text(study: str, cell: Cell, traced: Traced) -> str:
    """Number, what it is made of, then every step once, nearest first; broken links at the end."""
    lines = [f"{cell.table}, {cell.column}, {cell.row}, study {study}: {cell.shown}"]
    seeds = sorted({score.seed for score in cell.scores})
    what = "seed" if len(seeds) == 1 else "seeds"
    named = f"; {what} {', '.join(map(str, seeds))}" if seeds else ""
    lines.append(f"  {cell.formula}{named}")
    lines += [_line("note", note) for note in cell.notes]
    if cell.settings:
        lines.append(_line("settings", cell.settings))
    whole = len(traced.scores) <= 4
    for each in traced.scores:
        lines += _score(each) if whole else [_short(each)]
    for corpus in traced.corpora:
        lines += _corpus(corpus)
    steps = traced.steps()
    for node in steps:
        lines += ["", *_node(node)]
    broken = traced.broken()
    lines.append("")
    if broken:
        lines.append(f"BROKEN: {quantity(len(broken), 'link')} of this number's chain")
        lines += [f"  {problem}" for problem in broken]
    else:
        lines.append(f"Every link holds: {quantity(len(steps), 'record')} verified.")
    return "\n".join(lines)


def as_plain(study: str, cell: Cell, traced: Traced) -> dict[str, Any]:
    """The same as plain JSON data."""
    named = ("table", "column", "row", "shown", "formula", "settings", "notes")
    return {
        "study": study,
        **{key: getattr(cell, key) for key in named},
        "scores": [
            {
                **asdict(each.score),
                "definition": each.definition,
                "details": each.found.get("details", {}),
                "protocol": each.task,
            }
            for each in traced.scores
        ],
        "corpora": [_plain_corpus(corpus) for corpus in traced.corpora],
        "steps": [_plain(node) for node in traced.steps()],
        "broken": traced.broken(),
    }


def _plain_corpus(corpus: Corpus) -> dict[str, Any]:
    return {key: value for key, value in vars(corpus).items() if key != "prepared"}


def _plain(node: Node) -> dict[str, Any]:
    return {
        "path": node.path,
        "record": node.record.model_dump(mode="json") if node.record else None,
        "command": node.command,
        "config": asdict(node.config) if node.config else None,
        "outputs": [asdict(link) for link in node.outputs],
        "corpora": [_plain_corpus(corpus) for corpus in node.corpora],
        "parents": [parent.path for parent in node.parents],
        "notes": node.notes,
        "problems": node.problems,
    }


def _line(name: str, value: str) -> str:
    return f"  {name:<{WIDTH}}{value}"


def _short(each: TracedScore) -> str:
    score = each.score
    name = f"{score.column}-s{score.seed} {score.row}"
    return f"  {score.value:8.2f}  {name:<36} {score.metric}, {score.record}"


def _score(each: TracedScore) -> Iterator[str]:
    score, task = each.score, each.task
    error = "" if score.std_error is None else f" ± {score.std_error:.2f} (test set)"
    yield f"score of {score.column}, seed {score.seed}, {score.row}: {score.value}{error}"
    yield _line("metric", f"{score.metric}: {each.definition}")
    yield _line("examples", f"{score.n_examples:,} of task '{score.task}'")
    if score.stand_in:
        yield _line("stand-in", score.stand_in)
    data, protocol = task.get("data", {}), task.get("task", {})
    if task:
        yield _line("data", f"{data.get('path')} (adapter {data.get('adapter')})")
        settings = task.get("finetune") or task.get("probe") or {}
        shown = ", ".join(f"{key} {value}" for key, value in settings.items() if value is not None)
        yield _line("protocol", f"{protocol.get('family')}{f': {shown}' if shown else ''}")
    use = each.node.record.tasks.get(score.task) if each.node.record else None
    if use:
        counts = ", ".join(f"{n:,} {name}" for name, n in use.counts.items())
        yield _line("examples are", f"sha256 {use.sha256} ({counts})")
    for key, value in each.found.get("details", {}).items():
        yield _line("", f"{key}: {value}")


def _node(node: Node) -> Iterator[str]:
    record = node.record
    if record is None:
        yield f"NO RECORD: {node.path}"
        return
    yield f"{record.step}: {node.path}"
    dirty = " with uncommitted changes" if record.git_dirty else ""
    yield _line("commit", f"{record.git_commit}{dirty}")
    for commit in record.earlier_commits:
        yield _line("continued from", commit)
    yield _line("command", str(node.command))
    if node.config:
        yield _line("configuration", _shown(node.config))
    seed = "none" if record.seed is None else str(record.seed)
    yield _line("seed", seed)
    for link in node.outputs[:LISTED]:
        yield _line(link.what, _shown(link))
    if len(node.outputs) > LISTED:
        yield _line("", f"and {len(node.outputs) - LISTED} more files")
    for corpus in node.corpora:
        yield from _corpus(corpus)
    for parent in node.parents:
        yield _line("made from", parent.path)
    for part, init in record.extra.get("init", {}).items():
        yield _line(f"{part} init", f"{init.get('kind')} from {init.get('source')}")
    yield _line("ran", _ran(node))
    for work in record.earlier_work:
        yield _line("before it", _ran_before(work))
    for text in node.notes:
        yield _line("note", text)
    for text in node.problems:
        yield _line("BROKEN", text)


def _ran(node: Node) -> str:
    record = node.record
    assert record is not None
    last = [quantity(record.ranks, "rank"), _machine(record.hardware)]
    parts = [record.started, duration(record.wall_seconds), *last]
    if record.gpu_hours:
        parts.append(f"{record.gpu_hours:g} GPU-hours")
    if record.jobs:
        parts.append(f"job {', '.join(record.jobs)}")
    if record.requeues:
        parts.append(quantity(record.requeues, "requeue"))
    parts.append(_versions(record))
    return ", ".join(parts)


def _ran_before(work: Work) -> str:
    process, time = work.process, f"{duration(work.seconds)} of it"
    if process is None:
        return f"{time} on what its checkpoint does not say"
    ranks = quantity(process.ranks, "rank")
    return f"{time}, {ranks}, {_machine(process.hardware)}, {_versions(process)}"


def _machine(machine: Hardware) -> str:
    gpus = machine.gpus
    return f"{len(gpus)} x {gpus[0]}" if gpus else machine.cpu


def _versions(of: Record | Process) -> str:
    return f"Python {of.python}, torch {of.packages.get('torch', '?')}"


def _corpus(corpus: Corpus) -> Iterator[str]:
    counts = ", ".join(f"{n:,} {name}" for name, n in corpus.counts.items())
    parts = [counts, quantity(corpus.files, "file") if corpus.files else ""]
    shown = ", ".join(part for part in parts if part)
    shown = f" ({shown})" if shown else ""
    yield _line("data", f"{corpus.path}  sha256 {corpus.sha256[:12]}{shown}")
    for source in corpus.sources:
        stand_in = source.get("stand_in_for")
        yield _line("", f"{source.get('name')} {source.get('version')}, {source.get('path')}"
                    + (f", stand-in for {stand_in}" if stand_in else ""))  # fmt: skip
    for text in corpus.notes:
        yield _line("note", text)
    for text in corpus.problems:
        yield _line("BROKEN", text)


def _shown(link: Link) -> str:
    return f"{link.path}  sha256 {link.sha256[:12]}{' BROKEN' if link.problem else ''}"
