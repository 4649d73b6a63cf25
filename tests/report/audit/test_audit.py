"""The audit finds what is wrong in the paper's tables, and what is planted in copies of them."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flava.errors import ConfigError, DataError
from flava.report.audit.finding import Finding
from flava.report.audit.run import KINDS, audit, markdown
from tests.report.audit.conftest import PARAMS


def matching(found: list[Finding], kind: str, where: str) -> Finding:
    """The one finding of a kind at a place."""
    (item,) = [item for item in found if item.kind == kind and where in item.where]
    return item


def test_shifted_row_of_table_c1(found: list[Finding]) -> None:
    item = matching(found, "average", "Table C.1")
    assert "row RTE, from column 11" in item.where
    for number in ("78.17", "77.40", "77.61", "78.19", "46.70", "46.44"):
        assert number in item.problem
    assert "12:flava_dino: 57.76" in item.instead
    assert "13:clip_pmd: 53.07" in item.instead
    assert "implies 51.59" in item.arithmetic


def test_rule_of_the_macro_averages(found: list[Finding]) -> None:
    full = matching(found, "macro", "12:flava_dino")
    assert "mean of NLP, vision." in full.problem
    assert "printed 66.54, mean of three 66.79" in full.arithmetic
    single = matching(found, "macro", "1:mim, 2:mlm")
    assert "a missing one counted as 0" in single.problem
    assert "printed 28.73" in single.arithmetic
    assert "printed 19.15" in matching(found, "macro", "Table 4").arithmetic


def test_headings_of_table_3(found: list[Finding]) -> None:
    items = [item for item in found if item.kind == "heading"]
    assert {item.where for item in items} == {"Table 3, nlp average", "Table 3, vision average"}
    assert all(item.problem.startswith("4 of its numbers") for item in items)
    vision = next(item for item in items if item.where == "Table 3, vision average")
    assert vision.instead == (
        "The vision averages of Table C.1: these rows print nlp averages there."
    )


@pytest.mark.parametrize(
    ("column", "numbers"),
    [
        ("14:", ("VQAv2 55.3 and 54.83", "SNLI-VE 74.0 and 74.27", "HM 63.4 and 63.93")),
        ("13:", ("MRPC (acc/F1) 63.5/68.7 (mean 66.10) and 68.74",)),
        ("12:", ("VQAv2 72.8 and 72.49", "SNLI-VE 79.0 and 78.89", "HM 76.7 and 76.09")),
    ],
)
def test_numbers_of_table_5(found: list[Finding], column: str, numbers: tuple[str, ...]) -> None:
    """RTE is none of them: the row is shifted in Table C.1, and put right before."""
    item = matching(found, "another number", f"column {column}")
    assert item.where.startswith("Table 5 and Table C.1")
    assert item.arithmetic == "; ".join(numbers) + "."


def test_numbers_of_the_same_model(found: list[Finding]) -> None:
    item = matching(found, "another number", "row QQP")
    assert "98.61" in item.problem
    assert item.instead.startswith("88.60")
    digits = matching(found, "last digit", "Table 4 and Table C.1")
    for place in ("MNLI, 2", "MNLI, 6", "MNLI, 7", "MRPC, 5", "QQP, 4", "QQP, 7", "nlp average, 8"):
        assert place in digits.arithmetic
    assert digits.problem.startswith("7 ")


@pytest.mark.parametrize(
    ("says", "number"),
    [
        ("by 1.65 points", "+1.55."),
        ("slight boost in multimodal", "-0.17."),
        ("vision average by 0.3", "+0.21."),
        ("raise FLAVA on all tasks", "37 of 41"),
        ("improvement in all tasks", "20 to 37 of 41 rows rise"),
        ("largely outperforms", "60 of 66"),
        ("orders of magnitude", "ALIGN 25.7 times"),
        ("STS-B by Matthews'", "CoLA: matthews"),
    ],
)
def test_statements_that_do_not_hold(found: list[Finding], says: str, number: str) -> None:
    (item,) = [item for item in found if item.kind == "statement" and says in item.problem]
    assert number in item.instead


def test_nothing_else_is_found(found: list[Finding]) -> None:
    counts = {kind: sum(item.kind == kind for item in found) for kind in KINDS}
    assert counts == {
        "average": 1,
        "macro": 3,
        "heading": 2,
        "difference": 0,
        "another number": 4,
        "last digit": 2,
        "total": 1,
        "statement": 8,
    }
    assert markdown(found).count("Use instead") == len(found)


Edit = Callable[[list[list[str]]], None]


def edit(path: Path, change: Edit) -> None:
    """Rewrites a CSV file."""
    with path.open(newline="", encoding="utf-8") as file:
        lines = list(csv.reader(file))
    change(lines)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(lines)


def new_findings(params: Path, found: list[Finding]) -> Iterator[str]:
    """Text of what the spoilt copy has and the paper has not."""
    known = {(item.where, item.problem, item.arithmetic) for item in found}
    for item in audit(params):
        if (item.where, item.problem, item.arithmetic) not in known:
            yield f"{item.where} {item.problem} {item.arithmetic}"


@pytest.mark.parametrize("row", ["QNLI", "FER 2013", "VQAv2"])
@pytest.mark.parametrize("first", [3, 6, 9])
def test_a_shifted_row_is_found(params: Path, found: list[Finding], row: str, first: int) -> None:
    def change(lines: list[list[str]]) -> None:
        rte = next(line for line in lines if line[0] == "RTE")
        rte[14:16] = ["57.76", "53.07"]  # the paper's own shift is put right
        rte[13] = "51.59"
        line = next(line for line in lines if line[0] == row)
        line[2 + first : -1] = line[3 + first :]

    edit(params / "paper" / "table_c1.csv", change)
    texts = [text for text in new_findings(params, found) if f"row {row}, from column" in text]
    assert len(texts) == 1
    assert f"from column {first}:" in texts[0]


@pytest.mark.parametrize(
    ("file", "old", "new", "sign"),
    [
        ("table_4.csv", "SST-2,,87.96", "SST-2,,78.96", "SST-2"),
        # Table C.1's own row is shifted further right, and has a next 51.99.
        ("table_4.csv", "RTE,,50.54,51.99", "RTE,,50.54,52.99", "row RTE, 3:FLAVA_C"),
        ("table_d1.csv", "76.12,46.44", "46.44,76.12", "Table D.1"),
        ("table_d1.csv", "4.4,6.99", "4.4,7.99", "difference of the macro averages 7.99"),
        ("table_3.csv", "75.85", "76.85", "line 6 FLAVA, macro average 76.85"),
        ("table_3.csv", "57.46,", "58.46,", "line 1 MIM, vision average 58.46"),
        ("table_5.csv", "50.7,90.9", "51.7,90.9", "CoLA 51.7 and 50.65"),
        ("table_1.csv", "PMD (Tbl. 2),70M", "PMD (Tbl. 2),80M", "80M pairs are printed, 70M in"),
        ("table_1.csv", "WebImageText,400M", "WebImageText,500M", "CLIP: 400M is stated"),
        ("table_2.csv", "YFCC100M (filtered),30.3", "YFCC100M (filtered),33.3", "Table 2"),
        ("table_c1.csv", "69.55", "68.55", "3:flava_c_local"),
        ("statements.yaml", 'points: "2.86"', 'points: "3.86"', "multimodal average by 2.86"),
        ("statements.yaml", "times: 6", "times: 60", "six times smaller"),
    ],
)
def test_other_planted_errors_are_found(
    params: Path, found: list[Finding], file: str, old: str, new: str, sign: str
) -> None:
    path = params / "paper" / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    assert any(sign in item for item in new_findings(params, found))


def test_bad_input_is_refused(params: Path) -> None:
    edit(params / "paper" / "table_4.csv", lambda lines: lines[3].pop())
    with pytest.raises(DataError, match=r"table_4.csv, line 4: 8 fields, expected 9"):
        audit(params)
    shutil.copy(PARAMS / "paper" / "table_4.csv", params / "paper")
    statements = params / "paper" / "statements.yaml"
    statements.write_text(statements.read_text().replace("first: flava_mm,", "first: flava_nm,"))
    with pytest.raises(ConfigError, match="flava_mm"):
        audit(params)
