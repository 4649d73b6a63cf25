"""Averages keep what is missing; the printed Table C.1 is read whole or refused."""

from __future__ import annotations

import shutil

import pytest

from flava.errors import DataError
from flava.report.averages import average, mean, rows_that_ran
from flava.report.printed_tables import load_table_c1
from flava.report.published import DOMAINS
from tests.report.fake_study import PAPER


def test_shape():
    table = load_table_c1(PAPER)
    assert [column.number for column in table.columns] == list(range(1, 15))
    assert [len(table.row_names(domain)) for domain in DOMAINS] == [8, 22, 11]
    assert len(table.rows) == 41
    assert table.column("mim")["MNLI"] is None
    assert table.column("flava_dino")["ImageNet"] == 75.54
    assert table.column("no such column") == {}


def test_missing_is_not_zero():
    assert mean([]) is None
    assert mean([1.0, None]) is None
    assert mean([0.0, 2.0]) == 1.0
    assert average({"a": 0.0, "b": 2.0}, ("a", "b")) == 1.0
    assert average({"a": 1.0}, ("a", "b")) is None


def test_rows_that_ran_are_common_to_all_columns_with_a_score():
    rows = ("a", "b", "c")
    columns = [{"a": 1.0, "b": None, "c": 0.0}, {"a": 1.0, "b": 2.0, "c": 3.0}, {"b": None}]
    assert rows_that_ran(rows, columns) == ("a", "c")
    assert rows_that_ran(rows, []) == ()
    assert rows_that_ran(rows, [{"x": 1.0}]) == ()


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("73.22", "73,22", "line 2: 18 fields, expected 17"),
        ("73.22", "about 73", "'about 73' is not a number"),
        ("73.22", "nan", "'nan' is not a number"),
        ("MNLI,nlp", "MNLI,language", "unknown domain 'language'"),
        ("COLA,nlp", "MNLI,nlp", "the row 'MNLI' comes twice"),
        ("2:mlm", "mlm", "the heading 'mlm'"),
        ("2:mlm", "2:mim", "the column 'mim' comes twice"),
    ],
)
def test_damaged_table_is_refused(tmp_path, old, new, says):
    shutil.copy(PAPER / "table_c1.csv", tmp_path)
    path = tmp_path / "table_c1.csv"
    path.chmod(0o644)
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(DataError, match=r"table_c1\.csv") as error:
        load_table_c1(tmp_path)
    assert says in str(error.value)


def test_absent_and_empty_tables_are_refused(tmp_path):
    with pytest.raises(DataError, match="missing"):
        load_table_c1(tmp_path)
    (tmp_path / "table_c1.csv").write_text("", encoding="utf-8")
    with pytest.raises(DataError, match="empty"):
        load_table_c1(tmp_path)
