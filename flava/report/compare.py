"""Joins a study's scores with a table of the paper, Table C.1 or 4, cell by cell."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from flava.errors import DataError
from flava.jobs import ReportJob
from flava.report.averages import mean
from flava.report.origins import check_origins
from flava.report.printed_tables import load_published
from flava.report.published import PublishedTable
from flava.report.scores import Score, load_scores


@dataclass(frozen=True)
class Estimate:
    """Mean over seeds in percent; the error is over seeds, or the test set's for one model.

    `one_model` says that all seeds are of the same published weights: they differ by the seed of
    their evaluation alone, and no spread of trainings is known. `why_no_error` says so where a
    standard error could be expected.
    """

    mean: float
    std_error: float | None
    error_source: str
    by_seed: Mapping[int, float]
    one_model: bool = field(default=False, kw_only=True)
    why_no_error: str | None = field(default=None, kw_only=True)

    @property
    def n_seeds(self) -> int:
        """Seeds that ran."""
        return len(self.by_seed)

    @property
    def n_models(self) -> int:
        """Models that were trained apart from one another."""
        return 1 if self.one_model else self.n_seeds

    @property
    def test_error(self) -> float | None:
        """The error of the test set; None where it is another's, or unknown."""
        return self.std_error if self.error_source == "test set" else None


@dataclass(frozen=True)
class Cell:
    """One row of one column: ours, the paper's, or why there is none.

    `misplaced` says so where the paper's printed number is not this column's own.
    """

    ours: Estimate | None
    paper: float | None
    why_no_ours: str | None
    why_no_paper: str | None
    misplaced: str | None = field(default=None, kw_only=True)

    @property
    def delta(self) -> float | None:
        """Ours minus the paper's, percentage points; None where that is not this column's."""
        if self.ours is None or self.paper is None or self.misplaced:
            return None
        return self.ours.mean - self.paper


@dataclass(frozen=True)
class ColumnInfo:
    """A column shown: of the paper, of this study or of both.

    `stand_in` is the model that takes the place of the paper's, where another one does; `imported`
    says that this study's is a published one.
    """

    name: str
    number: int
    title: str
    in_study: bool
    why_not: str | None
    stand_in: str | None = None
    imported: bool = False


@dataclass(frozen=True)
class RowInfo:
    """A row shown. What follows `protocol` is known only where it ran.

    `other_split` says how a real set's scored split differs from the paper's.
    """

    name: str
    domain: str
    protocol: str | None
    task: str | None
    metric: str | None
    chance: float | None
    n_examples: int | None
    stand_in: str | None
    other_split: str | None = None

    @property
    def other_data(self) -> bool:
        """Whether other examples than the paper's are scored: a difference to it is grey."""
        return self.stand_in is not None or self.other_split is not None


@dataclass(frozen=True)
class Comparison:
    """A table of the paper with a study's results.

    Attributes:
        extra_rows: scored rows that the paper's table lacks.
        records: run ("<column>-s<seed>") -> files with the records of its scores.
    """

    published: PublishedTable
    columns: tuple[ColumnInfo, ...]
    rows: tuple[RowInfo, ...]
    extra_rows: tuple[RowInfo, ...]
    cells: Mapping[tuple[str, str], Cell]
    seeds: tuple[int, ...]
    records: Mapping[str, tuple[str, ...]]

    def scores(self, column: str) -> dict[str, float | None]:
        """Row -> our mean over seeds."""
        cells = {row.name: self.cells[row.name, column].ours for row in self.rows}
        return {row: estimate.mean if estimate else None for row, estimate in cells.items()}

    def other_than_paper(self, column: str, rows: Collection[str]) -> bool:
        """Whether the column's model, or what one of the rows is scored on, is not the paper's:
        differences to the paper are grey."""
        models = (info.stand_in for info in self.columns if info.name == column)
        return any(models) or any(row.other_data for row in self.rows if row.name in rows)

    def ran(self) -> tuple[ColumnInfo, ...]:
        """Columns with at least one score."""
        with_score = {column for (_, column), cell in self.cells.items() if cell.ours}
        return tuple(column for column in self.columns if column.name in with_score)

    def rows_ran(self) -> tuple[RowInfo, ...]:
        """Rows with a score in one of these columns."""
        names = [column.name for column in self.columns]
        return tuple(r for r in self.rows if any(self.cells[r.name, c].ours for c in names))


def load_comparison(job: ReportJob, table: str = "table_c1") -> Comparison:
    """Reads the study's scores and the paper's table ('table_c1', 'table_4') and joins them.

    Raises:
        ConfigError: there is no such table.
        DataError: a file is missing or damaged, or a score's record is refused (`check_origins`).
    """
    scores = load_scores(job.results, job.study)
    check_origins(job, scores)
    return compare(job, load_published(job.published, table), scores)


def compare(job: ReportJob, published: PublishedTable, scores: Sequence[Score]) -> Comparison:
    """Joins; every cell without a value carries the reason.

    Raises:
        DataError: a score belongs to a column or seed that the study does not declare.
    """
    _check_declared(job, scores)
    columns = _columns(job, published)
    by_row: dict[str, list[Score]] = {}
    for score in scores:
        by_row.setdefault(score.row, []).append(score)
    paper_rows = {row.name: row for row in published.rows}
    rows = tuple(
        _row_info(job, row.name, row.domain, row.protocol, by_row.get(row.name, []))
        for row in published.rows
    )
    extra = tuple(
        _row_info(job, name, lines[0].domain, None, lines)
        for name, lines in by_row.items()
        if name not in paper_rows
    )
    cells = {}
    for row in rows + extra:
        for column in columns:
            ours = [score for score in by_row.get(row.name, []) if score.column == column.name]
            printed = paper_rows[row.name].values if row.name in paper_rows else None
            ran = row.name in by_row
            cell = _cell(ours, column, ran, printed, published.title)
            if (row.name, column.name) in published.misplaced:
                right = published.misplaced[row.name, column.name]
                cell = replace(cell, misplaced=_misplaced(published.why_misplaced, right))
            cells[row.name, column.name] = cell
    ranked = replace(published, public=published.public | _trained_here(job, published))
    return Comparison(ranked, columns, rows, extra, cells, tuple(job.seeds), _records(scores))


def only(
    comparison: Comparison, columns: Sequence[str], rows: Sequence[str] | None = None
) -> Comparison:
    """The part of a comparison that a smaller table shows.

    Args:
        comparison: of a whole table.
        columns: names, in the order of the smaller table; unknown ones are left out.
        rows: names; None: all.
    """
    shown = tuple(c for name in columns for c in comparison.columns if c.name == name)
    kept = tuple(row for row in comparison.rows if rows is None or row.name in rows)
    return replace(comparison, columns=shown, rows=kept, extra_rows=())


def estimate(scores: Sequence[Score], one_model: bool = False) -> Estimate | None:
    """Mean over seeds with its standard error; None without a score.

    Args:
        scores: of one row and column.
        one_model: all seeds are of the same published weights. Then the error is the test set's,
            which is one for all of them: the mean of theirs bounds it from above.
    """
    if not scores:
        return None
    by_seed = {score.seed: score.value for score in scores}
    value = sum(by_seed.values()) / len(by_seed)
    error = None if one_model else std_error_of_mean(list(by_seed.values()))
    if error is not None:
        return Estimate(value, error, "seeds", by_seed)
    error = mean(score.std_error for score in scores)
    source = "none" if error is None else "test set"
    return Estimate(value, error, source, by_seed, one_model=one_model)


def paired_error(values: Sequence[float], first: Estimate, second: Estimate) -> float | None:
    """Standard error of the mean of differences seed by seed.

    Args:
        values: one for each seed of both.
        first, second: what is compared. Where one of them is a single published model, the error
            is the other's spread.

    Returns:
        None for fewer than two values, or for two published models: no trainings differ.
    """
    return None if first.n_models == second.n_models == 1 else std_error_of_mean(values)


def std_error_of_mean(values: Sequence[float]) -> float | None:
    """Standard error of the mean (n - 1 in the variance); None for fewer than two values."""
    n = len(values)
    if n < 2:
        return None
    mean = sum(values) / n
    return math.sqrt(sum((value - mean) ** 2 for value in values) / (n - 1) / n)


def _records(scores: Sequence[Score]) -> dict[str, tuple[str, ...]]:
    files: dict[str, dict[str, None]] = {}
    for score in scores:
        files.setdefault(f"{score.column}-s{score.seed}", {})[score.record] = None
    return {run: tuple(paths) for run, paths in files.items()}


def _check_declared(job: ReportJob, scores: Sequence[Score]) -> None:
    for score in scores:
        if score.column not in job.columns:
            raise DataError(
                f"{job.results}: column '{score.column}' is not one of study '{job.study}' "
                f"({', '.join(job.columns)}). Collect the study's scores again."
            )
        if score.seed not in job.seeds:
            raise DataError(
                f"{job.results}: seed {score.seed} of column '{score.column}' is not one of "
                f"study '{job.study}'. Collect the study's scores again."
            )


def _columns(job: ReportJob, published: PublishedTable) -> tuple[ColumnInfo, ...]:
    numbers = {column.name: column.number for column in published.columns}
    headings = {column.name: column.title for column in published.columns if column.title}
    if not headings:  # Table C.1: every column of the study has its place there
        numbers |= dict(job.columns)
    infos = []
    for name, number in sorted(numbers.items(), key=lambda item: (item[1], item[0])):
        inside = name in job.columns
        reason = job.not_run.get(name, "not one of this study's columns")
        title = headings.get(name) or job.titles.get(name, name)
        why_not = None if inside else reason
        stand_in = job.stand_ins.get(name)
        imported = name in _imported(job)
        infos.append(ColumnInfo(name, number, title, inside, why_not, stand_in, imported))
    return tuple(infos)


def _row_info(
    job: ReportJob, name: str, domain: str, protocol: str | None, scores: Sequence[Score]
) -> RowInfo:
    if not scores:
        return RowInfo(name, domain, protocol, None, None, None, None, None)
    one = scores[0]
    measured = (one.task, one.metric, one.chance, one.n_examples, one.stand_in)
    split = None if one.stand_in else job.other_splits.get(name)
    return RowInfo(name, domain, protocol, *measured, split)


def _cell(
    scores: Sequence[Score],
    column: ColumnInfo,
    row_ran: bool,
    printed: Mapping[str, float | None] | None,
    table: str,
) -> Cell:
    ours = estimate(scores, column.imported)
    paper = printed.get(column.name) if printed else None
    return Cell(
        ours,
        paper,
        None if ours else _why_no_ours(column, row_ran),
        None if paper is not None else _why_no_paper(column, printed, table),
    )


def _trained_here(job: ReportJob, published: PublishedTable) -> frozenset[str]:
    """Columns that the paper lacks and this study trains: on data that count as public."""
    return frozenset(job.columns) - {column.name for column in published.columns} - _imported(job)


def _imported(job: ReportJob) -> frozenset[str]:
    """Columns that have published weights."""
    return frozenset(run.rpartition("-s")[0] for run in job.imported)


def _misplaced(why: str, right: float | None) -> str:
    own = "is lost" if right is None else f"is {right:.2f}"
    return f"printed here, but {why}; this column's own {own}"


def _why_no_ours(column: ColumnInfo, row_ran: bool) -> str:
    if column.why_not:
        return f"column not run in this study: {column.why_not}"
    if not row_ran:
        return "row not in this study"
    return "no score for this column in the study's results"


def _why_no_paper(
    column: ColumnInfo, printed: Mapping[str, float | None] | None, table: str
) -> str:
    if printed is None:
        return f"the paper's {table} has no such row"
    if column.name not in printed:
        return "the paper has no such column"
    return "a dash in the paper"
