"""Rendered pages against what they were made of: is each thing of ours still what stands there?"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from html import unescape
from pathlib import Path

from flava.report.figure import ARROWS
from flava.report.marked import MARK, SVG_MARK
from flava.report.overview import pages_of
from workflow.provenance.cells import Cell, Ours

OURS = re.compile(
    rf'(?:{MARK}="|<g id="{SVG_MARK})([^"]*)"[^>]*>(?:<!--.*?-->|<[^>]*>|\s)*([^<]*)', re.DOTALL
)
Place = tuple[str, str, str]  # table, column, row
# Pages that show every cell of a table; those of the others are on some page.
WHOLE = {
    **{f"Table {number}": f"table_{number}" for number in range(1, 6)},
    **{f"Table {letter}": f"table_{letter.replace('.', '').lower()}"
       for letter in ("A.1", "A.2", "C.1", "D.1")},
    "Section B.1": "table_a1",
    "Recipes": "table_a1",
    "Figure 4": "figure_4",
    "Directions": "directions",
    "Corpora": "table_2",
    "Cost": "table_c1",
    "Stand-ins": "table_c1",
    **dict.fromkeys(("Averages", "Claims", "Leaks"), "index"),
}  # fmt: skip


def page_problems(ours: Ours, cells: Mapping[str, Sequence[Cell] | None]) -> list[str]:
    """What is wrong with the pages of the report, a sentence each.

    Everything that a page marks as ours has to be the cell that stands at its place, and every
    cell has to be on the page of its table.

    Args:
        ours: the study.
        cells: table -> its cells; None where what they are read from is damaged.
    """
    folder = Path(ours.job.output)
    if not folder.is_dir():
        return [f"{folder} is missing: no table was rendered. Run the report first."]
    expected = {cell.name: cell.shown for each in cells.values() for cell in each or ()}
    unknown = {table for table, each in cells.items() if each is None}
    pages = {
        path: shown_on(path.read_text(encoding="utf-8"))
        for path in pages_of(folder, ours.job.columns)
    }
    problems = []
    for path, shown in pages.items():
        wrong = [
            f"{', '.join(place)}: {value}, not {expected.get(place, 'anything of ours')}"
            for place, value in shown
            if place[0] not in unknown and expected.get(place) != value
        ]
        whole = {place for place in expected if WHOLE.get(place[0]) == path.stem}
        lacks = sorted(whole - {place for place, _ in shown})
        problems += _problem(path, len(shown), wrong, [", ".join(place) for place in lacks])
    everywhere = {place for shown in pages.values() for place, _ in shown}
    homeless = [", ".join(p) for p in expected if p[0] not in WHOLE and p not in everywhere]
    return problems + _problem(folder, len(everywhere), [], homeless)


def _problem(path: Path, shown: int, wrong: Sequence[str], lacks: Sequence[str]) -> list[str]:
    """One sentence, where a page is wrong or lacks something."""
    if not wrong and not lacks:
        return []
    first = f"; first difference: {wrong[0]}" if wrong else f"; the first: {lacks[0]}"
    return [
        f"{path} shows {shown} cells of ours, {len(wrong)} of them not what results, records and "
        f"manifests give, and lacks {len(lacks)}{first}. Render the report again."
    ]


def shown_on(page: str) -> list[tuple[Place, str]]:
    """(place, what is shown) of everything that a page marks as ours."""
    found = []
    for place, value in OURS.findall(page):
        table, _, rest = unescape(place).partition("|")
        column, _, row = rest.partition("|")
        found.append(((table, column, row), unescape(value).strip(f" \n{ARROWS}")))
    return found
