"""Where fewer seeds of a column ran than of the study, every page says so at the number."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from flava.report.average_tables import average_table, load_lines, of_lines
from flava.report.claim_file import load_claims
from flava.report.claims import judge_all
from flava.report.compare import Comparison, only
from flava.report.directions import directions_table
from flava.report.figure import figure_columns, figure_table, ratios
from flava.report.headline import headline
from flava.report.methods import methods_table
from flava.report.printed_tables import load_published
from flava.report.sections import not_run
from flava.report.tables import results_table
from tests.report.fake_study import PAPER, compared, fake_job, fake_scores, write_scores

SEEDS = (0, 1, 2)
COLUMNS = {"flava_c_local": 3, "flava_c": 4, "flava_dino": 12, "clip_pmd": 13, "clip_400m": 14}
GONE = {("clip_pmd", 2), ("clip_400m", 1), ("clip_400m", 2)}  # runs
ROWS = load_published(PAPER, "table_c1").row_names()
TEXT = re.compile(r'data-cell="[^|"]*\|([^|"]*)\|[^"]*"(.*?)(?=data-cell|</tr>)', re.DOTALL)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Column 13 with two of three seeds, column 14 with one, column 4 with two on one row."""
    lines = [
        line
        for line in fake_scores(ROWS, COLUMNS, SEEDS)
        if (line["column"], line["seed"]) not in GONE
        and (line["column"], line["seed"], line["row"]) != ("flava_c", 1, "MNIST")
    ]
    where = tmp_path_factory.mktemp("fewer")
    write_scores(where / "results.parquet", lines)
    return where


def comparison_of(folder: Path, table: str) -> Comparison:
    return compared(fake_job(folder, SEEDS, COLUMNS), table)


def seeds_of(page: str) -> dict[str, set[str]]:
    """Column, or pair of columns -> what its numbers say of their seeds; empty: nothing."""
    found: dict[str, set[str]] = {}
    for column, rest in TEXT.findall(page):
        said = re.findall(r'class="fewer"> (\d/\d) seeds', rest)
        found.setdefault(column, set()).update(said or {""})
    return found


def test_averages_say_it(folder: Path) -> None:
    comparison = comparison_of(folder, "table_c1")
    expected = {"flava_c_local": {""}, "flava_dino": {""}, "clip_pmd": {"2/3"}}
    expected |= {"clip_400m": {"1/3"}, "flava_c": {"", "2/3"}}  # vision and macro, not the others
    assert seeds_of(results_table(comparison)) == expected
    assert seeds_of(headline(comparison)) == expected


def test_lines_of_averages_and_differences_say_it(folder: Path) -> None:
    comparison = comparison_of(folder, "table_c1")
    lines = load_lines(PAPER, "table_d1")
    found = seeds_of(average_table(of_lines(comparison, lines), lines))
    assert found["clip_pmd"] == {"2/3"} and found["flava_c_local"] == {""}
    assert found["flava_c_local - clip_pmd"] == {"2/3"}
    pairs = seeds_of(directions_table(comparison, judge_all(comparison, load_claims(PAPER))))
    assert pairs["flava_dino - clip_400m"] == {"1/3"}
    assert pairs["flava_dino - flava_c"] == {"", "2/3"}


def test_table_5_and_figure_4_say_it(folder: Path) -> None:
    assert seeds_of(methods_table(comparison_of(folder, "table_c1"), PAPER))["clip_400m"] == {"1/3"}
    comparison, columns = comparison_of(folder, "table_4"), figure_columns(str(PAPER))
    found = seeds_of(figure_table(comparison, ratios(comparison, columns), columns))
    assert found["flava_dino - clip_400m"] == {"1/3"}


def test_an_average_without_an_error_says_why(folder: Path) -> None:
    """Column 4 lacks one row of one seed: its averages over that row have no standard error."""
    comparison = comparison_of(folder, "table_c1")
    page, why = results_table(comparison), "no standard error: its rows ran with different seeds"
    averages = re.findall(r'data-cell="Table C.1.flava_c.([^"]* Avg[^"]*)" title="([^"]*)"', page)
    assert {row for row, hint in averages if why in hint} == {
        "Vision Avg.",
        "Macro Avg.",
        "Macro Avg. (NLP, vision)",
    }
    said = not_run(comparison)
    assert ": no score of seed 1 on MNIST.</p>" in said
    assert said.count("An average has no standard error where its rows ran with different") == 1
    assert "of seed" not in not_run(only(comparison, ["flava_c_local", "clip_pmd", "clip_400m"]))
