"""Rendered pages against the scores: does each number of ours still come from results.parquet?"""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path

from flava.report.html import number
from flava.report.marked import PART
from flava.report.overview import pages_of
from workflow.provenance.cells import AVERAGES, Tables

OURS = re.compile(
    r'<span class="ours"(?: data-cell="([^"]*)")?[^>]*>(?:<span class="best[^"]*">)?([^<]*)'
)
WHOLE = {"table_c1": "Table C.1", "table_4": "Table 4"}  # show every cell; others some of C.1
NAMES = {key + part: name + part for key, name in AVERAGES.items() for part in ("", PART)}


def page_problems(tables: Tables) -> list[str]:
    """What is wrong with the pages of the report, a sentence each.

    Every number that a page shows as ours has to be the cell that the scores give at its place.
    """
    folder = Path(tables.job.output)
    if not folder.is_dir():
        return [f"{folder} is missing: no table was rendered. Run the report first."]
    cells = {
        title: {(cell.column, cell.row): number(cell.value) for cell in tables.cells(title)}
        for title in WHOLE.values()
    }
    problems = []
    for path in pages_of(folder, tables.job.columns):
        title = WHOLE.get(path.stem)
        expected = cells[title or "Table C.1"]
        shown = numbers_of(path.read_text(encoding="utf-8"))
        wrong = [
            f"{', '.join(cell) if cell[0] else 'a cell without a name'}: {value}, "
            f"not {expected.get(cell)}"
            for cell, value in shown
            if expected.get(cell) != value
        ]
        missing = len(expected) - len(dict(shown)) if title else 0
        if wrong or missing:
            problems.append(
                f"{path} shows {len(shown)} numbers of ours, {len(wrong)} of them not what "
                f"results.parquet gives, and lacks {missing}"
                f"{f'; first difference: {wrong[0]}' if wrong else ''}. Render the report again."
            )
    return problems


def numbers_of(page: str) -> list[tuple[tuple[str, str], str]]:
    """((column, row), number) of ours in a page's tables; a nameless one has empty names."""
    found = []
    for cell, value in OURS.findall(page):
        column, _, row = unescape(cell).partition("|")
        found.append(((column, NAMES.get(row, row)), unescape(value).strip()))
    return found
