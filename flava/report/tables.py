"""Tables C.1 and 4 as HTML: per cell ours, the paper's and the difference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from flava.report.compare import Cell, ColumnInfo, Comparison, RowInfo
from flava.report.html import DASH, number, quantity, span, text
from flava.report.marked import average_name, delta_span, fewer_span, ours_span
from flava.report.marks import best_marks
from flava.report.published import DOMAINS, MACRO
from flava.report.summary import (
    MACRO_TABLE_C1,
    AverageCell,
    AverageRow,
    full_average,
    partial_average,
)

DOMAIN_TITLES = {"nlp": "NLP", "vision": "Vision", "multimodal": "Multimodal"}
AVERAGE_TITLES = DOMAIN_TITLES | {
    MACRO: "Macro average",
    MACRO_TABLE_C1: "Macro, Table C.1's own",
}
MACRO_NOTES = {MACRO: "mean of three domains", MACRO_TABLE_C1: "mean of NLP and vision"}
STAND_IN_MARK, SPLIT_MARK = "\N{LOZENGE}", "\N{SECTION SIGN}"
NOT_RUN = "not run"
NARROW = 5  # columns; with fewer, a table is not stretched over the page


def results_table(comparison: Comparison, columns: Sequence[ColumnInfo] | None = None) -> str:
    """The whole table with its switches and legend.

    Args:
        comparison: which rows averages are over depends on all of its columns.
        columns: those that are shown; None: all.
    """
    shown = comparison.columns if columns is None else columns
    body = "".join(_domain(comparison, domain, shown) for domain in DOMAINS)
    body += _group("all", "All domains", shown)
    same = comparison.published.macro_domains == DOMAINS
    for key in (MACRO,) if same else (MACRO, MACRO_TABLE_C1):
        body += _averages(comparison, key, shown)
    title = text(comparison.published.title)
    css = "results narrow sort" if len(shown) < NARROW else "results sort"
    return (
        f'{_switches()}<div class="scroll tall" tabindex="0" role="region" aria-label="{title}">'
        f'<table class="{css}"><thead>{_head(shown)}</thead><tbody>{body}</tbody></table>'
        "</div>"
        f"{legend(comparison)}"
    )


def _switches() -> str:
    """What style.css hides by: they need no script."""
    boxes = "".join(
        f'<label><input type="checkbox" id="hide-{what}"> hide {what} that did not run</label> '
        for what in ("columns", "rows")
    )
    domains = {"all": "all domains"} | {key: DOMAIN_TITLES[key] for key in DOMAINS}
    radios = "".join(
        f'<label><input type="radio" name="domain" id="only-{key}"'
        f"{' checked' if key == 'all' else ''}> {title}</label> "
        for key, title in domains.items()
    )
    return (
        f'<div class="switches">{boxes}<span role="radiogroup" aria-label="domains shown">'
        f"{radios}</span></div>"
    )


def extra_table(comparison: Comparison) -> str:
    """Rows that were scored but are not in the paper's table; empty text without any."""
    if not comparison.extra_rows:
        return ""
    shown = comparison.ran()
    rows = "".join(_row(comparison, row, shown) for row in comparison.extra_rows)
    return (
        '<div class="scroll" tabindex="0"><table class="results sort">'
        f"<thead>{_head(shown)}</thead><tbody>{rows}</tbody></table></div>"
    )


def legend(comparison: Comparison) -> str:
    """What the marks mean, in text: tooltips do not exist on paper or on a phone."""
    items = [
        "<b>Large</b>: this study, percent, mean over seeds. "
        "<span class=paper>Small grey</span>: the paper. "
        "<span class='delta up'>+</span> / <span class='delta down'>\N{MINUS SIGN}</span>: "
        "this study minus the paper, percentage points.",
        error_note(comparison),
        f"{STAND_IN_MARK}: a stand-in for the paper's, of a row its test set, of a column its "
        "model; the difference to the paper is grey, because it measures something else. "
        f"{SPLIT_MARK}: the paper's data set, but not, or not surely, the split that it scores: "
        "grey too.",
        "Shaded columns and rows did not run (reasons below the table). "
        '<span class="none">not run</span>: the paper has a number, this study has none. '
        f"{DASH}: neither has; small {DASH}: the paper has none.",
        '<span class="best">Underlined</span>: the best of its row; <span class="best-public">bold'
        "</span>: the best on public data, to which columns of your own belong that this study "
        "trains; a model that is a stand-in counts as the paper's, whatever it was trained on. "
        "Ours and the paper's are marked apart, among all columns, shown here or not, by the rule "
        "of the paper's caption, which knows no errors.",
        "An average with a missing row is missing. Where only some rows ran, a second line "
        "averages the rows that every column with scores in the domain ran; the paper's number "
        "beside it is over the same rows.",
        "\N{DOUBLE DAGGER}: an average that the paper's own cells do not give, or a cell that is "
        "another column's, or that its average and Table C.1 contradict, and that has no "
        'difference. The <a href="audit.html">audit</a> has the sums, and what else in print '
        "disagrees with itself.",
    ]
    return f'<ul class="legend">{"".join(f"<li>{item}</li>" for item in items)}</ul>'


def error_note(comparison: Comparison) -> str:
    """Which kind of standard error stands beside the scores, averages among them."""
    seeds, imported = len(comparison.seeds), imported_columns(comparison)
    if seeds > 1 and imported and imported == comparison.ran():
        return (
            "\N{PLUS-MINUS SIGN}: standard error of the test set (in italics): the weights are "
            f"published ones, one model a column, and its {seeds} seeds those of its evaluation."
        )
    if seeds > 1:
        also = " or the weights are published ones" if imported else ""
        return (
            f"\N{PLUS-MINUS SIGN}: standard error over {seeds} seeds, of an average: that of the "
            "average itself; in italics, that of the test set, where fewer than two seeds "
            f"ran{also}."
        )
    return (
        "\N{PLUS-MINUS SIGN}: standard error of the test set (in italics); one seed ran: the "
        "spread over seeds, which can be several times as large, is not in it."
    )


def imported_columns(comparison: Comparison) -> tuple[ColumnInfo, ...]:
    """Columns that ran with published weights: one model each, whatever the seeds."""
    return tuple(column for column in comparison.ran() if column.imported)


def _head(shown: Sequence[ColumnInfo]) -> str:
    cells = []
    for column in shown:
        title = column.why_not or column.stand_in or column.name
        label = text(column.title)
        if column.stand_in:
            label += " " + span("mark", STAND_IN_MARK) + span("sub", text(column.stand_in))
        cells.append(
            f'<th scope="col" class="{_column_css(column)}" title="{text(title)}">'
            f"<b>{column.number}</b> {label}</th>"
        )
    return f'<tr><th class="corner">Row{span("sub", "metric, chance")}</th>{"".join(cells)}</tr>'


def _domain(comparison: Comparison, domain: str, shown: Sequence[ColumnInfo]) -> str:
    rows = [row for row in comparison.rows if row.domain == domain]
    body = "".join(_row(comparison, row, shown) for row in rows)
    return (
        _group(domain, DOMAIN_TITLES[domain], shown) + body + _averages(comparison, domain, shown)
    )


def _group(domain: str, title: str, shown: Sequence[ColumnInfo]) -> str:
    return (
        f'<tr class="domain" data-domain="{domain}"><th scope="rowgroup">{title}</th>'
        f'<td colspan="{len(shown)}"></td></tr>'
    )


def _row(comparison: Comparison, row: RowInfo, columns: Sequence[ColumnInfo]) -> str:
    mark = ""
    if row.stand_in:
        mark = " " + span("mark", STAND_IN_MARK, f"stand-in: {row.stand_in}")
    elif row.other_split:
        mark = " " + span("mark", SPLIT_MARK, f"split: {row.other_split}")
    facts = [row.metric.replace("_", " ") if row.metric else "not run"]
    if row.chance is not None:
        facts.append(f"chance {number(row.chance, 1)}")
    sub = span("sub", text(", ".join(facts)))
    cells = {c.name: comparison.cells[row.name, c.name] for c in comparison.columns}
    ran, grey = row.task is not None, row.other_data
    shown = _cells(comparison, columns, cells, row.name, ran, grey)
    css = "" if row.task else ' class="row-not-run"'
    head = f'<th scope="row">{text(row.name)}{mark}{sub}</th>'
    return f'<tr{css} data-domain="{text(row.domain)}">{head}{shown}</tr>'


def _cells(
    comparison: Comparison,
    columns: Sequence[ColumnInfo],
    cells: Mapping[str, Cell],
    row: str,
    ran: bool,
    grey: bool,
) -> str:
    """The cells of a row; ours is left out of a row that did not run: its heading says so.

    Args:
        comparison: of the row.
        columns: those that are shown.
        cells: of all columns, which the best are marked among.
        row: name.
        ran: whether any column has a score of ours.
        grey: whether other data than the paper's were scored.
    """
    public = comparison.published.public
    ours = best_marks({name: c.ours.mean if c.ours else None for name, c in cells.items()}, public)
    own = {name: None if cell.misplaced else cell.paper for name, cell in cells.items()}
    paper = best_marks(own, public)
    shown = []
    for column in columns:
        cell = cells[column.name]
        first = _ours(cell, comparison, column, row, ours.get(column.name, "")) if ran else ""
        second = _paper(cell, grey or column.stand_in is not None, paper.get(column.name, ""))
        shown.append(f'<td class="{_column_css(column)}">{first}{second}</td>')
    return "".join(shown)


def _ours(cell: Cell, comparison: Comparison, column: ColumnInfo, row: str, marks: str) -> str:
    if cell.ours is None:
        known = cell.in_paper if isinstance(cell, AverageCell) else cell.paper is not None
        return span("ours none", NOT_RUN if known else DASH, cell.why_no_ours)
    shown = ours_span(cell.ours, comparison.published.title, column.name, row, marks)
    return shown + fewer_span(cell.ours.n_seeds, len(comparison.seeds))


def _paper(cell: Cell, grey: bool, marks: str) -> str:
    if cell.paper is None:
        return span("paper", DASH, cell.why_no_paper)
    shown = span(f"paper {marks}".strip(), number(cell.paper), "the paper")
    if cell.misplaced:
        shown += span("paper", "\N{DOUBLE DAGGER}", cell.misplaced)
    if isinstance(cell, AverageCell) and cell.paper_differs:
        gives = "nothing" if cell.recomputed is None else number(cell.recomputed)
        how = "from the printed averages" if cell.derived else "printed"
        shown += span("paper", "\N{DOUBLE DAGGER}", f"{how}; the paper's own cells give {gives}")
    if cell.delta is None:
        return shown
    return f"{shown} {delta_span(cell.delta, grey)}"


def _averages(comparison: Comparison, key: str, columns: Sequence[ColumnInfo]) -> str:
    whole, part = full_average(comparison, key), partial_average(comparison, key)
    title = AVERAGE_TITLES[key] if key not in DOMAINS else f"{AVERAGE_TITLES[key]} average"
    note = f"{MACRO_NOTES[key]}, " if key in MACRO_NOTES else ""
    tasks = {row.name for row in comparison.rows if row.task}
    missing = sum(name not in tasks for names in whole.rows.values() for name in names)
    sub = f"{note}all {whole.n_rows} rows" + (f"; {missing} not run" if missing else "")
    shown = _average(comparison, columns, whole, title, sub)
    if part:
        names = ", ".join(name for names in part.rows.values() for name in names)
        sub = f"{note}over {part.k} of {part.n_rows} rows"
        shown += _average(comparison, columns, part, title, sub, names)
    return shown


def _average(
    comparison: Comparison,
    columns: Sequence[ColumnInfo],
    average: AverageRow,
    title: str,
    sub: str,
    hint: str | None = None,
) -> str:
    used = [row for row in comparison.rows for names in average.rows.values() if row.name in names]
    grey = any(row.other_data for row in used)
    ran = any(cell.ours for cell in average.cells.values()) or all(row.task for row in used)
    row = average_name(average.key, average.partial)
    cells = _cells(comparison, columns, average.cells, row, ran, grey)
    head = f"{title}{span('sub', text(sub), hint)}"
    css = "average" if ran else "average row-not-run"
    domain = average.key if average.key in DOMAINS else "all"
    return f'<tr class="{css}" data-domain="{domain}"><th scope="row">{head}</th>{cells}</tr>'


def column_title(column: ColumnInfo) -> str:
    """Number and title; below them what stands in for its model."""
    stand_in = span("of wrap", f"stand-in: {text(column.stand_in)}") if column.stand_in else ""
    return f"{column.number} {text(column.title)}{stand_in}"


def _column_css(column: ColumnInfo) -> str:
    return "ran" if column.in_study else "not-run"


def stand_in_rows(rows: Sequence[RowInfo]) -> list[RowInfo]:
    """The rows whose test set is a stand-in."""
    return [row for row in rows if row.stand_in]


def scale_line(comparison: Comparison) -> str:
    """'7 of 14 columns, 16 of 41 rows, 1 seed' as plain text."""
    columns = f"{len(comparison.ran())} of {len(comparison.columns)} columns"
    rows = f"{len(comparison.rows_ran())} of {len(comparison.rows)} rows"
    return f"{columns}, {rows}, {quantity(len(comparison.seeds), 'seed')}"
