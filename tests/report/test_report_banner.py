"""The banner of a page speaks of the table that the page shows, not of the whole study."""

from __future__ import annotations

import html
import re
from pathlib import Path

import pytest

from flava.report.notebook import Rendering, render_all
from flava.report.printed_tables import load_table_c1
from tests.report.fake_study import PAPER, REPO, fake_scores, write_study

ALL = tuple(row.name for row in load_table_c1(PAPER).rows)
PAGES = ("table_3", "table_5", "table_d1", "figure_4")


def banners(folder: Path, columns: dict[str, int]) -> dict[str, str]:
    """Page -> text of its banner, of a study with all rows of these columns."""
    lines = fake_scores(ALL, columns, root=folder)
    write_study(folder, columns=columns, lines=lines)
    config = {"config": str(folder / "report.json")}
    render_all([Rendering(REPO / f"notebooks/{n}.py", folder / f"{n}.html", config) for n in PAGES])
    found = {}
    for name in PAGES:
        page = (folder / f"{name}.html").read_text(encoding="utf-8")
        shown = page.partition('<div class="banner">')[2].partition("</div>")[0]
        found[name] = html.unescape(re.sub(r"<[^>]*>", "", shown))
    return found


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        (
            {"mim": 1, "flava_c": 4, "flava_mm": 7, "flava_dino": 12, "clip_pmd": 13},
            {
                "table_3": "4 of 6 columns, 41 of 41 rows",
                "table_5": "2 of 3 columns, 12 of 12 rows",
                "table_d1": "1 of 2 columns, 41 of 41 rows",
                "figure_4": "1 of 2 columns, 41 of 41 rows",
            },
        ),
        (
            {"mim": 1},
            {
                "table_3": "1 of 6 columns, 22 of 41 rows",
                "table_5": "0 of 3 columns, 0 of 12 rows",
                "table_d1": "0 of 2 columns, 0 of 41 rows",
                "figure_4": "0 of 2 columns, 0 of 41 rows",
            },
        ),
    ],
)
def test_it_counts_the_columns_and_rows_of_its_table(
    tmp_path: Path, columns: dict[str, int], says: dict[str, str]
) -> None:
    found = banners(tmp_path, columns)
    for page, scale in says.items():
        assert scale in found[page], page
        ran = int(scale.split()[0])
        assert ("no claim can be checked" in found[page]) == (ran == 0), page
        assert ("one column beats another" in found[page]) == (ran > 1), page
