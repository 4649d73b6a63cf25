"""One score: from its line in results.parquet to the file that the evaluation wrote."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flava.evaluate.metrics import METRICS
from flava.io import read_json
from flava.report.scores import Score
from workflow.provenance.cells import Cell
from workflow.provenance.chain import Chain, Node, record_sha256

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
        lines = node.content.get("scores", [])
        found = next((line for line in lines if line.get("row") == score.row), {})
        problems = _compare(score, node, found)
    task = _task(node, score.task)
    if chain.deep and node.record is not None:
        changed = chain.tasks.problem(score.task, task, node.record, node.path)
        problems += [changed] if changed else []
    return TracedScore(score, definition(score.metric), found, task, node, problems)


def trace_cell(chain: Chain, cell: Cell) -> list[TracedScore]:
    """Every score that the cell is made of."""
    return [trace_score(chain, score) for score in cell.scores]


def _compare(score: Score, node: Node, found: dict[str, Any]) -> list[str]:
    where = f"results.parquet, {score.column}-s{score.seed}, {score.row}"
    problems = []
    if record_sha256(node) != score.record_sha256:
        problems.append(f"{where}: the record in {score.record} is not the one of that score.")
    if not found:
        return [*problems, f"{where}: {score.record} has no score of that row."]
    identity = {"study": score.study, "column": score.column, "seed": score.seed}
    if any(node.content.get(key) != value for key, value in identity.items()):
        problems.append(f"{where}: {score.record} is of another study, column or seed.")
    for key in ("task", "metric", "value", "n_examples", "stand_in"):
        if found.get(key) != getattr(score, key):
            mine, theirs = getattr(score, key), found.get(key)
            problems.append(f"{where}: {key} is {mine!r}, but {theirs!r} in {score.record}.")
    return problems


def _task(node: Node, name: str) -> dict[str, Any]:
    """Data and settings of a task in the evaluation's configuration, where that is whole."""
    if node.config is None or node.config.problem:
        return {}
    tasks = read_json(node.config.path).get("tasks", {})
    task: dict[str, Any] = tasks.get(name, {})
    return task
