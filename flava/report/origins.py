"""What tables ask of the records behind their numbers, before they show any."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from flava.errors import DataError
from flava.evaluate.score_file import check_scores
from flava.io import read_json, sha256_json
from flava.jobs import ReportJob
from flava.records import Record, load_record, parse_record
from flava.report.scores import Score

Line = dict[str, Any]  # a score and whose it is, as an evaluation wrote it
IDENTITY = ("study", "column", "seed")
MEASURED = ("task", "domain", "metric", "value", "std_error", "chance", "n_examples", "stand_in")
NAMED = 3  # files named in a refusal, the rest is counted


def check_origins(job: ReportJob, scores: Sequence[Score]) -> None:
    """Refuses scores whose record is missing, damaged or another one, or that their file has not.

    With `job.release`, also results from a dirty working tree, from no commit or from several.

    Raises:
        DataError: names the files.
    """
    records, files = dict[str, Record](), dict[str, dict[str, Line]]()
    for score in scores:
        if score.record not in records:
            records[score.record], files[score.record] = load_evaluation(score)
        if changed := unlike(score, files[score.record].get(score.row, {})):
            raise DataError(f"{changed[0]} Delete {job.results} and collect again.")
    if job.release:
        runs = [f"{folder}/record.json" for folder in job.runs.values()]
        leaks = [job.leaks] if job.leaks else []
        check_release(with_origins(records, [*runs, *job.earlier.values(), *leaks]))


def load_evaluation(score: Score) -> tuple[Record, dict[str, Line]]:
    """The record of the evaluation that the score was collected from, and row -> its score.

    Raises:
        DataError: it is missing, damaged, changed since it was written, or not the one that was
            there when scores were collected.
    """
    value = read_json(score.record)
    plain = value.get("record") if isinstance(value, dict) else None
    record = parse_record(plain, score.record)
    if sha256_json(plain) != score.record_sha256:
        raise DataError(
            f"{score.record} was written again after the scores of column '{score.column}', seed "
            f"{score.seed}, were collected: its record is another one. Collect the scores again."
        )
    check_scores(value, record, score.record)
    return record, lines_of(value)


def lines_of(content: dict[str, Any]) -> dict[str, Line]:
    """Row -> its score and whose it is, of an evaluation's file."""
    identity = {key: content.get(key) for key in IDENTITY}
    lines = content.get("scores", [])
    return {line["row"]: identity | line for line in lines if "row" in line}


def unlike(score: Score, found: Line) -> list[str]:
    """Each thing that a line of results.parquet says otherwise than the evaluation's file."""
    where = f"results.parquet, {score.column}-s{score.seed}, {score.row}"
    both = {key: (getattr(score, key), found.get(key)) for key in (*IDENTITY, *MEASURED)}
    return [
        f"{where}: {key} is {mine!r}, but {theirs!r} in {score.record}."
        for key, (mine, theirs) in both.items()
        if mine != theirs
    ]


def with_origins(records: dict[str, Record], more: Iterable[str] = ()) -> dict[str, Record]:
    """Path -> record, of these, of those in the files `more` and of all that came before them.

    Raises:
        DataError: one of them is missing or damaged.
    """
    found = dict(records)
    pending = [*more, *(path for record in records.values() for path in _before(record))]
    while pending:
        path = pending.pop()
        if path not in found:
            value = read_json(path)
            inside = isinstance(value, dict) and "record" in value
            found[path] = parse_record(value["record"] if inside else value, path)
            pending += _before(found[path])
    return found


def _before(record: Record) -> Iterator[str]:
    """Files with the records of what was read: of steps, and of the preparation of corpora."""
    yield from record.parents
    yield from _preparations(record)


def preparations(records: Iterable[Record]) -> dict[str, Record]:
    """Path -> record of the preparation of each corpus that was read.

    Raises:
        DataError: one of them is missing or damaged.
    """
    paths = dict.fromkeys(path for record in records for path in _preparations(record))
    return {path: load_record(path) for path in paths}


def _preparations(record: Record) -> Iterator[str]:
    for manifest in record.manifests:
        prepared = Path(manifest).with_name("record.json")
        # The toy world alone, which has no sources, leaves no record.
        if prepared.is_file() or "sources" in read_json(manifest):
            yield prepared.as_posix()


def check_release(records: dict[str, Record]) -> None:
    """Refuses what nobody could make again from one commit.

    Raises:
        DataError: names the records from a dirty tree, from no commit, or of each commit.
    """
    dirty = [path for path, record in records.items() if record.git_dirty]
    commits: dict[str, list[str]] = {}
    for path, record in records.items():
        for commit in (record.git_commit, *record.earlier_commits):
            commits.setdefault(commit, []).append(path)
    unknown = commits.get("unknown", [])
    problems = []
    if dirty:
        problems.append(f"uncommitted changes in the working tree of {named(dirty)}")
    if unknown:
        problems.append(f"no commit known of {named(unknown)}")
    if len(commits) > 1:
        each = "; ".join(f"{commit[:12]}: {named(paths)}" for commit, paths in commits.items())
        problems.append(f"results of {len(commits)} commits ({each})")
    if problems:
        raise DataError(
            f"Release mode refuses these results: {'. Also: '.join(problems)}. Run them again from "
            "one commit with nothing uncommitted, or leave out release=true."
        )


def named(paths: Sequence[str]) -> str:
    """The first of these names, sorted, and how many more there are."""
    shown = [Path(path).as_posix() for path in sorted(paths)[:NAMED]]
    rest = len(paths) - len(shown)
    return ", ".join(shown) + (f" and {rest} more" if rest else "")
