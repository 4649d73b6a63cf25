"""A number of ours on a page, and the study that it comes from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from flava.errors import DataError
from flava.jobs import ReportJob, ReportSettings, load_job
from flava.report.claims import Direction
from flava.report.compare import Comparison, compare
from flava.report.directions import load_directions
from flava.report.printed_tables import load_published
from flava.report.runs import Run, Source, load_runs, load_sources
from flava.report.scores import Score, load_scores


@dataclass(frozen=True)
class Cell:
    """A number (or a word) of ours in a table, and what it is made of.

    Attributes:
        column: a column's name; of differences "<column> - <baseline>".
        shown: as the pages print it.
        formula: how it follows from what it is made of.
        scores: lines of results.parquet, all seeds.
        records: files with the records of the steps that it was read from.
        manifests: of prepared corpora.
        settings: a file with the resolved study, for a setting of it.
        notes: what else a reader should know.
    """

    table: str
    column: str
    row: str
    shown: str
    formula: str
    scores: tuple[Score, ...] = ()
    records: tuple[str, ...] = ()
    manifests: tuple[str, ...] = ()
    settings: str | None = None
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> tuple[str, str, str]:
        """Table, column and row."""
        return self.table, self.column, self.row

    def of_seed(self, seed: int) -> Cell:
        """The same cell with one seed's scores alone.

        Raises:
            DataError: the seed has none.
        """
        kept = tuple(score for score in self.scores if score.seed == seed)
        if not kept:
            seeds = sorted({score.seed for score in self.scores})
            raise DataError(f"{self.table}, {self.column}, {self.row}: seeds {seeds}, not {seed}.")
        return replace(self, scores=kept)


@dataclass(frozen=True)
class Ours:
    """What the pages of a study are made of, each part read when it is asked for.

    Attributes:
        scores: (row, column) -> lines of results.parquet.
        comparison: with Table C.1.
    """

    job: ReportJob
    scores: Mapping[tuple[str, str], tuple[Score, ...]]
    comparison: Comparison

    @classmethod
    def load(cls, study: str, root: Path | str = ".") -> Ours:
        """Reads the report's configuration, results.parquet and the paper's table.

        Raises:
            DataError: one of them is missing or damaged.
        """
        path = Path(root) / "results" / study / "configs" / "report.json"
        return cls.of(load_job(ReportJob, path))

    @classmethod
    def of(cls, job: ReportJob) -> Ours:
        """The same, of a configuration."""
        found: dict[tuple[str, str], tuple[Score, ...]] = {}
        scores = load_scores(job.results, job.study)
        for score in scores:
            key = (score.row, score.column)
            found[key] = (*found.get(key, ()), score)
        return cls(job, found, compare(job, load_published(job.published, "table_c1"), scores))

    @cached_property
    def table_4(self) -> Comparison:
        """The same scores beside Table 4."""
        scores = [score for each in self.scores.values() for score in each]
        return compare(self.job, load_published(self.job.published, "table_4"), scores)

    @cached_property
    def directions(self) -> tuple[Direction, ...]:
        """The paper's claims, pair by pair and domain by domain."""
        return load_directions(self.job, self.comparison)

    @cached_property
    def runs(self) -> tuple[Run, ...]:
        """What the runs left behind."""
        return load_runs(self.job, self.comparison.records)

    @cached_property
    def sources(self) -> tuple[Source, ...]:
        """Sources of all corpora that runs read."""
        return load_sources(self.runs)

    @cached_property
    def settings(self) -> ReportSettings:
        """The resolved study."""
        return load_job(ReportSettings, self.job.settings)

    def lines(self, rows: Sequence[str], columns: Sequence[str]) -> tuple[Score, ...]:
        """All scores of these rows in these columns."""
        places = [(row, column) for column in columns for row in rows]
        return tuple(score for place in places for score in self.scores.get(place, ()))

    def record(self, run: str) -> str:
        """File with the record of a run."""
        return f"{self.job.runs[run]}/record.json"
