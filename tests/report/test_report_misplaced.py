"""Table C.1's RTE from column 11 on stands one column too far left, and Table 4 misprints a QQP:
nothing is computed from these cells."""

from __future__ import annotations

from pathlib import Path

import pytest

from flava.report.claims import Direction
from flava.report.compare import Comparison
from flava.report.directions import load_directions
from flava.report.printed_tables import load_published, load_table_c1
from flava.report.summary import full_average, partial_average
from flava.report.tables import results_table
from tests.report.fake_study import PAPER, compared, fake_job, fake_scores, write_scores

COLUMNS = {"flava_no_init": 10, "flava_beit": 11, "flava_dino": 12, "clip_pmd": 13}
ALL = load_table_c1(PAPER).row_names()
NLP = ("COLA", "RTE", "STS-B")


def study(folder: Path, rows: tuple[str, ...], table: str = "table_c1") -> Comparison:
    write_scores(folder / "results.parquet", fake_scores(rows=rows, columns=COLUMNS))
    return compared(fake_job(folder, columns=COLUMNS), table)


def directions(folder: Path, rows: tuple[str, ...]) -> dict[tuple[str, str, str], Direction]:
    comparison = study(folder, rows)
    found = load_directions(fake_job(folder, columns=COLUMNS), comparison)
    return {(d.column, d.baseline, d.domain): d for d in found}


def test_cells_under_another_column_are_found() -> None:
    assert load_published(PAPER, "table_4").misplaced == {("QQP", "flava_no_init"): 88.60}
    assert load_published(PAPER, "table_c1").misplaced == {
        ("RTE", "flava_beit"): None,  # lost
        ("RTE", "flava_dino"): 57.76,  # as in Table 4
        ("RTE", "clip_pmd"): 53.07,
    }


def test_they_are_shown_as_printed_marked_and_without_a_difference(tmp_path: Path) -> None:
    comparison = study(tmp_path, NLP)
    cell = comparison.cells["RTE", "flava_dino"]
    assert (cell.paper, cell.delta) == (53.07, None)
    assert cell.misplaced is not None and "own is 57.76" in cell.misplaced
    assert comparison.cells["RTE", "flava_no_init"].delta is not None
    table = results_table(comparison)
    line = table.partition('<th scope="row">RTE')[2].partition("</tr>")[0]
    assert line.count("\N{DOUBLE DAGGER}") == 3
    assert "own is lost" in line


def test_they_are_no_best_of_their_row(tmp_path: Path) -> None:
    """Columns 8 and 11 print the same RTE, the highest of all: column 11's is column 12's."""
    table = results_table(study(tmp_path, NLP))
    line = table.partition('<th scope="row">RTE')[2].partition("</tr>")[0]
    cells = line.split("<td")[1:]
    assert "57.76" in cells[7] and "57.76" in cells[10]
    assert [n for n, cell in enumerate(cells, 1) if 'class="paper best' in cell] == [8]


def test_a_misprint_of_table_4_enters_no_average_no_difference_and_no_mark(tmp_path: Path) -> None:
    """Its QQP of column 10, 98.61 for 88.60, would be the best of its row."""
    rows = ("QQP", "STS-B")
    of_4, of_c1 = (study(tmp_path, rows, table) for table in ("table_4", "table_c1"))
    part, same = partial_average(of_4, "nlp"), partial_average(of_c1, "nlp")
    assert part is not None
    assert same is not None
    assert part.cells["flava_no_init"].paper == pytest.approx((88.60 + 83.21) / 2)
    assert part.cells["flava_no_init"].paper == same.cells["flava_no_init"].paper
    cell = of_4.cells["QQP", "flava_no_init"]
    assert (cell.paper, cell.delta) == (98.61, None)
    assert cell.misplaced is not None and "Table C.1" in cell.misplaced
    assert cell.misplaced.endswith("own is 88.60")
    line = results_table(of_4).partition('<th scope="row">QQP')[2].partition("</tr>")[0]
    cells = line.split("<td")[1:]
    assert "98.61" in cells[4] and "\N{DOUBLE DAGGER}" in cells[4]
    assert [n for n, each in enumerate(cells, 1) if 'class="paper best' in each] == [6]


def test_averages_over_some_rows_take_a_columns_own_cell(tmp_path: Path) -> None:
    part = partial_average(study(tmp_path, NLP), "nlp")
    assert part is not None and part.rows == {"nlp": NLP}
    assert part.cells["flava_dino"].paper == pytest.approx((50.65 + 57.76 + 85.67) / 3)
    assert part.cells["flava_beit"].paper is None  # without its RTE there is none
    # What print gives as an average, and what its cells as printed give, is told as before.
    whole = full_average(study(tmp_path, NLP), "nlp").cells["flava_dino"]
    assert (whole.paper, whole.recomputed) == (78.19, pytest.approx(77.61, abs=0.01))


def test_differences_of_whole_averages_are_the_printed_ones(tmp_path: Path) -> None:
    """From the printed cells, FLAVA's NLP would be 0.6 below that of its BEiT initialisation."""
    found = directions(tmp_path, ALL)
    dino = found["flava_dino", "flava_beit", "nlp"]
    assert len(dino.rows) == dino.n_rows_paper
    assert dino.paper_same == dino.paper_all == pytest.approx(78.19 - 77.40)
    some = directions(tmp_path, NLP)
    assert some["flava_dino", "flava_beit", "nlp"].paper_same is None
    clip = some["flava_dino", "clip_pmd", "nlp"].paper_same
    assert clip == pytest.approx((50.65 + 57.76 + 85.67 - 11.02 - 53.07 - 13.70) / 3)
