"""Tables 3 and D.1: averages by domain, ours beside the paper's, with what print got wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from flava.config import ClaimConfig
from flava.errors import DataError
from flava.report.audit.printed import Printed, parse
from flava.report.claims import Direction, judge
from flava.report.compare import Comparison, only
from flava.report.headline import average_head, headline, headline_rows
from flava.report.html import DASH, number, paragraph, signed, span, table, text
from flava.report.marked import (
    average_name,
    delta_span,
    difference_name,
    error_span,
    fewer_span,
    ours_span,
    own,
)
from flava.report.printed_tables import load_models, read_table
from flava.report.published import MACRO
from flava.report.summary import AverageCell, domains_of, full_average, partial_average
from flava.report.tables import DOMAIN_TITLES, NOT_RUN, error_note

KEYS = ("vision", "nlp", "multimodal", MACRO)  # in the order of print
TITLES = DOMAIN_TITLES | {MACRO: "Macro"}
DELTA = "delta"

NAMES = {"table_3": "Table 3", "table_d1": "Table D.1"}


@dataclass(frozen=True)
class Line:
    """A printed line of averages; `column` is None for the line of differences."""

    table: str
    number: str
    title: str
    column: str | None
    values: Mapping[str, Printed | None]


def load_lines(folder: Path | str, name: str) -> tuple[Line, ...]:
    """The lines of `table_3` or `table_d1`.

    Raises:
        DataError: the table is missing or malformed, or a line is of no column in models.csv.
    """
    models = load_models(folder, name)
    found = []
    for line in read_table(folder, name):
        values = {}
        for key in KEYS:
            heading = next(head for head in line if head.startswith(f"{key}_avg"))
            values[key] = parse(line[heading], f"{name}.csv, line '{line['row']}'")
        if line["row"] == DELTA:
            found.append(Line(NAMES[name], DELTA, "difference", None, values))
            continue
        model = models.get(int(line["row"]))
        if model is None or model.column is None:
            raise DataError(f"{name}.csv: line '{line['row']}' is of no column in models.csv.")
        found.append(Line(NAMES[name], line["row"], line["method"], model.column, values))
    return tuple(found)


def of_lines(comparison: Comparison, lines: Sequence[Line]) -> Comparison:
    """The same comparison with the columns that have a line, in the order of print."""
    return only(comparison, [line.column for line in lines if line.column])


def average_table(comparison: Comparison, lines: Sequence[Line]) -> str:
    """The table, what print got wrong in it, and the averages over the rows that ran.

    Args:
        comparison: with the table whose averages the lines repeat (Table 4 or C.1).
        lines: as printed.
    """
    comparison = of_lines(comparison, lines)
    averages = {key: full_average(comparison, key) for key in KEYS}
    body, wrong = [], list[str]()
    for line in lines:
        if line.column is None:
            body.append(_difference_line(comparison, line))
            continue
        cells = []
        for key in KEYS:
            cell = averages[key].cells[line.column]
            wrong += _wrong(comparison, line, key, cell)
            cells.append(_cell(comparison, line, key, cell))
        body.append([_title(comparison, line), *cells])
    head = ["method", *(average_head(averages[key]) for key in KEYS)]
    return table(head, body) + _notes(comparison, wrong) + _partial(comparison, lines)


def _title(comparison: Comparison, line: Line) -> str:
    column = next(item for item in comparison.columns if item.name == line.column)
    shown = f"{text(line.number)} {text(line.title)}"
    own = f"column <code>{text(column.name)}</code>"
    if column.stand_in:
        own += f", stand-in: {text(column.stand_in)}"
    return shown + span("of wrap", own)


def _agree(printed: Printed, right: float | None) -> bool:
    """Whether two roundings of one number: print rounds in its own way."""
    return right is not None and abs(printed.value - right) <= printed.step * 1.01


def _cell(comparison: Comparison, line: Line, key: str, cell: AverageCell) -> str:
    printed = line.values[key]
    ours = span("none", NOT_RUN if cell.in_paper else DASH, cell.why_no_ours)
    if cell.ours and line.column:
        ours = ours_span(cell.ours, line.table, line.column, average_name(key, False))
        ours += fewer_span(cell.ours.n_seeds, len(comparison.seeds))
    if printed is None:
        return ours + span("of", f"paper {DASH}")
    shown = f"<span class=word>paper </span>{number(printed.value)}"
    if _wrong(comparison, line, key, cell):
        shown += "\N{DOUBLE DAGGER}"
    paper = span("paper", shown)
    if cell.delta is not None and line.column:
        rows = [row.name for row in comparison.rows if row.domain in domains_of(key)]
        paper += " " + delta_span(cell.delta, comparison.other_than_paper(line.column, rows))
    return ours + span("of", paper)


def _wrong(comparison: Comparison, line: Line, key: str, cell: AverageCell) -> list[str]:
    """What is wrong with a printed number, if anything."""
    printed = line.values[key]
    if printed is None:
        return []
    follows = not cell.paper_differs or _agree(printed, cell.mended)
    if follows and _agree(printed, cell.paper):
        return []
    start = f"{text(line.title)}, {TITLES[key]}: {number(printed.value)}"
    if not _agree(printed, cell.paper):
        right = number(cell.paper) if cell.paper is not None else "nothing"
        return [f"{start}, for which {comparison.published.title} has {right}"]
    gives = number(cell.recomputed) if cell.recomputed is not None else "no such average"
    return [f"{start}, though the cells give {gives}"]


def _notes(comparison: Comparison, wrong: Sequence[str]) -> str:
    notes = paragraph(
        "Percent. Under each score: the paper's as this table prints it, and our difference to "
        "it, which is grey where a row is a stand-in or has another split, or the column is a "
        f"stand-in. {error_note(comparison)}",
        "small",
    )
    if wrong:
        notes += paragraph(
            f"\N{DOUBLE DAGGER}: print disagrees with itself; differences are to the number of "
            f"{comparison.published.title}. {'; '.join(wrong)}. See the "
            '<a href="audit.html">audit</a>.',
            "small",
        )
    return notes


def _partial(comparison: Comparison, lines: Sequence[Line]) -> str:
    """The averages over the rows that ran, where they are fewer than the paper's."""
    if not any(partial_average(comparison, key) for key in KEYS):
        return ""
    name, more = lines[0].table, list[list[str]]()
    if any(line.column is None for line in lines):
        cells = []
        for row in headline_rows(comparison):
            found = difference(comparison, row.key, row.partial)
            place = average_name(row.key, row.partial)
            paper = found.paper_same if found else None
            cells.append(_difference(comparison, found, name, place, paper))
        second, first = (comparison.columns[place].number for place in (1, 0))
        more.append([f"difference, {second} \N{MINUS SIGN} {first}", *cells])
    return f"<h2>Over the rows that ran</h2>{headline(comparison, name, more)}"


def difference(comparison: Comparison, key: str, partial: bool = False) -> Direction | None:
    """The second column against the first, seed by seed; None where it has no such rows.

    Args:
        comparison: of the two columns (`of_lines`).
        key: a domain, or `macro`.
        partial: over the rows that ran, where some of the paper's did not; else over all of these.
    """
    pair = (comparison.columns[1].name, comparison.columns[0].name)
    claim = ClaimConfig(claim="difference", source="the table", pairs=[pair])
    found = judge(comparison, DELTA, claim, pair, key)
    some = len(found.rows) < found.n_rows_paper
    return found if found.ours is not None and some is partial else None


def _difference_line(comparison: Comparison, line: Line) -> list[str]:
    cells = []
    for key in KEYS:
        printed, found = line.values[key], difference(comparison, key)
        place = average_name(key, False)
        paper = printed.value if printed else None
        cells.append(_difference(comparison, found, line.table, place, paper))
    return ["difference, 2 \N{MINUS SIGN} 1", *cells]


def _difference(
    comparison: Comparison, found: Direction | None, name: str, place: str, printed: float | None
) -> str:
    paper = span("of", f"paper {DASH}" if printed is None else f"paper {signed(printed)}")
    if found is None or found.ours is None:
        return span("none", NOT_RUN, "a row of it did not run") + paper
    pair = difference_name(found.column, found.baseline)
    ours = own(name, pair, place, signed(found.ours))
    ours += error_span(found.std_error, found.error_source)
    return ours + fewer_span(len(found.by_seed), len(comparison.seeds)) + paper
