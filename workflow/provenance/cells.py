"""The cells of a study's tables that hold numbers of ours, and the scores that each is made of."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from flava.errors import DataError, unknown_name
from flava.jobs import ReportJob, load_job
from flava.report.compare import Comparison, Estimate, compare
from flava.report.directions import load_directions
from flava.report.html import quantity
from flava.report.marked import PART
from flava.report.printed_tables import load_published
from flava.report.published import DOMAINS, MACRO
from flava.report.scores import Score, load_scores
from flava.report.summary import (
    MACRO_TABLE_C1,
    AverageRow,
    full_average,
    partial_average,
)

AVERAGES = {
    "nlp": "NLP Avg.",
    "vision": "Vision Avg.",
    "multimodal": "Multimodal Avg.",
    MACRO: "Macro Avg.",
    MACRO_TABLE_C1: "Macro Avg. (NLP, vision)",
}


@dataclass(frozen=True)
class Cell:
    """A number of ours in a table.

    Attributes:
        column: a column's name; of directions "<column> - <baseline>".
        value: percent, or percentage points of a difference.
        formula: how the value follows from `scores`.
        scores: lines of results.parquet, all seeds.
    """

    table: str
    column: str
    row: str
    value: float
    formula: str
    scores: tuple[Score, ...]

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
class Tables:
    """A study's scores joined with the paper's, and how tables are made of them."""

    job: ReportJob
    comparison: Comparison
    scores: Mapping[tuple[str, str], tuple[Score, ...]]

    @classmethod
    def load(cls, study: str, root: Path | str = ".") -> Tables:
        """Reads the report's configuration, results.parquet and the paper's table.

        Raises:
            DataError: one of them is missing or damaged.
        """
        path = Path(root) / "results" / study / "configs" / "report.json"
        job = load_job(ReportJob, path)
        scores = load_scores(job.results, job.study)
        found: dict[tuple[str, str], tuple[Score, ...]] = {}
        for score in scores:
            key = (score.row, score.column)
            found[key] = (*found.get(key, ()), score)
        published = load_published(job.published, "table_c1")
        return cls(job, compare(job, published, scores), found)

    def of(self, table: str) -> Tables:
        """The same scores beside another table of the paper: 'table_c1' or 'table_4'."""
        published = load_published(self.job.published, table)
        scores = [score for each in self.scores.values() for score in each]
        return replace(self, comparison=compare(self.job, published, scores))

    def cells(self, table: str) -> list[Cell]:
        """All cells of a table with a number of ours, row by row.

        Raises:
            DataError: no such table.
        """
        return list(TABLES[table_name(table)](self))

    def find(self, table: str, column: str, row: str) -> Cell:
        """One cell; names of columns and rows in any case, columns by number too.

        Raises:
            DataError: unknown names, or a cell without a number of ours, and why.
        """
        cells, shown = self.cells(table), self.comparison
        if table_name(table) == "Table 4":  # it has numbers of its own
            shown = self.of("table_4").comparison
        numbers = {str(info.number): info.name for info in shown.columns}
        wanted = numbers.get(column, column)
        columns = dict.fromkeys([cell.column for cell in cells])
        known = [*columns, *(c.name for c in shown.columns if c.name not in columns)]
        wanted = _match(wanted, known, "column", table)
        rows = dict.fromkeys([cell.row for cell in cells] + [r.name for r in shown.rows])
        wanted_row = _match(row, list(rows), "row", table)
        for cell in cells:
            if (cell.column, cell.row) == (wanted, wanted_row):
                return cell
        raise DataError(f"{table}, {wanted}, {wanted_row}: {self._why_none(wanted, wanted_row)}")

    def _why_none(self, column: str, row: str) -> str:
        cell = self.comparison.cells.get((row, column))
        reason = cell.why_no_ours if cell else None
        return f"no number of ours stands there{f' ({reason})' if reason else ''}."


def table_name(name: str) -> str:
    """'table_c1', 'C.1' and 'Table C.1' are the same.

    Raises:
        DataError: no such table.
    """
    plain = {_plain(known): known for known in TABLES}
    if _plain(name) not in plain:
        raise DataError(unknown_name("table", name, list(TABLES), "workflow.trace"))
    return plain[_plain(name)]


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower()).removeprefix("table")


def _match(name: str, known: Sequence[str], kind: str, where: str) -> str:
    for each in known:
        if each.lower() == name.lower():
            return each
    raise DataError(unknown_name(kind, name, list(known), where))


def results(tables: Tables) -> Iterator[Cell]:
    """Rows by domain, each domain's averages below, macro averages, rows beyond the paper's."""
    comparison, title = tables.comparison, tables.comparison.published.title
    for domain in DOMAINS:
        for row in comparison.rows:
            if row.domain == domain:
                yield from _row(tables, title, row.name)
        yield from _averages(tables, title, domain)
    same = comparison.published.macro_domains == DOMAINS
    for key in (MACRO,) if same else (MACRO, MACRO_TABLE_C1):
        yield from _averages(tables, title, key)
    for row in comparison.extra_rows:
        yield from _row(tables, title, row.name)


def table_4(tables: Tables) -> Iterator[Cell]:
    """Table 4 as C.1, without rows beyond the paper's; averages may be over other rows."""
    shown = tables.of("table_4")
    known = {row.name for row in shown.comparison.extra_rows}
    yield from (cell for cell in results(shown) if cell.row not in known)


def index(tables: Tables) -> Iterator[Cell]:
    """The averages of the report's first page: over the rows that ran, where some did not."""
    for key in (*DOMAINS, MACRO):
        row = partial_average(tables.comparison, key) or full_average(tables.comparison, key)
        yield from _average(tables, "Averages", row)


def directions(tables: Tables) -> Iterator[Cell]:
    """Differences of two columns: one cell a pair and domain."""
    for direction in load_directions(tables.job, tables.comparison):
        if direction.ours is None:
            continue
        pair = (direction.column, direction.baseline)
        scores = [s for name in pair for row in direction.rows for s in tables.scores[row, name]]
        kept = tuple(score for score in scores if score.seed in direction.by_seed)
        formula = (
            f"mean over {quantity(len(direction.by_seed), 'seed')} of the difference of two "
            f"averages over {len(direction.rows)} rows"
        )
        name = AVERAGES[direction.domain]
        yield Cell("Directions", " - ".join(pair), name, direction.ours, formula, kept)


TABLES: dict[str, Callable[[Tables], Iterator[Cell]]] = {
    "Table C.1": results,
    "Table 4": table_4,
    "Averages": index,
    "Directions": directions,
}


def _row(tables: Tables, table: str, row: str) -> Iterator[Cell]:
    for column in tables.comparison.columns:
        ours = tables.comparison.cells[row, column.name].ours
        if ours is not None:
            scores = tables.scores[row, column.name]
            yield Cell(table, column.name, row, ours.mean, _mean(ours), scores)


def _averages(tables: Tables, table: str, key: str) -> Iterator[Cell]:
    yield from _average(tables, table, full_average(tables.comparison, key))
    part = partial_average(tables.comparison, key)
    if part:
        yield from _average(tables, table, part)


def _average(tables: Tables, table: str, average: AverageRow) -> Iterator[Cell]:
    name = AVERAGES[average.key] + (PART if average.partial else "")
    rows = [row for part in average.rows.values() for row in part]
    for column in tables.comparison.columns:
        ours = average.cells[column.name].ours
        if ours is not None:
            scores = tuple(s for row in rows for s in tables.scores[row, column.name])
            domains = "" if len(average.rows) == 1 else f" of {len(average.rows)} domains' means"
            formula = f"mean{domains} over {len(rows)} rows, {_mean(ours)}"
            yield Cell(table, column.name, name, ours.mean, formula, scores)


def _mean(ours: Estimate) -> str:
    return "the score" if ours.n_seeds == 1 else f"mean over {ours.n_seeds} seeds"
