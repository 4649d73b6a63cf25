"""Averages on the index and in Tables 3 and D.1: what they are of, and what print gets wrong."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from flava.report.average_tables import average_table, load_lines, of_lines
from flava.report.compare import Comparison
from flava.report.headline import headline
from flava.report.html import DASH
from flava.report.printed_tables import load_published
from flava.report.tables import results_table
from tests.report.fake_study import PAPER, compared, fake_job, fake_scores, write_scores

COLUMNS = {"mim": 1, "flava_no_init": 10, "flava_beit": 11, "flava_dino": 12, "clip_pmd": 13}
ROWS = load_published(PAPER, "table_c1").row_names()
DAGGER = "\N{DOUBLE DAGGER}"
LOST = "the paper&#x27;s own number of RTE in this column is lost"
MACRO = "mean of three domains"


def study(folder: Path, columns: dict[str, int], drop: str = "") -> Comparison:
    lines = fake_scores([row for row in ROWS if row != drop], columns)
    write_scores(folder / "results.parquet", lines)
    return compared(fake_job(folder, columns=columns))


def cells_of(table: str, number: int) -> list[str]:
    """NLP, vision, multimodal, macro of a column."""
    line = table.partition(f'<th scope="row">{number} ')[2].partition("</tr>")[0]
    return line.split("<td")[1:]


def test_the_index_marks_what_no_cells_give(tmp_path: Path) -> None:
    """Column 11's NLP average, whose own RTE is lost, and the macro average with it."""
    table = headline(study(tmp_path, COLUMNS))
    marked = {n: [DAGGER in cell for cell in cells_of(table, n)] for n in COLUMNS.values()}
    assert marked.pop(11) == [True, False, False, True]
    assert not any(any(marks) for marks in marked.values())
    assert f"{DAGGER}: a printed average that the paper's own cells" in table
    without = {name: n for name, n in COLUMNS.items() if n != 11}
    assert DAGGER not in headline(study(tmp_path, without))


def test_a_lost_number_is_told_from_one_that_print_lacks(tmp_path: Path) -> None:
    """Over the rows that ran column 11 has no number of the paper: print has all of these rows."""
    comparison = study(tmp_path, COLUMNS, drop="MNLI")
    table = headline(comparison)
    nlp, vision, _, macro = cells_of(table, 11)
    for cell in (nlp, macro):
        assert "data-cell" in cell and f">paper </span>{DASH}<" in cell and LOST in cell
    assert LOST not in vision
    assert results_table(comparison).count(LOST) == 3  # NLP, macro, Table C.1's macro
    first, *_ = cells_of(table, 1)  # neither has MIM's NLP
    assert "paper" not in first


@pytest.mark.parametrize("drop", ["", "MNLI"])
def test_a_macro_average_is_the_mean_of_domains_not_of_rows(tmp_path: Path, drop: str) -> None:
    comparison = study(tmp_path, COLUMNS, drop)
    tables = [headline(comparison)]
    for name in ("table_3", "table_d1"):
        lines = load_lines(PAPER, name)
        table = "table_c1" if name == "table_d1" else "table_4"
        shown = compared(fake_job(tmp_path, columns=COLUMNS), table)
        tables.append(average_table(of_lines(shown, lines), lines))
    for table in tables:
        heads = re.findall(r'<th scope="col">(Macro.*?)</th>', table)
        assert heads and all(MACRO in head for head in heads)
