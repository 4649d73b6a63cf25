"""Records back to their roots: every link of every step verified once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flava.errors import DataError
from flava.evaluate.score_file import check_scores
from flava.io import read_json, sha256_json
from flava.records import Record, parse_record
from workflow.provenance.links import (
    Commits,
    Files,
    Link,
    command_of,
    config_of,
    json_link,
    manifest_links,
    output_links,
)
from workflow.provenance.tasks import TaskExamples


@dataclass
class Corpus:
    """Prepared data that a step read.

    Attributes:
        sources: the manifest's entries.
        prepared: the step that made it; None where it left no record.
        problems: broken links, each a sentence.
    """

    path: str
    sha256: str
    counts: dict[str, int]
    sources: list[dict[str, Any]] = field(default_factory=list)
    prepared: Node | None = None
    files: int = 0
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


@dataclass
class Node:
    """A step by its record.

    Attributes:
        path: file with the record.
        content: the parsed file around the record, where the record lies inside a result.
        problems: broken links of this step alone, each a sentence.
        notes: what is no broken link, but should be known.
    """

    path: str
    record: Record | None = None
    command: str | None = None
    config: Link | None = None
    outputs: list[Link] = field(default_factory=list)
    corpora: list[Corpus] = field(default_factory=list)
    parents: list[Node] = field(default_factory=list)
    content: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def walk(self) -> Iterator[Node]:
        """This step and all before it, each once, nearest first."""
        seen: set[str] = set()
        pending = [self]
        while pending:
            node = pending.pop(0)
            if node.path in seen:
                continue
            seen.add(node.path)
            yield node
            pending += [*node.parents, *(c.prepared for c in node.corpora if c.prepared)]

    def broken(self) -> list[str]:
        """All broken links from here to the roots."""
        found = []
        for node in self.walk():
            found += node.problems
            found += [problem for corpus in node.corpora for problem in corpus.problems]
        return list(dict.fromkeys(found))


class Chain:
    """Reads records and what they name, each file once.

    Args:
        deep: whether files of prepared corpora are hashed, not only measured, and tasks' examples
            read again.
    """

    def __init__(self, deep: bool = False) -> None:
        self.deep = deep
        self.files, self.tasks, self.commits = Files(), TaskExamples(), Commits()
        self._nodes: dict[str, Node] = {}
        self._corpora: dict[str, Corpus] = {}

    def node(self, path: str) -> Node:
        """The step whose record lies in `path`, with all before it."""
        if path not in self._nodes:
            self._nodes[path] = node = Node(path)
            self._fill(node)
        return self._nodes[path]

    def _fill(self, node: Node) -> None:
        path = Path(node.path)
        try:
            value = read_json(path)
            inside = isinstance(value, dict) and "record" in value
            record = parse_record(value["record"] if inside else value, node.path)
        except DataError as error:
            node.problems.append(str(error))
            return
        node.record = record
        node.content = value if inside else {}
        config = config_of(path, record.step)
        node.config = json_link("configuration", config, record.config_sha256, node.path)
        node.command = command_of(record, config)
        node.outputs = output_links(self.files, path, record)
        node.problems += [link.problem for link in (node.config, *node.outputs) if link.problem]
        node.notes += _notes(record, self.commits)
        node.corpora = [
            self.corpus(name, use.sha256, node.path) for name, use in record.manifests.items()
        ]
        for name, recorded in record.parents.items():
            self._parent(node, name, recorded)
        node.problems += [*_evaluated_model(node), *_changed_scores(node)]

    def _parent(self, node: Node, path: str, recorded: str) -> None:
        parent = self.node(path)
        node.parents.append(parent)
        problem = self.files.link("record", path, recorded, node.path).problem
        if problem and parent.record is not None:
            again = "That step was run again since, so what was read then is not here any more."
            node.problems.append(f"{problem} {again}")

    def corpus(self, path: str, recorded: str, by: str) -> Corpus:
        """A prepared corpus, by its manifest."""
        key = f"{path} {recorded}"
        if key not in self._corpora:
            self._corpora[key] = corpus = Corpus(path, recorded, {})
            self._fill_corpus(corpus, by)
        return self._corpora[key]

    def _fill_corpus(self, corpus: Corpus, by: str) -> None:
        link = self.files.link("manifest", corpus.path, corpus.sha256, by)
        if link.problem:
            corpus.problems.append(link.problem)
            return
        try:
            value = read_json(corpus.path)
            links = manifest_links(self.files, Path(corpus.path), self.deep)
        except DataError as error:
            corpus.problems.append(str(error))
            return
        corpus.files = sum(link.what == "file" for link in links)
        corpus.problems += [link.problem for link in links if link.problem]
        corpus.counts = {k: v for k, v in value.get("counts", {}).items() if isinstance(v, int)}
        corpus.sources = value.get("sources", [])
        record = Path(corpus.path).with_name("record.json")
        if record.is_file():
            corpus.prepared = self.node(str(record))
        elif "sources" in value:
            corpus.notes.append("prepared before corpora had a record: commit unknown")


def record_sha256(node: Node) -> str | None:
    """Hash of a record that lies inside a result, as results.parquet has it."""
    return sha256_json(node.content["record"]) if "record" in node.content else None


def _notes(record: Record, commits: Commits) -> list[str]:
    notes = []
    for commit in (record.git_commit, *record.earlier_commits):
        if commit == "unknown":
            notes.append("commit unknown: not run from a git checkout")
        elif not commits.known(commit):
            short = commit[:12]
            notes.append(f"this checkout has no commit {short}: fetch it, or ask who ran this")
    if record.earlier_commits:
        notes.append("it continued what ran at another commit: one commit does not say all")
    before = {process.packages.get("torch") for process in record.known_before}
    if before - {record.packages.get("torch")}:
        notes.append("it continued what ran under another torch: one version does not say all")
    if record.git_dirty:
        notes.append(
            "the working tree had uncommitted changes, or changed while it ran: the commit alone "
            "does not say all"
        )
    return notes


def _changed_scores(node: Node) -> list[str]:
    assert node.record is not None
    if node.record.step != "evaluate":
        return []
    try:
        check_scores(node.content, node.record, node.path)
    except DataError as error:
        return [str(error)]
    return []


def _evaluated_model(node: Node) -> list[str]:
    """The model that was scored is the one that the run's record is about."""
    assert node.record is not None
    scored = node.record.extra.get("model_sha256")
    if node.record.step != "evaluate" or scored is None:
        return []
    trained = [p.record.extra.get("model_sha256") for p in node.parents if p.record]
    if scored in trained or len(trained) < len(node.parents):  # a damaged parent is named already
        return []
    return [f"{node.path} scored a model (sha256 {str(scored)[:12]}) that no parent of it made."]
