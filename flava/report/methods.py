"""Table 5: FLAVA against earlier models, ours beside the lines that are columns of this study."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from flava.report.audit.printed import Cell, Printed, parse
from flava.report.compare import Comparison, only
from flava.report.html import DASH, paragraph, span, text, wide_table
from flava.report.marked import delta_span, fewer_span, ours_span
from flava.report.marks import BEST_PUBLIC, best_marks
from flava.report.printed_tables import Model, load_models, load_row_names, read_table
from flava.report.tables import NOT_RUN, error_note

TITLE = "Table 5"
LEAD = ("row", "public_data", "method")


def methods_table(comparison: Comparison, folder: Path | str) -> str:
    """The printed lines; ours on those that this study has as columns."""
    lines = read_table(folder, "table_5")
    models, names = load_models(folder, "table_5"), load_row_names(folder, "table_5")
    headings = [heading for heading in lines[0] if heading not in LEAD]
    marks = {heading: _marks(lines, heading, models) for heading in headings}
    body = []
    for line in lines:
        model = models[int(line["row"])]
        cells = [
            _cell(comparison, model, names.get(heading, heading), line[heading], marks[heading])
            for heading in headings
        ]
        body.append([_title(comparison, line, model), *cells])
    head = ["method", *(text(heading) for heading in headings)]
    return wide_table(head, {"": body}, "methods") + _note(comparison)


def shown_part(comparison: Comparison, folder: Path | str) -> Comparison:
    """The columns and rows of a comparison with Table C.1 that Table 5 has, too."""
    return only(comparison, *_shown(folder))


def own_cells(comparison: Comparison, folder: Path | str) -> list[tuple[str, str]]:
    """(column, row) of every cell of ours, line by line."""
    columns, rows = _shown(folder)
    cells = {(column, row): cell for (row, column), cell in comparison.cells.items()}
    places = [(column, row) for column in columns for row in rows]
    return [place for place in places if place in cells and cells[place].ours]


def pair_mean(printed: str, where: str) -> Cell:
    """A cell of Table 5; the mean of two numbers 'a/b'; None for a dash or half a pair.

    Raises:
        DataError: a part is no number.
    """
    if DASH in printed:
        return None
    parts = [parse(part, where) for part in printed.split("/")]
    known = [part for part in parts if part is not None]
    if not known or len(known) < len(parts):
        return None
    n = len(known)
    return Printed(sum(part.value for part in known) / n, sum(part.step for part in known) / n)


def _shown(folder: Path | str) -> tuple[list[str], list[str]]:
    """Columns and rows of Table C.1 that Table 5 has."""
    models, names = load_models(folder, "table_5"), load_row_names(folder, "table_5")
    headings = [heading for heading in read_table(folder, "table_5")[0] if heading not in LEAD]
    columns = [model.column for model in models.values() if model.column]
    return columns, [names.get(heading, heading) for heading in headings]


def _value(printed: str) -> float | None:
    mean = pair_mean(printed, TITLE)
    return mean.value if mean else None


def _marks(
    lines: list[dict[str, str]], heading: str, models: Mapping[int, Model]
) -> dict[str, str]:
    """Best of the multimodal approaches, and of all that were trained on public data."""
    values = {line["row"]: _value(line[heading]) for line in lines}
    best = best_marks({n: v for n, v in values.items() if models[int(n)].ranked}, ())
    public = {n: v for n, v in values.items() if models[int(n)].public}
    found = dict(best)
    for name, css in best_marks(public, public).items():
        if BEST_PUBLIC in css:
            found[name] = f"{found.get(name, '')} {BEST_PUBLIC}".strip()
    return found


def _title(comparison: Comparison, line: Mapping[str, str], model: Model) -> str:
    data = "public data" if model.public else "data not public"
    column = next((c for c in comparison.columns if c.name == model.column), None)
    if column is not None:
        data += f"; column {column.number} of Table C.1"
        if column.stand_in:
            data += f", stand-in: {text(column.stand_in)}"
    return f"{text(line['row'])} {text(line['method'])}" + span("sub", data)


def _cell(
    comparison: Comparison, model: Model, row: str, printed: str, marks: Mapping[str, str]
) -> str:
    css = f"paper {marks.get(str(model.number), '')}".strip()
    paper = span(css, text(printed) or DASH)
    if model.column is None or (row, model.column) not in comparison.cells:
        return paper
    cell, value = comparison.cells[row, model.column], _value(printed)
    if cell.ours is None:
        return span("ours none", NOT_RUN, cell.why_no_ours) + paper
    if value is not None:
        grey = comparison.other_than_paper(model.column, [row])
        paper += " " + delta_span(cell.ours.mean - value, grey)
    ours = ours_span(cell.ours, TITLE, model.column, row)
    return ours + fewer_span(cell.ours.n_seeds, len(comparison.seeds)) + paper


def _note(comparison: Comparison) -> str:
    return paragraph(
        "Ours large, percent, on the lines that are columns of Table C.1; the other lines are the "
        "paper's alone, which took them from other papers. Where the paper prints two numbers, "
        "ours is the mean of the two, and the difference is to their mean. A grey difference is to "
        f"a stand-in or another split. {DASH}: a dash in the paper. "
        "<span class=best>Underlined</span>: best of the "
        "multimodal approaches (BERT is none); <span class=best-public>bold</span>: best on public "
        "data; of the printed numbers, by the caption's rule; half a pair is not ranked. "
        f"{error_note(comparison)}",
        "small",
    )
