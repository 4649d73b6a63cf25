"""Several seeds of published weights are one model: no spread is made of them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from flava.config import ClaimConfig
from flava.jobs import ReportJob
from flava.report import sections
from flava.report.claims import Direction, judge
from flava.report.compare import Comparison, Estimate, load_comparison
from flava.report.directions import directions_table, note, support
from flava.report.figure import figure_columns, figure_table, ratios
from flava.report.figure import note as figure_note
from flava.report.html import number
from flava.report.scores import load_scores
from flava.report.site import write_index
from flava.report.spread import spread_note, spreads
from flava.report.summary import average_estimate
from flava.report.tables import error_note, results_table
from tests.report.fake_study import fake_scores, write_import, write_study

SEEDS = (0, 1, 2)
COLUMNS = {"flava_mm": 7, "flava_dino": 12, "clip_400m": 14}
ROWS = ("DTD", "COLA", "RTE", "SNLI-VE", "Flickr30K TR R@1")
STEADY = ("DTD", "Flickr30K TR R@1")  # of published weights: nothing there is drawn by a seed
TEST_ERROR = 1.25  # of every made-up score


def study(folder: Path, imported: tuple[str, ...]) -> ReportJob:
    lines = fake_scores(ROWS, COLUMNS, SEEDS, root=folder)
    for line in lines:
        if line["column"] in imported and line["row"] in STEADY:
            line["value"] -= 0.5 * line["seed"]
    runs = [f"{column}-s{seed}" for column in imported for seed in SEEDS]
    job = write_study(folder, SEEDS, COLUMNS, lines, imported=runs)
    for column in imported:
        for seed in SEEDS:
            write_import(folder, column, seed)
    return job


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> ReportJob:
    """CLIP is published, two columns are trained."""
    return study(tmp_path_factory.mktemp("mixed"), ("clip_400m",))


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> ReportJob:
    """Nothing is trained."""
    return study(tmp_path_factory.mktemp("released"), tuple(COLUMNS))


def ours_of(comparison: Comparison, row: str, column: str) -> Estimate:
    found = comparison.cells[row, column].ours
    assert found is not None
    return found


def direction(comparison: Comparison, column: str, baseline: str) -> Direction:
    pair = (column, baseline)
    claim = ClaimConfig(claim="x", source="y", pairs=[pair], claimed={"nlp": 1})
    return judge(comparison, "key", claim, pair, "nlp")


@pytest.mark.parametrize("row", ROWS)
def test_a_cell_has_the_test_sets_error(mixed: ReportJob, row: str) -> None:
    """Also where another seed fine-tunes otherwise: that is no spread over trainings."""
    comparison = load_comparison(mixed)
    clip, flava = (ours_of(comparison, row, name) for name in ("clip_400m", "flava_mm"))
    assert clip.std_error == pytest.approx(TEST_ERROR)
    assert (clip.error_source, clip.n_models, set(clip.by_seed)) == ("test set", 1, set(SEEDS))
    assert (len(set(clip.by_seed.values())) == 1) is (row in STEADY)
    assert (flava.error_source, flava.n_models) == ("seeds", len(SEEDS))
    table = results_table(comparison)
    cell = re.findall(rf'data-cell="Table C.1.clip_400m.{re.escape(row)}".*?</td>', table)[0]
    assert f'class="se test"> \N{PLUS-MINUS SIGN}{number(TEST_ERROR, 1)}' in cell
    assert "(test set: all seeds are of one published model)" in cell


def test_an_average_too(mixed: ReportJob) -> None:
    comparison = load_comparison(mixed)
    rows = {"nlp": ("COLA", "RTE")}
    clip, flava = (average_estimate(comparison, n, rows) for n in ("clip_400m", "flava_mm"))
    assert clip is not None and flava is not None
    assert (clip.error_source, flava.error_source) == ("test set", "seeds")
    assert clip.std_error == pytest.approx(TEST_ERROR / 2**0.5)


def test_a_difference_to_it_has_the_trained_columns_error_and_it_is_said(mixed: ReportJob) -> None:
    comparison = load_comparison(mixed)
    found = direction(comparison, "flava_dino", "clip_400m")
    assert found.error_source == "seeds" and found.quantile is not None
    banner = sections.banner(mixed, comparison)
    assert "Published weights (column 14) are one model, whatever the seeds" in banner
    assert "that of a difference to them is the other column" in banner
    assert "fewer than two seeds ran or the weights are published ones" in error_note(comparison)


def test_two_published_models_decide_nothing(released: ReportJob) -> None:
    """Their scores are equal seed by seed: an error of zero would decide any difference."""
    comparison = load_comparison(released)
    found = direction(comparison, "flava_dino", "clip_400m")
    assert (found.word, found.error_source, found.quantile) == ("undecided", "test set", None)
    assert found.std_error == pytest.approx(TEST_ERROR)  # of two averages over two tasks
    assert "undecided: one model each" in directions_table(comparison, [found])
    assert "each column is one published model" in support([found])
    said = note(comparison, [found])
    assert "Each column is one published model: no verdict" in said and "over 3 seeds" not in said
    for text in (sections.banner(released, comparison), error_note(comparison)):
        assert "published" in text and "over 3 seeds" not in text


def test_figure_4_of_two_published_models_has_the_test_sets_errors(released: ReportJob) -> None:
    comparison, columns = load_comparison(released, "table_4"), figure_columns(released.published)
    found = ratios(comparison, columns)
    (dtd,) = (item.ours for item in found if item.row == "DTD")
    assert dtd is not None and dtd.error_source == "test set" and dtd.std_error
    cola = next(item.ours for item in found if item.row == "COLA")
    assert cola is not None and cola.mean == pytest.approx(sum(cola.by_seed.values()) / 3)
    assert "of the test sets: each model is a published one" in figure_note(found)
    assert 'class="se test"' in figure_table(comparison, found, columns)


def test_the_spread_note_leaves_it_out(mixed: ReportJob, released: ReportJob) -> None:
    comparison, scores = load_comparison(mixed), load_scores(mixed.results, mixed.study)
    _, rows = spreads(mixed, comparison, scores)
    assert rows["DTD"][0] == pytest.approx(0.5)  # a seed adds half a point (fake_study)
    assert "over the columns that are trained here" in spread_note(mixed, comparison, scores)
    comparison, scores = load_comparison(released), load_scores(released.results, released.study)
    assert spreads(released, comparison, scores) == ({}, {})
    write_index(released)
    index = (Path(released.output) / "index.html").read_text(encoding="utf-8")
    assert "over 3 seeds" not in index
