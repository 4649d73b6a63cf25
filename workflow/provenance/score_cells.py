"""Cells that are made of scores: Tables C.1, 3, 4, 5 and D.1, Figure 4, averages, directions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from flava.report.average_tables import KEYS, difference, load_lines, of_lines
from flava.report.claims import Direction, claimed
from flava.report.compare import Comparison, Estimate
from flava.report.figure import TITLE as FIGURE_4
from flava.report.figure import figure_columns, ratios
from flava.report.headline import headline_rows
from flava.report.html import number, quantity, signed
from flava.report.marked import average_name, difference_name
from flava.report.methods import TITLE as TABLE_5
from flava.report.methods import own_cells
from flava.report.overview import claim_counts
from flava.report.published import DOMAINS, MACRO
from flava.report.sections import row_facts
from flava.report.summary import MACRO_TABLE_C1, AverageRow, full_average, partial_average
from flava.report.tables import stand_in_rows
from workflow.provenance.cells import Cell, Ours


def table_c1(ours: Ours) -> Iterator[Cell]:
    """Every column and row, with averages, and rows beyond the paper's."""
    yield from _results(ours, ours.comparison)
    for row in ours.comparison.extra_rows:
        yield from _row(ours, ours.comparison, row.name)


def table_4(ours: Ours) -> Iterator[Cell]:
    """As C.1; averages may be over other rows."""
    yield from _results(ours, ours.table_4)


def table_3(ours: Ours) -> Iterator[Cell]:
    """Averages of Table 4's rows."""
    yield from _averages_of_lines(ours, ours.table_4, "table_3")


def table_d1(ours: Ours) -> Iterator[Cell]:
    """Averages of Table C.1's rows for two columns, and their difference."""
    yield from _averages_of_lines(ours, ours.comparison, "table_d1")


def table_5(ours: Ours) -> Iterator[Cell]:
    """The columns of ours that have a line there."""
    for column, row in own_cells(ours.comparison, ours.job.published):
        found = ours.comparison.cells[row, column].ours
        assert found is not None
        yield _of_scores(ours, TABLE_5, column, row, found)


def figure_4(ours: Ours) -> Iterator[Cell]:
    """Two columns' scores on each row, as a difference in percent."""
    columns = figure_columns(ours.job.published)
    for item in ratios(ours.table_4, columns):
        if item.ours is None:
            continue
        kept = [s for s in ours.lines([item.row], columns) if s.seed in item.ours.by_seed]
        first, second = columns
        formula = f"100 ({first} - {second}) / {second}, {_mean(item.ours)}"
        shown, pair = signed(item.ours.mean, 1), difference_name(*columns)
        yield Cell(FIGURE_4, pair, item.row, shown, formula, tuple(kept))


def averages(ours: Ours) -> Iterator[Cell]:
    """Those of the report's first page."""
    yield from _headline(ours, ours.comparison, "Averages")


def directions(ours: Ours) -> Iterator[Cell]:
    """Differences of two columns: one cell a pair and domain."""
    for direction in ours.directions:
        if direction.ours is not None:
            yield _difference(ours, "Directions", direction)


def claims(ours: Ours) -> Iterator[Cell]:
    """How many claimed differences of a claim hold, are reversed, are open."""
    for key, group in groupby(claimed(ours.directions), key=lambda direction: direction.key):
        items = list(group)
        pairs = [(item.rows, (item.column, item.baseline)) for item in items]
        scores = (score for rows, pair in pairs for score in ours.lines(rows, pair))
        kept = tuple(dict.fromkeys(scores))
        formula = f"counted over the {quantity(len(items), 'claimed difference')} of Directions"
        for word, count in claim_counts(items).items() if kept else ():
            yield Cell("Claims", key, word, count, formula, kept)


def stand_ins(ours: Ours) -> Iterator[Cell]:
    """Facts of the rows whose test set is a stand-in, as the evaluations wrote them."""
    rows = ours.comparison.rows + ours.comparison.extra_rows
    columns = [column.name for column in ours.comparison.columns]
    for row in stand_in_rows(rows):
        scores = ours.lines([row.name], columns)
        for fact, shown in row_facts(row).items():
            if shown:
                yield Cell("Stand-ins", fact, row.name, shown, "of the test set", scores)


def _results(ours: Ours, comparison: Comparison) -> Iterator[Cell]:
    """Rows by domain, each domain's averages below, macro averages."""
    title = comparison.published.title
    for domain in DOMAINS:
        for row in comparison.rows:
            if row.domain == domain:
                yield from _row(ours, comparison, row.name)
        yield from _averages(ours, comparison, title, domain)
    same = comparison.published.macro_domains == DOMAINS
    for key in (MACRO,) if same else (MACRO, MACRO_TABLE_C1):
        yield from _averages(ours, comparison, title, key)


def _row(ours: Ours, comparison: Comparison, row: str) -> Iterator[Cell]:
    for column in comparison.columns:
        found = comparison.cells[row, column.name].ours
        if found is not None:
            yield _of_scores(ours, comparison.published.title, column.name, row, found)


def _of_scores(ours: Ours, table: str, column: str, row: str, found: Estimate) -> Cell:
    scores = ours.scores[row, column]
    return Cell(table, column, row, number(found.mean), _mean(found), scores)


def _averages(ours: Ours, comparison: Comparison, table: str, key: str) -> Iterator[Cell]:
    yield from _average(ours, comparison, table, full_average(comparison, key))
    part = partial_average(comparison, key)
    if part:
        yield from _average(ours, comparison, table, part)


def _average(ours: Ours, comparison: Comparison, table: str, average: AverageRow) -> Iterator[Cell]:
    name = average_name(average.key, average.partial)
    rows = [row for part in average.rows.values() for row in part]
    for column in comparison.columns:
        found = average.cells[column.name].ours
        if found is not None:
            domains = "" if len(average.rows) == 1 else f" of {len(average.rows)} domains' means"
            formula = f"mean{domains} over {len(rows)} rows, {_mean(found)}"
            scores = ours.lines(rows, [column.name])
            yield Cell(table, column.name, name, number(found.mean), formula, scores)


def _headline(ours: Ours, comparison: Comparison, table: str) -> Iterator[Cell]:
    shown = comparison.ran()
    for row in headline_rows(comparison):
        for cell in _average(ours, comparison, table, row):
            if cell.column in {column.name for column in shown}:
                yield cell


def _averages_of_lines(ours: Ours, comparison: Comparison, name: str) -> Iterator[Cell]:
    lines = load_lines(ours.job.published, name)
    table, comparison = lines[0].table, of_lines(comparison, lines)
    for key in KEYS:
        yield from _average(ours, comparison, table, full_average(comparison, key))
    if any(partial_average(comparison, key) for key in KEYS):
        yield from _headline(ours, comparison, table)
    if any(line.column is None for line in lines):
        for partial in (False, True):
            found = [difference(comparison, key, partial) for key in KEYS]
            yield from (_difference(ours, table, each, partial) for each in found if each)


def _difference(ours: Ours, table: str, found: Direction, partial: bool = False) -> Cell:
    assert found.ours is not None
    columns: Sequence[str] = (found.column, found.baseline)
    kept = tuple(s for s in ours.lines(found.rows, columns) if s.seed in found.by_seed)
    formula = (
        f"mean over {quantity(len(found.by_seed), 'seed')} of the difference of two "
        f"averages over {len(found.rows)} rows"
    )
    name = average_name(found.domain, partial)
    return Cell(table, difference_name(*columns), name, signed(found.ours), formula, kept)


def _mean(found: Estimate) -> str:
    return "the score" if found.n_seeds == 1 else f"mean over {found.n_seeds} seeds"
