"""Joining scores with the paper's table: seeds, errors, reasons, averages."""

from __future__ import annotations

import math
import re

import pytest

from flava.errors import DataError
from flava.report.compare import compare
from flava.report.printed_tables import load_table_c1
from flava.report.scores import load_scores
from flava.report.summary import (
    MACRO_TABLE_C1,
    average_estimate,
    full_average,
    partial_average,
)
from flava.report.tables import results_table
from tests.report.fake_study import (
    NUMBERS,
    PAPER,
    compared,
    fake_job,
    fake_scores,
    write_scores,
)


def comparison_of(tmp_path, lines, seeds=(0,), columns=NUMBERS, **more):
    write_scores(tmp_path / "results.parquet", lines)
    return compared(fake_job(tmp_path, seeds, columns, **more))


def test_cell_holds_ours_the_papers_and_the_difference(tmp_path):
    comparison = comparison_of(tmp_path, fake_scores())
    cell = comparison.cells["ImageNet", "flava_c"]
    assert cell.paper == 74.09
    assert cell.ours.n_seeds == 1
    assert cell.ours.std_error == 1.25
    assert cell.ours.error_source == "test set"
    assert cell.delta == pytest.approx(cell.ours.mean - 74.09)
    row = next(row for row in comparison.rows if row.name == "ImageNet")
    assert (row.stand_in, row.chance) == ("fake: made-up data 0", 10.0)


def test_seeds_give_mean_and_standard_error(tmp_path):
    lines = fake_scores(seeds=(0, 1, 2))
    cell = comparison_of(tmp_path, lines, seeds=(0, 1, 2)).cells["ImageNet", "flava_c"]
    values = [line["value"] for line in lines if line["row"] == "ImageNet"]
    assert cell.ours.mean == pytest.approx(cell.ours.by_seed[1])
    assert cell.ours.std_error == pytest.approx(0.5 / math.sqrt(3))
    assert cell.ours.error_source == "seeds"
    assert set(cell.ours.by_seed.values()) <= set(values)


def test_missing_cells_say_why(tmp_path):
    comparison = comparison_of(tmp_path, fake_scores(drop={("DTD", "flava_c")}))
    cells = comparison.cells
    assert cells["DTD", "flava_c"].why_no_ours == "no score for this column in the study's results"
    assert cells["MNLI", "flava_c"].why_no_ours == "row not in this study"
    assert "initialisation is not built" in cells["DTD", "flava_dino"].why_no_ours
    assert cells["VQAv2", "mim"].why_no_paper == "a dash in the paper"
    assert cells["DTD", "flava_c"].ours is None
    assert cells["DTD", "flava_c"].delta is None


def test_rows_and_columns_of_ones_own(tmp_path):
    """A new ablation and a row beyond the paper's appear; averages do not take the row in."""
    columns = NUMBERS | {"mine": 20}
    rows = ("DTD", "ImageNet zero-shot")
    lines = fake_scores(rows=rows, columns=columns)
    comparison = comparison_of(tmp_path, lines, columns=columns)
    assert [row.name for row in comparison.extra_rows] == ["ImageNet zero-shot"]
    mine = comparison.cells["DTD", "mine"]
    assert mine.ours is not None
    assert mine.why_no_paper == "the paper has no such column"
    extra = comparison.cells["ImageNet zero-shot", "flava_c"]
    assert extra.why_no_paper == "the paper's Table C.1 has no such row"
    assert "ImageNet zero-shot" not in comparison.scores("flava_c")
    assert [column.name for column in comparison.columns][-1] == "mine"


def all_rows():
    return load_table_c1(PAPER).row_names()


def test_full_average_needs_every_row(tmp_path):
    whole = comparison_of(tmp_path, fake_scores(rows=all_rows()))
    assert full_average(whole, "nlp").cells["flava_c"].ours is not None
    assert partial_average(whole, "nlp") is None
    assert full_average(whole, "macro").cells["mim"].ours is None

    one_less = comparison_of(tmp_path, fake_scores(rows=all_rows(), drop={("RTE", "flava_c")}))
    for key in ("nlp", "macro", MACRO_TABLE_C1):
        cell = full_average(one_less, key).cells["flava_c"]
        assert cell.ours is None
        assert "RTE" in cell.why_no_ours
        assert full_average(one_less, key).cells["flava_mm"].ours is not None
    assert full_average(one_less, "vision").cells["flava_c"].ours is not None
    part = partial_average(one_less, "nlp")
    assert (part.k, part.n_rows) == (7, 8)


def test_partial_average_is_held_against_the_paper_over_the_same_rows(tmp_path):
    comparison = comparison_of(tmp_path, fake_scores())
    part = partial_average(comparison, "nlp")
    assert part.rows == {"nlp": ("COLA", "SST-2", "RTE", "STS-B")}
    cell = part.cells["flava_c"]
    assert cell.paper == pytest.approx((17.58 + 86.47 + 51.99 + 57.28) / 4)
    assert cell.delta == pytest.approx(cell.ours.mean - cell.paper)
    assert part.cells["mim"].ours is None
    assert full_average(comparison, "nlp").cells["flava_c"].ours is None


def test_printed_averages_that_do_not_follow_are_marked(tmp_path):
    comparison = comparison_of(tmp_path, fake_scores())
    cells = full_average(comparison, "nlp").cells
    assert [name for name, cell in cells.items() if cell.paper_differs] == [
        "flava_beit",
        "flava_dino",
        "clip_pmd",
    ]
    assert cells["flava_dino"].paper == 78.19
    assert cells["flava_dino"].recomputed == pytest.approx(77.61, abs=0.01)


def test_a_mean_of_printed_averages_is_not_called_printed(tmp_path):
    """Table C.1 prints the mean of two domains; Table 4 that of three."""
    lines = fake_scores(rows=("COLA", "DTD", "VQAv2"))
    table = results_table(comparison_of(tmp_path, lines))
    marks = re.findall(r'title="([^"]*own cells give[^"]*)"', table)
    derived = [mark for mark in marks if mark.startswith("from the printed averages;")]
    assert len(derived) == 3  # of columns 11, 12 and 13, whose NLP average it takes in
    assert all(mark.startswith("printed;") for mark in marks if mark not in derived)
    table_4 = compared(fake_job(tmp_path), "table_4")
    assert not any(cell.derived for cell in full_average(table_4, "macro").cells.values())


def test_rows_of_one_task_do_not_count_as_independent(tmp_path):
    """Four retrieval rows of one test set: their error does not shrink by averaging."""
    rows = tuple(row for row in all_rows() if row.startswith("Flickr30K"))
    part = partial_average(comparison_of(tmp_path, fake_scores(rows=rows)), "multimodal")
    assert part.cells["flava_c"].ours.std_error == pytest.approx(1.25)
    several = comparison_of(tmp_path, fake_scores(rows=("COLA", "RTE", "STS-B", "SST-2")))
    nlp = partial_average(several, "nlp")
    assert nlp.cells["flava_c"].ours.std_error == pytest.approx(1.25 / 2)


def test_domains_weigh_alike_in_the_error_of_the_macro_average(tmp_path):
    """Three tasks of NLP weigh a ninth each, one of vision and one of both a third."""
    columns, rows = {"flava_c": 4}, ("COLA", "RTE", "SST-2", "DTD", "SNLI-VE")
    lines = fake_scores(rows=rows, columns=columns)
    macro = partial_average(comparison_of(tmp_path, lines, columns=columns), "macro")
    expected = 1.25 * math.sqrt(3 / 9**2 + 2 / 3**2)
    assert macro.cells["flava_c"].ours.std_error == pytest.approx(expected)


def test_rows_of_other_seeds_have_no_error_over_seeds(tmp_path):
    seeds, rows = (0, 1, 2), ("COLA", "RTE")
    lines = fake_scores(rows=rows, seeds=seeds)
    lines = [line for line in lines if (line["row"], line["seed"]) != ("RTE", 2)]
    ours = average_estimate(comparison_of(tmp_path, lines, seeds), "flava_c", {"nlp": rows})
    assert set(ours.by_seed) == {0, 1}
    assert (ours.std_error, ours.error_source) == (None, "none")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"record": ""}, "has no record"),
        ({"value": math.nan}, "not finite"),
        ({"value": None}, "not finite"),
        ({"study": "other"}, "is of study 'other'"),
        (
            {"domain": "language"},
            r"unknown domain 'language'.* Allowed: .* Evaluate that run again",
        ),
        ({"stand_in": "something else"}, "two different"),
        ({"metric": "f1"}, "two different"),
        ({"chance": 3.0}, "two different"),
        ({"seed": 0, "column": "mim"}, r"comes twice .*\. Collect again\."),
    ],
)
def test_bad_scores_are_refused(tmp_path, change, says):
    lines = fake_scores(rows=("DTD",), columns=["mim", "flava_c"])
    lines[1] |= change
    write_scores(tmp_path / "results.parquet", lines)
    with pytest.raises(DataError, match=says):
        load_scores(tmp_path / "results.parquet", "fake")


def test_undeclared_columns_and_seeds_are_refused(tmp_path):
    table, job = load_table_c1(PAPER), fake_job(tmp_path, columns={"mim": 1})
    for columns, seeds, says in ((["flava_c"], (0,), "'flava_c'"), (["mim"], (7,), "seed 7")):
        lines = fake_scores(rows=("DTD",), columns=columns, seeds=seeds)
        write_scores(tmp_path / "results.parquet", lines)
        with pytest.raises(DataError, match=says):
            compare(job, table, load_scores(tmp_path / "results.parquet", "fake"))


def test_absent_damaged_and_foreign_parquet_is_refused(tmp_path):
    path = tmp_path / "results.parquet"
    with pytest.raises(DataError, match="missing"):
        load_scores(path, "fake")
    path.write_bytes(b"PAR1 not really")
    with pytest.raises(DataError, match="not readable parquet"):
        load_scores(path, "fake")
    import pyarrow
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.table({"column": ["a"]}), path)
    with pytest.raises(DataError, match="lacks the column"):
        load_scores(path, "fake")
    path.write_bytes(path.read_bytes().replace(b"column", b"col\xffmn"))
    with pytest.raises(DataError, match="not readable parquet"):
        load_scores(path, "fake")


def test_pandas_writes_missing_numbers_as_nan(tmp_path):
    lines = fake_scores(rows=("DTD",), columns=["mim"])
    lines[0] |= {"std_error": math.nan, "chance": None, "stand_in": ""}
    write_scores(tmp_path / "results.parquet", lines)
    (score,) = load_scores(tmp_path / "results.parquet", "fake")
    assert (score.std_error, score.chance, score.stand_in) == (None, None, None)
