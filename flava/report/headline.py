"""The averages of the columns that ran, small enough for the index page."""

from __future__ import annotations

from collections.abc import Sequence

from flava.report.compare import ColumnInfo, Comparison
from flava.report.html import DASH, number, paragraph, span, table
from flava.report.marked import average_name, delta_span, error_span, fewer_span, own
from flava.report.published import DOMAINS, MACRO
from flava.report.summary import AverageCell, AverageRow, full_average, partial_average
from flava.report.tables import DOMAIN_TITLES, MACRO_NOTES, NOT_RUN, column_title, error_note


def headline_rows(comparison: Comparison) -> list[AverageRow]:
    """Averages by domain and macro, over the rows that ran where some did not."""
    return [
        partial_average(comparison, key) or full_average(comparison, key)
        for key in (*DOMAINS, MACRO)
    ]


def headline(
    comparison: Comparison, name: str = "Averages", more: Sequence[Sequence[str]] = ()
) -> str:
    """One line a column that ran: its domain and macro averages beside the paper's.

    Where a row is missing, averages are over the rows that ran, and the heading says so.

    Args:
        comparison: joined scores.
        name: of the table, for `workflow.trace`.
        more: lines below, of ready HTML cells in the order of `headline_rows`.
    """
    rows = headline_rows(comparison)
    head = ["column", *[average_head(row) for row in rows]]
    body = []
    for column in comparison.ran():
        cells = [_cell(row, column, comparison, name) for row in rows]
        body.append([column_title(column), *cells])
    body += [list(line) for line in more]
    note = (
        "Percent. Under each score: the paper's average over the same rows and the difference to "
        "it, which is grey where a row is a stand-in or has another split, or the column is a "
        f"stand-in. {error_note(comparison)}"
    )
    if any(row.cells[column.name].unfounded for row in rows for column in comparison.ran()):
        note += (
            " \N{DOUBLE DAGGER}: a printed average that the paper's own cells, misplaced ones put "
            'right, do not give (<a href="audit.html">audit</a>).'
        )
    css = "plain headline" if more else "plain headline sort"  # a line below stays there
    return table(head, body, css) + paragraph(note, "small")


def average_head(row: AverageRow) -> str:
    """Heading of a column of averages: what they are means of, and over which rows."""
    title = "Macro" if row.key == MACRO else DOMAIN_TITLES[row.key]
    if row.key in MACRO_NOTES:
        title += span("of", MACRO_NOTES[row.key])
    which = f"{row.k} of {row.n_rows} rows" if row.partial else f"all {row.n_rows} rows"
    return title + span("of", which)


def _cell(row: AverageRow, column: ColumnInfo, comparison: Comparison, name: str) -> str:
    cell: AverageCell = row.cells[column.name]
    ours = span("none", NOT_RUN if cell.in_paper else DASH, cell.why_no_ours)
    if cell.ours:
        place = average_name(row.key, row.partial)
        ours = own(name, column.name, place, number(cell.ours.mean))
        ours += error_span(cell.ours.std_error, cell.ours.error_source)
        ours += fewer_span(cell.ours.n_seeds, len(comparison.seeds))
    if cell.paper is None:
        none = span("paper", f"<span class=word>paper </span>{DASH}", cell.why_no_paper)
        return ours + (span("of", none) if cell.ours else "")
    names = {name for part in row.rows.values() for name in part}
    mark = "\N{DOUBLE DAGGER}" if cell.unfounded else ""
    paper = span("paper", f"<span class=word>paper </span>{number(cell.paper)}{mark}")
    if cell.delta is not None:
        paper += " " + delta_span(cell.delta, comparison.other_than_paper(column.name, names))
    return ours + span("of", paper)
