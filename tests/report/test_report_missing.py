"""A result that is gone: its cell and the averages that need it, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from flava.report.average_tables import average_table, load_lines
from flava.report.compare import load_comparison
from flava.report.headline import headline
from flava.report.printed_tables import load_table_c1
from flava.report.tables import results_table
from tests.report.fake_study import PAPER, fake_scores, write_scores, write_study
from workflow.provenance.pages import shown_on

COLUMNS = {"flava_c": 4, "flava_mm": 7}


@pytest.fixture
def job(tmp_path: Path):
    rows = tuple(row.name for row in load_table_c1(PAPER).rows)
    lines = fake_scores(rows, COLUMNS, root=tmp_path)
    return write_study(tmp_path, columns=COLUMNS, lines=lines)


def without(job, row: str, column: str) -> None:
    """Takes one score out of results.parquet."""
    rows = tuple(row.name for row in load_table_c1(PAPER).rows)
    root = Path(job.results).parent
    write_scores(Path(job.results), fake_scores(rows, COLUMNS, drop={(row, column)}, root=root))


def numbers_of(table: str) -> list[tuple[tuple[str, str], str]]:
    return [((column, row), value) for (_, column, row), value in shown_on(table)]


def test_the_cell_and_its_averages_are_not_run_and_no_other(job) -> None:
    before = dict(numbers_of(results_table(load_comparison(job))))
    without(job, "DTD", "flava_c")
    table = results_table(load_comparison(job))
    after = dict(numbers_of(table))
    gone = {key: value for key, value in before.items() if key not in after}
    assert set(gone) == {
        ("flava_c", name)
        for name in ("DTD", "Vision Avg.", "Macro Avg.", "Macro Avg. (NLP, vision)")
    }
    assert {key: after[key] for key in before.keys() - gone.keys()} == {
        key: value for key, value in before.items() if key not in gone
    }
    # one line a partial average appears, over the same rows for both columns
    assert {name for column, name in after.keys() - before.keys() if column == "flava_mm"} == {
        name for column, name in after.keys() - before.keys() if column == "flava_c"
    }
    cells = re.findall(r'<span class="ours none" title="([^"]*)">not run</span>', table)
    assert cells.count("no score for this column in the study&#x27;s results") == 1
    assert cells.count("1 of 22 rows did not run: DTD") == 1
    assert cells.count("1 of 41 rows did not run: DTD") == 1
    assert cells.count("1 of 30 rows did not run: DTD") == 1  # Table C.1's macro: NLP and vision


def test_the_index_tells_averages_that_did_not_run_from_those_that_neither_has(tmp_path) -> None:
    columns = {"mim": 1, "flava_c": 4}
    lines = fake_scores(("DTD", "SNLI-VE"), columns, root=tmp_path)  # no row of NLP
    content = headline(load_comparison(write_study(tmp_path, columns=columns, lines=lines)))
    mim, flava_c = (line.split("<td")[-4:] for line in content.split("<tr>")[2:4])
    missing = [[">not run<" in cell, ">\N{EN DASH}<" in cell] for cell in (*mim, *flava_c)]
    run, never, ran = [True, False], [False, True], [False, False]
    # NLP, vision, multimodal, macro; the paper's MIM has vision alone
    assert missing == [never, ran, never, never, run, ran, ran, run]


def test_averages_of_other_tables_miss_it_too(job) -> None:
    lines = load_lines(job.published, "table_3")
    whole = average_table(load_comparison(job, "table_4"), lines)
    without(job, "DTD", "flava_c")
    comparison = load_comparison(job, "table_4")
    assert "over 21 of 22" not in whole and "21 of 22 rows" in headline(load_comparison(job))
    table = average_table(comparison, lines)
    assert table != whole and "21 of 22" in table
