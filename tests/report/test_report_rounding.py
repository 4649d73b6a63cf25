"""A standard error is rounded alike on all pages: two decimals, from 0.95 on one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from flava.report.average_tables import average_table, load_lines, of_lines
from flava.report.claim_file import load_claims
from flava.report.claims import judge_all
from flava.report.directions import directions_table
from flava.report.headline import headline
from flava.report.printed_tables import load_published
from flava.report.tables import results_table
from tests.report.fake_study import PAPER, compared, fake_job, fake_scores, write_scores

SEEDS = (0, 1, 2)
COLUMNS = {"flava_c_local": 3, "flava_c": 4, "clip_pmd": 13}
ROWS = load_published(PAPER, "table_c1").row_names()
ERROR = re.compile(r'class="se[^"]*"> \N{PLUS-MINUS SIGN}(\d+\.\d+)<')


@pytest.mark.parametrize("spread", [0.5, 4.0])
def test_every_error_has_the_same_decimals(tmp_path: Path, spread: float) -> None:
    """Also on pages where the same number stands again: C.1, D.1, index, directions."""
    lines = fake_scores(ROWS[:-1], COLUMNS, SEEDS)
    for line in lines:  # another spread in each column: differences have errors too
        line["value"] += spread * line["seed"] * len(str(line["column"]))
    write_scores(tmp_path / "results.parquet", lines)
    comparison = compared(fake_job(tmp_path, SEEDS, COLUMNS))
    printed = load_lines(PAPER, "table_d1")
    pages = (
        results_table(comparison),
        headline(comparison),
        average_table(of_lines(comparison, printed), printed),
        directions_table(comparison, judge_all(comparison, load_claims(PAPER))),
    )
    for page in pages:
        shown = ERROR.findall(page)
        assert shown
        for each in shown:
            decimals = len(each.partition(".")[2])
            assert decimals == (2 if float(each) <= 0.95 else 1), each
