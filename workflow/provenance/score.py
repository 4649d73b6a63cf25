"""One cell: from its lines in results.parquet, records and manifests to where all came from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flava.evaluate.metrics import METRICS
from flava.io import read_json
from flava.report.origins import lines_of, unlike
from flava.report.scores import Score
from workflow.provenance.cells import Cell
from workflow.provenance.chain import Chain, Corpus, Node, record_sha256

RECALL = "Share of queries with a right answer among the k most similar; ties count against it."


@dataclass(frozen=True)
class TracedScore:
    """A line of results.parquet and where it came from.

    Attributes:
        found: the score as the evaluation wrote it, details included; empty where it is missing.
        task: the task's part of the evaluation's configuration.
        problems: broken links between the line and the file, each a sentence.
    """

    score: Score
    definition: str
    found: dict[str, Any]
    task: dict[str, Any]
    node: Node
    problems: list[str]

    def broken(self) -> list[str]:
        """All broken links of this score, to the roots."""
        return list(dict.fromkeys([*self.problems, *self.node.broken()]))


def definition(metric: str) -> str:
    """What the metric is, in one sentence."""
    if metric == "recall":
        return RECALL
    function = METRICS.get(metric)
    return (function.__doc__ or "").splitlines()[0] if function else "unknown metric"


def trace_score(chain: Chain, score: Score) -> TracedScore:
    """Follows a score to its evaluation's record, and that to its roots."""
    node = chain.node(score.record)
    found: dict[str, Any] = {}
    problems: list[str] = []
    if node.record is not None:
        found = lines_of(node.content).get(score.row, {})
        problems = _compare(score, node, found)
    task = _task(node, score.task)
    if chain.deep and node.record is not None:
        changed = chain.tasks.problem(score.task, task, node.record, node.path)
        problems += [changed] if changed else []
    return TracedScore(score, definition(score.metric), found, task, node, problems)


@dataclass(frozen=True)
class Traced:
    """All that a cell is made of.

    Attributes:
        nodes: steps that it was read from, besides the evaluations of its scores.
        problems: broken links between the cell and these, each a sentence.
    """

    scores: list[TracedScore]
    nodes: list[Node]
    corpora: list[Corpus]
    problems: list[str]

    def steps(self) -> list[Node]:
        """Every step behind the cell once, nearest first."""
        nodes = [*self.nodes, *(each.node for each in self.scores)]
        found = {node.path: node for first in nodes for node in first.walk()}
        order = {"evaluate": 0, "pretrain": 1, "import": 1, "prepare": 9}
        return sorted(
            found.values(), key=lambda node: order.get(node.record.step if node.record else "", 5)
        )

    def broken(self) -> list[str]:
        """Broken links to the roots, each once."""
        found = [*self.problems, *(problem for each in self.scores for problem in each.broken())]
        found += [problem for node in self.nodes for problem in node.broken()]
        found += [problem for corpus in self.corpora for problem in corpus.problems]
        return list(dict.fromkeys(found))


def trace_cell(chain: Chain, cell: Cell) -> Traced:
    """Everything that the cell is made of; one that is made of nothing recorded is refused."""
    scores = [trace_score(chain, score) for score in cell.scores]
    nodes = [chain.node(path) for path in cell.records]
    corpora, problems = list[Corpus](), list[str]()
    for manifest in cell.manifests:
        node = chain.node(str(Path(manifest).with_name("record.json")))
        nodes.append(node)
        recorded = node.record.extra.get("manifest_sha256") if node.record else None
        if recorded is not None:
            corpora.append(chain.corpus(manifest, str(recorded), node.path))
        elif node.record is not None:
            problems.append(f"{node.path} does not say which {manifest} it left.")
    if cell.settings is not None and not Path(cell.settings).is_file():
        problems.append(f"{cell.settings} is missing; pages show settings of it.")
    if not (scores or nodes or cell.settings):
        where = ", ".join(cell.name)
        problems.append(f"{where}: no record says where {cell.shown} came from.")
    return Traced(scores, nodes, corpora, problems)


def _compare(score: Score, node: Node, found: dict[str, Any]) -> list[str]:
    where = f"results.parquet, {score.column}-s{score.seed}, {score.row}"
    problems = []
    if record_sha256(node) != score.record_sha256:
        problems.append(f"{where}: the record in {score.record} is not the one of that score.")
    if not found:
        return [*problems, f"{where}: {score.record} has no score of that row."]
    return problems + unlike(score, found)


def _task(node: Node, name: str) -> dict[str, Any]:
    """Data and settings of a task in the evaluation's configuration, where that is whole."""
    if node.config is None or node.config.problem:
        return {}
    tasks = read_json(node.config.path).get("tasks", {})
    task: dict[str, Any] = tasks.get(name, {})
    return task
