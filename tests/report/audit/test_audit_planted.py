"""A wrong number in any cell of the paper's tables that something else in print tells is found."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flava.report.audit.finding import Finding
from flava.report.printed_tables import load_models
from tests.report.audit.conftest import PARAMS
from tests.report.audit.test_audit import edit, new_findings

PAPER = PARAMS / "paper"
Place = tuple[str, int, int]  # file, line, field
LOST = "11:flava_beit"  # its RTE is lost, so that nothing tells its other NLP scores
SIZES_IN_TEXT = ("CLIP", "SimVLM", "FLAVA (ours)")


def lines_of(file: str) -> list[list[str]]:
    with (PAPER / file).open(newline="", encoding="utf-8") as lines:
        return list(csv.reader(lines))


def filled(file: str, first: int) -> Iterator[Place]:
    """Cells with a number, from a field on."""
    for number, line in enumerate(lines_of(file)[1:], start=1):
        for field in range(first, len(line)):
            if line[field]:
                yield file, number, field


def places(file: str) -> list[Place]:
    """Cells that another cell, an average, a sum or the text tells."""
    lines = lines_of(file)
    if file == "table_1.csv":
        size = lines[0].index("size")
        return [(file, n, size) for n, line in enumerate(lines) if line[0] in SIZES_IN_TEXT]
    if file == "table_2.csv":
        # One source's mean length hardly moves that of all; the total is held against them.
        return [
            place for place in filled(file, 1) if place[2] == 1 or lines[place[1]][0] == "Total"
        ]
    if file == "table_5.csv":
        models = load_models(PAPER, "table_5")
        return [p for p in filled(file, 3) if models[int(lines[p[1]][0])].column]
    if file == "table_c1.csv":
        lost = lines[0].index(LOST)
        nlp = {n for n, line in enumerate(lines) if line[1] == "nlp" or line[0] == "NLP Avg."}
        return [p for p in filled(file, 3) if not (p[1] in nlp and p[2] == lost)]
    return list(filled(file, {"table_4.csv": 1}.get(file, 2)))


FILES = [f"table_{name}.csv" for name in ("1", "2", "3", "4", "5", "c1", "d1")]


def spoilt(text: str, points: Decimal) -> str:
    """Another number of the same form: '400M', '63.5/68.7' (one of the two), '72.49'."""
    if text[-1] in "MB":
        return f"{(1 + abs(points)) * Decimal(text[:-1]):f}{text[-1]}"
    first, slash, second = text.partition("/")
    return f"{Decimal(first) + points:f}{slash}{second}"


def names(file: str, line: list[str], heading: str) -> tuple[str, ...]:
    """One of these must be in what is found."""
    if file in ("table_3.csv", "table_d1.csv"):
        table = {"table_3.csv": "Table 3", "table_d1.csv": "Table D.1"}[file]
        return (f"{table}, line {line[0]} {line[1]}, ", f"{line[1]}: " if line[1] else "of the ")
    return {
        "table_1.csv": (line[0],),
        "table_2.csv": ("Table 2",),
        "table_5.csv": (f"{heading} ",),
    }.get(file, (line[0], heading))


@pytest.mark.parametrize("file", FILES)
@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_a_wrong_number_is_found(
    params: Path, found: list[Finding], file: str, data: st.DataObject
) -> None:
    _, number, field = data.draw(st.sampled_from(places(file)))
    # Parts of Table 2 are rounded to 0.1M each, so that its sum tells no less than a million.
    points = data.draw(st.decimals(1, 20, places=2)) * data.draw(st.sampled_from([-1, 1]))
    path = params / "paper" / file
    line, heading = lines_of(file)[number], lines_of(file)[0][field]

    def change(lines: list[list[str]]) -> None:
        lines[number][field] = spoilt(lines[number][field], points)

    before = path.read_bytes()
    edit(path, change)
    try:
        texts = list(new_findings(params, found))
    finally:
        path.write_bytes(before)
    assert any(name in text for text in texts for name in names(file, line, heading)), texts


def test_the_cells_that_are_tried_are_most_of_the_papers() -> None:
    count = {file: len(places(file)) for file in FILES}
    assert count["table_c1.csv"] == sum(1 for _ in filled("table_c1.csv", 3)) - 9
    assert count["table_4.csv"] == sum(1 for _ in filled("table_4.csv", 1))
    assert (count["table_3.csv"], count["table_d1.csv"]) == (20, 12)
    assert (count["table_5.csv"], count["table_1.csv"], count["table_2.csv"]) == (36, 3, 11)
