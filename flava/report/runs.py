"""Reads what a study's runs left behind: configurations, records, training logs, manifests."""

from __future__ import annotations

import csv
import hashlib
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flava.errors import DataError
from flava.evaluate.score_file import check_scores
from flava.io import read_json, sha256_file, sha256_json
from flava.jobs import ImportJob, ReportJob, RunConfig, parse
from flava.records import Record, load_record, parse_record

Curve = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Run:
    """One run of the study: its configuration, its record, its evaluations' records, its losses.

    `config` is the resolved configuration that the record names, as plain data. `losses` maps
    "<kind>.<objective>" to (update, loss) points. A run with published weights has neither corpora
    nor losses.
    """

    name: str
    column: str
    config: Mapping[str, Any]
    corpora: Mapping[str, str]
    record: Record
    evaluations: Mapping[str, Record]
    losses: Mapping[str, Curve]

    @property
    def imported(self) -> bool:
        """Whether its weights are published ones: nothing was trained."""
        return self.record.step == "import"

    @property
    def evaluate_seconds(self) -> float:
        """Wall seconds of all evaluation jobs."""
        return sum(record.wall_seconds for record in self.evaluations.values())


@dataclass(frozen=True)
class Source:
    """One source of a prepared corpus, as the manifest at `manifest` states it."""

    corpus: str
    facts: Mapping[str, Any]
    manifest: str

    @property
    def name(self) -> str:
        """Of the data set."""
        return str(self.facts.get("name", "unnamed"))

    @property
    def counts(self) -> dict[str, int]:
        """Unit -> how many, none of them zero."""
        found: Mapping[str, Any] = self.facts.get("counts", {})
        return {unit: n for unit, n in found.items() if isinstance(n, int) and n}

    @property
    def mean_words(self) -> float | None:
        """Mean words of a text, where the source has texts."""
        words = self.facts.get("mean_words")
        return float(words) if isinstance(words, int | float) else None


def load_runs(job: ReportJob, records: Mapping[str, Sequence[str]]) -> tuple[Run, ...]:
    """Reads all runs of the study, in the order of the columns' numbers and of seeds.

    Args:
        job: the report's configuration.
        records: run -> files with the records of its scores (`Comparison.records`).

    Raises:
        DataError: a run or a score has no record, configuration or log, or a damaged one, or a
            configuration or log is not the one that the run's record names.
    """
    return tuple(
        load_run(name, Path(folder), records.get(name, ()), name in job.imported)
        for name, folder in sorted(job.runs.items(), key=lambda item: _place(job, item[0]))
    )


def load_run(name: str, folder: Path, records: Sequence[str], imported: bool = False) -> Run:
    """Reads one run folder, and `records`, the outputs of its evaluation jobs."""
    evaluations = {Path(path).stem: _evaluation(Path(path)) for path in records}
    record = load_record(folder / "record.json")
    tree = _configuration(folder / "config.json", record)
    where = str(folder / "config.json")
    if imported:
        return Run(name, parse(ImportJob, tree, where).column, tree, {}, record, evaluations, {})
    config = parse(RunConfig, tree, where)
    losses = load_losses(folder / "log.csv", record)
    return Run(name, config.column, tree, config.corpora, record, evaluations, losses)


def load_earlier(job: ReportJob) -> dict[str, Record]:
    """Name -> record of the training that runs start from.

    Raises:
        DataError: a record is missing or damaged.
    """
    return {name: load_record(path) for name, path in job.earlier.items()}


def load_earlier_losses(job: ReportJob) -> dict[str, dict[str, Curve]]:
    """Name -> losses of the training that runs start from; their logs lie beside their records.

    A published image tokenizer, which nothing trained here, has none.

    Raises:
        DataError: a record or a log is missing or damaged.
    """
    return {
        name: load_losses(Path(job.earlier[name]).with_name("log.csv"), record)
        for name, record in load_earlier(job).items()
        if not is_published(record)
    }


def named_records(
    runs: Sequence[Run], earlier: Mapping[str, Record]
) -> Iterator[tuple[str, Record]]:
    """Records of what runs start from, of the runs and of their evaluations, each with a name.

    Args:
        runs: of the study.
        earlier: name -> record of the training that runs start from.
    """
    yield from earlier.items()
    for run in runs:
        yield run.name, run.record
        for job, record in run.evaluations.items():
            yield f"{run.name} on {job}", record


def is_published(record: Record) -> bool:
    """Whether it is of an image tokenizer that was published, not trained here."""
    return record.step == "codebook" and record.extra.get("kind") == "published"


def load_losses(path: Path, record: Record) -> dict[str, Curve]:
    """Points (update, loss) of each "<kind>.<objective>" column of log.csv, gaps left out.

    Args:
        path: the log of a training.
        record: of that training; records before `log_sha256` do not say which log it was.

    Raises:
        DataError: the log is missing, damaged or not the one that the record names.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"{path} is missing. Run the pretraining step again.") from None
    recorded = record.extra.get("log_sha256")
    if recorded is not None and hashlib.sha256(content).hexdigest() != recorded:
        raise DataError(
            f"{path} is not the log that the record beside it names: it was changed after the "
            "training. Run that training again."
        )
    rows = list(csv.DictReader(io.StringIO(content.decode("utf-8", errors="replace"), newline="")))
    header = list(rows[0]) if rows else []
    names = [name for name in header if "." in name and not name.startswith("updates.")]
    return {name: _points(rows, name, path) for name in names}


def load_sources(runs: Sequence[Run]) -> tuple[Source, ...]:
    """Sources of every corpus that a run read, from the corpora's manifests.

    Raises:
        DataError: a manifest is missing, damaged or not the one that the record of a run names.
    """
    found: dict[Path, tuple[str, list[Source]]] = {}
    for run in runs:
        for folder in run.corpora.values():
            path = Path(folder) / "manifest.json"
            if path not in found:
                listed = _sources(path)  # first: it says so where the file is missing
                found[path] = sha256_file(path), listed
            _check_manifest(run, path, found[path][0])
    return tuple(source for _, listed in found.values() for source in listed)


def _sources(path: Path) -> list[Source]:
    manifest = read_json(path)
    listed = manifest.get("sources") if isinstance(manifest, dict) else None
    if not isinstance(listed, list) or not all(isinstance(item, dict) for item in listed):
        raise DataError(f"{path} lists no sources. Prepare that corpus again.")
    # Not the kind: the stand-in for the released CLIP reads other pairs.
    return [Source(path.parent.name, item, str(path)) for item in listed]


def _check_manifest(run: Run, path: Path, sha256: str) -> None:
    use = run.record.manifests.get(str(path))
    if use is None:
        raise DataError(
            f"The record of run {run.name} does not name {path}, which its configuration reads. "
            "Run that training again."
        )
    if use.sha256 != sha256:
        raise DataError(
            f"{path} is not the manifest that the record of run {run.name} names: the corpus was "
            "prepared again or changed after the training. Run that training again."
        )


def _configuration(path: Path, record: Record) -> dict[str, Any]:
    tree = read_json(path)
    if sha256_json(tree) != record.config_sha256:
        raise DataError(
            f"{path} is not the configuration that the record beside it names: it was changed "
            "after the run. Run that step again."
        )
    return dict(tree)


def _place(job: ReportJob, run: str) -> tuple[int, int]:
    column, _, seed = run.rpartition("-s")
    return job.columns[column], int(seed)


def _evaluation(path: Path) -> Record:
    value = read_json(path)
    plain = value if isinstance(value, dict) else {}
    record = parse_record(plain.get("record"), str(path))
    check_scores(plain, record, str(path))
    return record


def _points(rows: list[dict[str, str]], name: str, path: Path) -> Curve:
    points = []
    for number, row in enumerate(rows, start=2):
        if not row[name]:
            continue
        try:
            point = (float(row["update"]), float(row[name]))
        except (ValueError, KeyError, TypeError):
            point = (math.nan, math.nan)
        if not all(math.isfinite(value) for value in point):
            raise DataError(f"{path}, line {number}: '{name}' is not a number: '{row[name]}'.")
        points.append(point)
    return tuple(points)
