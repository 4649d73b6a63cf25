"""Files of printed tables that are malformed are refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from flava.errors import DataError
from flava.report.average_tables import load_lines
from tests.report.fake_study import PAPER


@pytest.mark.parametrize(
    ("name", "change", "says"),
    [
        ("models", ("table_3,1,mim", "table_3,9,mim"), "line '1' is of no column"),
        ("table_3", ("57.46", "many"), "'many' is not a number"),
        ("table_3", ("57.46,", "57.46,,,,"), "do not fit the heading"),
    ],
)
def test_malformed_tables_are_refused(
    tmp_path: Path, name: str, change: tuple[str, str], says: str
) -> None:
    for path in PAPER.glob("*.csv"):
        (tmp_path / path.name).write_text(path.read_text(encoding="utf-8"), encoding="utf-8")
    path = tmp_path / f"{name}.csv"
    path.write_text(path.read_text(encoding="utf-8").replace(*change), encoding="utf-8")
    with pytest.raises(DataError, match=says):
        load_lines(tmp_path, "table_3")
    path.unlink()
    with pytest.raises(DataError, match="missing"):
        load_lines(tmp_path, "table_3")
