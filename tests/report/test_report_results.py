"""Results come from results alone: none is typed in, and a deleted one is missing everywhere."""

from __future__ import annotations

import csv
import re
import subprocess
import sys
from pathlib import Path

import pytest

from flava.report.average_tables import average_table, load_lines
from flava.report.printed_tables import load_published
from flava.report.tables import results_table
from tests.report.fake_study import (
    NUMBERS,
    PAPER,
    REPO,
    compared,
    fake_job,
    fake_scores,
    write_scores,
    write_study,
)

SOURCES = sorted([*(REPO / "notebooks").glob("*.py"), *(REPO / "flava" / "report").rglob("*.py")])
NUMBER = re.compile(r"(?<![\w.])\d{1,3}\.\d{1,2}(?![\w.])")
LEAST = 5  # percent: below it, sizes and probabilities of the code look like scores
COLUMNS = {**NUMBERS, "flava_dino": 12, "clip_400m": 14}
ROWS = load_published(PAPER, "table_c1").row_names()


def numbers(text: str) -> set[str]:
    return {number for number in NUMBER.findall(text) if float(number) >= LEAST}


def printed() -> set[str]:
    """Every number with decimals that the paper's tables of results print."""
    found = set()
    for path in PAPER.glob("table_*.csv"):
        if path.stem not in ("table_a1", "table_a2"):
            with path.open(encoding="utf-8") as file:
                found |= numbers(" ".join(cell for line in csv.reader(file) for cell in line))
    return found


def test_no_result_is_typed_in() -> None:
    known = printed()
    assert len(known) > 500
    typed = {path.name: numbers(path.read_text()) & known for path in SOURCES}
    assert {name: found for name, found in typed.items() if found} == {}


def test_a_typed_in_result_would_be_found() -> None:
    assert numbers('HTML("<td>79.44</td>")') & printed() == {"79.44"}


@pytest.mark.parametrize(
    "path", sorted((REPO / "notebooks").glob("*.py")), ids=lambda path: path.stem
)
def test_notebooks_hold_no_numbers(path: Path) -> None:
    """No decimal number, and no number beyond its own table's name."""
    assert not re.search(r"\d\.\d\d|\b\d{2,}\b", path.read_text(encoding="utf-8"))


def cells(content: str) -> dict[tuple[str, int], str]:
    """(row and what it is over, position of the column) -> text of the cell."""
    found = {}
    for line in re.findall(r"<tr[^>]*><th scope=.row.>.*?</tr>", content, re.DOTALL):
        head, *rest = re.split(r"<td[^>]*>", line)
        name = re.sub(r"<[^>]*>", " ", head).strip()
        for position, cell in enumerate(rest):
            found[name, position] = re.sub(r"<[^>]*>", " ", cell)
    return found


def missing(content: str) -> set[tuple[str, int]]:
    return {where for where, cell in cells(content).items() if "not run" in cell}


def lines_without(*drop: tuple[str, str]) -> list[dict[str, object]]:
    return fake_scores(rows=ROWS, columns=COLUMNS, drop=drop)


def added(tmp_path: Path, table: str, drop: tuple[str, str]) -> set[str]:
    """Rows with a new "not run", all of them in the column of the deleted result."""
    shown = []
    for lines in (lines_without(), lines_without(drop)):
        write_scores(tmp_path / "results.parquet", lines)
        comparison = compared(fake_job(tmp_path, columns=COLUMNS), table)
        shown.append(results_table(comparison))
    before, after = (missing(content) for content in shown)
    assert before <= after
    new = {where for where in after - before if where in cells(shown[0])}
    names = [column.name for column in comparison.columns]
    assert {position for _, position in new} == {names.index(drop[1])}
    return {" ".join(name.split()) for name, _ in new}


@pytest.mark.parametrize("table", ["table_c1", "table_4"])
def test_a_deleted_result_is_missing_where_it_was_and_in_its_averages(
    tmp_path: Path, table: str
) -> None:
    found = added(tmp_path, table, ("SST-2", "flava_mm"))
    cell = {name for name in found if name.startswith("SST-2")}
    assert len(cell) == 1
    averages = {"NLP average all 8 rows", "Macro average mean of three domains, all 41 rows"}
    if table == "table_c1":
        averages.add("Macro, Table C.1's own mean of NLP and vision, all 30 rows")
    assert found - cell == averages


def test_the_other_columns_are_averaged_over_the_rows_that_all_have(tmp_path: Path) -> None:
    write_scores(tmp_path / "results.parquet", lines_without(("SST-2", "flava_mm")))
    content = results_table(compared(fake_job(tmp_path, columns=COLUMNS)))
    rows = {" ".join(name.split()) for name, _ in cells(content)}
    assert "NLP average over 7 of 8 rows" in rows
    assert "Vision average all 22 rows" in rows
    assert not any("Vision average over" in row for row in rows)


def test_averages_of_table_3_lack_a_deleted_result(tmp_path: Path) -> None:
    write_scores(tmp_path / "results.parquet", lines_without(("SST-2", "flava_mm")))
    comparison = compared(fake_job(tmp_path, columns=COLUMNS), "table_4")
    content = average_table(comparison, load_lines(PAPER, "table_3"))
    first, rest = content.split("Over the rows that ran")
    assert {(name.split()[0], position) for name, position in missing(first)} == {
        ("4", 1),  # FLAVA_MM: NLP and macro, not vision and multimodal
        ("4", 3),
    }
    assert "7 of 8 rows" in rest and "40 of 41 rows" in rest


def test_a_page_rendered_again_without_a_result_says_so(tmp_path: Path) -> None:
    """The whole way: results.parquet, notebook, page."""
    pages = []
    for drop in ((), ("SST-2", "flava_mm")):
        lines = fake_scores(rows=ROWS, columns=COLUMNS, drop={drop} if drop else (), root=tmp_path)
        write_study(tmp_path, columns=COLUMNS, lines=lines)
        output = tmp_path / "report" / "table_3.html"
        command = [sys.executable, "-m", "flava.report.render", "--output", str(output)]
        command += ["--config", str(tmp_path / "report.json")]
        command += ["--notebook", str(REPO / "notebooks" / "table_3.py")]
        done = subprocess.run(command, capture_output=True, text=True, cwd=REPO, check=False)
        assert done.returncode == 0, done.stderr
        pages.append(output.read_text(encoding="utf-8"))
    assert missing(pages[0]) == set()
    assert len(missing(pages[1])) == 2
