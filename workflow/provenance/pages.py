"""Rendered pages against the scores: does each number of ours still come from results.parquet?"""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path

from flava.report.html import number
from workflow.provenance.cells import Tables

OURS = re.compile(r'<span class="ours"[^>]*>([^<]*)')
PAGES = {"table_c1": "Table C.1"}
WITHOUT_CELLS = {"index"}  # its averages and directions are tables of their own here


def page_problems(tables: Tables) -> list[str]:
    """What is wrong with the pages of the report, a sentence each.

    Every number that a page shows as ours has to be the cell that the scores give at its place.
    """
    folder = Path(tables.job.output)
    if not folder.is_dir():
        return [f"{folder} is missing: no table was rendered. Run the report first."]
    problems = []
    for path in sorted(folder.glob("*.html")):
        if path.stem in WITHOUT_CELLS:
            continue
        shown = numbers_of(path.read_text(encoding="utf-8"))
        table = PAGES.get(path.stem)
        if table is None:
            if shown:
                problems.append(f"{path} shows numbers of ours, but trace does not know the page.")
            continue
        cells = tables.cells(table)
        expected = [number(cell.value) for cell in cells]
        if shown == expected:
            continue
        places = zip(shown, expected, cells, strict=False)
        first = next((f"{c.column}, {c.row}: {a}, not {b}" for a, b, c in places if a != b), "")
        problems.append(
            f"{path} shows {len(shown)} numbers of ours, results.parquet gives {len(expected)}"
            f"{f'; first difference: {first}' if first else ''}. Render the report again."
        )
    return problems


def numbers_of(page: str) -> list[str]:
    """Numbers of ours in a page's tables, row by row."""
    return [unescape(found).strip() for found in OURS.findall(page)]
