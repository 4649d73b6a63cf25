"""Real test sets whose split is not, or not surely, the paper's: every page says so."""

from __future__ import annotations

from pathlib import Path

from flava.report import sections
from flava.report.compare import Comparison
from flava.report.headline import headline
from flava.report.tables import results_table
from flava.studies import load_study
from tests.report.fake_study import PAPER, compared, fake_job, fake_scores, write_scores
from workflow.reporting import other_splits

ROWS = ("VQAv2", "SNLI-VE")
WHY = "val2014, not test-dev"


def study(folder: Path, stand_in: bool) -> Comparison:
    lines = fake_scores(rows=ROWS, columns={"flava_c": 4}, stand_in=stand_in)
    write_scores(folder / "results.parquet", lines)
    return compared(fake_job(folder, columns={"flava_c": 4}, other_splits={"VQAv2": WHY}))


def test_studies_of_real_sets_name_them() -> None:
    paper = other_splits(load_study(PAPER.parent, "paper"))
    assert set(paper) == {"VQAv2", "Hateful Memes", "Caltech101", "EuroSAT", "CLEVR"}
    assert "test-dev" in paper["VQAv2"]
    assert other_splits(load_study(PAPER.parent, "toy")) == {}  # all are stand-ins


def test_their_difference_is_grey_and_the_page_says_why(tmp_path: Path) -> None:
    comparison = study(tmp_path, stand_in=False)
    table = results_table(comparison)
    after = {row: table.partition(f'<th scope="row">{row}')[2] for row in ROWS}
    lines = {row: rest.partition("</tr>")[0] for row, rest in after.items()}
    assert 'class="delta stand-in"' in lines["VQAv2"] and f"split: {WHY}" in lines["VQAv2"]
    assert 'class="delta up"' in lines["SNLI-VE"] or 'class="delta down"' in lines["SNLI-VE"]
    for said in (sections.stand_in_list(comparison), sections.stand_ins(comparison)):
        assert f"VQAv2: {WHY}" in said
        assert "paper's own test set" not in said
    assert "1 of 2 are not, or not surely, scored on its split" in sections.can_support(comparison)
    assert "delta stand-in" in headline(comparison)


def test_a_stand_in_has_no_split(tmp_path: Path) -> None:
    comparison = study(tmp_path, stand_in=True)
    assert all(row.other_split is None for row in comparison.rows)
    assert WHY not in results_table(comparison)
