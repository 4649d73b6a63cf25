"""What a study of several seeds says of the errors that a study of one seed shows."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from flava.report.scores import load_scores
from flava.report.site import write_index
from flava.report.spread import spread_note, spreads
from tests.report.fake_study import (
    ROWS,
    compared,
    fake_job,
    fake_scores,
    write_scores,
    write_study,
)

SAYS = "The spread that one seed does not show"
COLUMNS = {"flava_c": 4, "flava_mm": 7}
UNSTEADY = (0.0, 9.0, 3.0)  # points that a seed adds to SNLI-VE of one column


def lines_of(seeds: tuple[int, ...], root: Path | str = "fake"):
    lines = fake_scores(columns=COLUMNS, seeds=seeds, root=root)
    for line in lines:
        if (line["row"], line["column"]) == ("SNLI-VE", "flava_mm"):
            line["value"] += UNSTEADY[line["seed"]]
    return lines


def test_it_is_root_mean_squares_over_columns(tmp_path: Path) -> None:
    seeds = (0, 1, 2)
    write_scores(tmp_path / "results.parquet", lines_of(seeds))
    job = fake_job(tmp_path, seeds, COLUMNS)
    comparison, scores = compared(job), load_scores(job.results, job.study)
    averages, rows = spreads(job, comparison, scores)
    assert set(rows) == set(ROWS)
    sd, error = rows["DTD"]  # a seed adds half a point to every score (fake_study)
    assert (sd, error) == (pytest.approx(0.5), pytest.approx(1.25))
    own = np.array([0, 0.5, 1])
    steady, unsteady = (np.var(own + more, ddof=1) for more in (np.zeros(3), np.array(UNSTEADY)))
    assert rows["SNLI-VE"][0] == pytest.approx(np.sqrt((steady + unsteady) / 2))
    assert averages["NLP"] == (pytest.approx(0.5), pytest.approx(1.25 / np.sqrt(4)))
    note = spread_note(job, comparison, scores)
    assert "NLP 0.50 against 0.6" in note
    assert "Rows: 0.4 times the test set's error in the median; SNLI-VE 2.7 times." in note


def test_errors_are_pooled_as_spreads_are_and_near_rows_are_not_named(tmp_path: Path) -> None:
    seeds = (0, 1, 2)
    lines = fake_scores(rows=("DTD", "RTE"), columns=COLUMNS, seeds=seeds)
    for line in lines:
        if line["row"] == "DTD":
            line["std_error"] = {"flava_c": 1.0, "flava_mm": 2.0}[line["column"]]
        else:
            line["value"] += 1.375 * line["seed"]
    write_scores(tmp_path / "results.parquet", lines)
    job = fake_job(tmp_path, seeds, COLUMNS)
    comparison, scores = compared(job), load_scores(job.results, job.study)
    _, rows = spreads(job, comparison, scores)
    assert rows["DTD"][1] == pytest.approx(np.sqrt((1 + 4) / 2))
    assert rows["RTE"] == (pytest.approx(1.5 * 1.25), pytest.approx(1.25))
    assert "RTE" not in spread_note(job, comparison, scores)


def test_a_column_without_all_seeds_is_left_out(tmp_path: Path) -> None:
    seeds = (0, 1, 2)
    lines = [x for x in lines_of(seeds) if (x["column"], x["seed"]) != ("flava_mm", 2)]
    write_scores(tmp_path / "results.parquet", lines)
    job = fake_job(tmp_path, seeds, COLUMNS)
    _, rows = spreads(job, compared(job), load_scores(job.results, job.study))
    assert rows["SNLI-VE"] == (pytest.approx(0.5), pytest.approx(1.25))


def test_without_scores_there_is_none(tmp_path: Path) -> None:
    write_scores(tmp_path / "results.parquet", [])
    job = fake_job(tmp_path, (0, 1, 2), COLUMNS)
    assert spread_note(job, compared(job), []) == ""


@pytest.mark.parametrize("seeds", [(0,), (0, 1), (0, 1, 2)])
def test_the_index_has_it_from_three_seeds_on(tmp_path: Path, seeds: tuple[int, ...]) -> None:
    job = write_study(tmp_path, seeds, COLUMNS, lines_of(seeds, tmp_path))
    write_index(job)
    page = (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
    content = re.sub(r"\s+", " ", page)
    assert (SAYS in content) is (len(seeds) == 3)
    assert ("one seed ran: the spread over seeds, which can be" in content) is (seeds == (0,))
