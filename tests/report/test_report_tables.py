"""Tables 1 to 5, A.1, A.2, D.1 and the pages of columns: what they compute, what they mark."""

from __future__ import annotations

import copy
import re
from dataclasses import replace
from pathlib import Path

import pytest

from flava.errors import ConfigError, DataError
from flava.io import sha256_file
from flava.jobs import ReportSettings, load_job
from flava.records import DataUse
from flava.report.audit.printed import Printed
from flava.report.average_tables import average_table, load_lines
from flava.report.column import configuration, info_of, run_differences
from flava.report.compare import load_comparison
from flava.report.corpora import pairs_table
from flava.report.marks import best_marks
from flava.report.methods import methods_table, pair_mean
from flava.report.notebook import Rendering, render_all
from flava.report.printed_tables import load_published, read_table
from flava.report.runs import Source, load_runs, load_sources
from flava.report.settings import sampling_table, settings_table
from flava.report.signs import column_signs, signs_table, study_signs
from flava.report.summary import full_average
from flava.report.tables import results_table
from flava.studies import load_study
from tests.report.fake_study import (
    NUMBERS,
    PAPER,
    REPO,
    compared,
    fake_job,
    fake_scores,
    write_import,
    write_scores,
    write_study,
)
from workflow.reporting import report_settings

COLUMNS = {**NUMBERS, "flava_dino": 12, "clip_400m": 14}
ROWS = load_published(PAPER, "table_c1").row_names()
DASH = "\N{EN DASH}"
DAGGER = "\N{DOUBLE DAGGER}"


def plain(content: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", content))


def line_of(content: str, start: str) -> list[str]:
    """Texts of the cells of the row whose heading starts so."""
    for row in re.findall(r"<tr[^>]*>.*?</tr>", content, re.DOTALL):
        first, *cells = (plain(part).strip() for part in re.split(r"<td[^>]*>", row))
        if first.startswith(start):
            return cells
    raise AssertionError(start)


def all_rows(tmp_path: Path, table: str, seeds=(0,)):
    lines = fake_scores(rows=ROWS, columns=COLUMNS, seeds=seeds)
    write_scores(tmp_path / "results.parquet", lines)
    return compared(fake_job(tmp_path, seeds, COLUMNS), table)


def test_table_4_is_the_printed_one() -> None:
    table = load_published(PAPER, "table_4")
    assert [column.number for column in table.columns] == list(range(1, 9))
    assert len(table.rows) == 41 and "clip_400m" not in table.public
    assert table.printed_averages["macro"]["flava_dino"] == pytest.approx(75.85)
    assert {row.name for row in table.rows} == set(ROWS)
    with pytest.raises(ConfigError, match="unknown table 'table_9'"):
        load_published(PAPER, "table_9")


def test_marks_are_the_captions_rule() -> None:
    values = {"a": 80.204, "b": 75.0, "c": 80.196, "d": None}
    assert best_marks(values, {"b", "d"}) == {"a": "best", "c": "best"}
    assert best_marks(values, {"a", "b"}) == {"a": "best best-public", "c": "best"}
    assert best_marks({"a": 1.0, "b": None}, {"a"}) == {}


@pytest.mark.parametrize(
    ("table", "marked"),
    [
        (
            "table_c1",
            {"nlp": [11, 12, 13], "macro": [11, 12, 13], "macro_table_c1": [1, 2, 11, 12, 13]},
        ),
        ("table_4", {"nlp": [10], "macro": [1, 2, 10]}),
    ],
)
def test_averages_that_do_not_follow_are_those_of_the_documentation(
    tmp_path: Path, table: str, marked: dict[str, list[int]]
) -> None:
    """docs/report.md, under Averages, counts columns as Table C.1 does."""
    comparison = all_rows(tmp_path, table)
    number = {column.name: column.number for column in load_published(PAPER, "table_c1").columns}
    found = {}
    for key in ("nlp", "vision", "multimodal", "macro", "macro_table_c1"):
        if key != "macro_table_c1" or table == "table_c1":
            cells = full_average(comparison, key).cells
            found[key] = sorted(number[n] for n, cell in cells.items() if cell.paper_differs)
    assert {key: columns for key, columns in found.items() if columns} == marked
    expected = sum(map(len, marked.values())) + len(comparison.published.misplaced)
    assert results_table(comparison).count(f">{DAGGER}<") == expected


def test_table_3_names_the_numbers_under_another_heading(tmp_path: Path) -> None:
    content = average_table(all_rows(tmp_path, "table_4"), load_lines(PAPER, "table_3"))
    wrong = {
        (row, cell)
        for row in range(1, 7)
        for cell, text in enumerate(line_of(content, f"{row} "))
        if DAGGER in text
    }
    swapped = {(row, cell) for row in range(3, 7) for cell in (0, 1)}
    # Beside them the means of one domain. No macro average is wrong that holds without a misprint:
    # that of line 5, whose QQP Table 4 prints as 98.61.
    assert wrong == swapped | {(1, 3), (2, 3)}
    # The difference is to the number that belongs there.
    ours = float(line_of(content, "6 FLAVA")[0].split()[0])
    right = load_published(PAPER, "table_4").printed_averages["vision"]["flava_dino"]
    assert right is not None
    shown = re.search(r"[+\N{MINUS SIGN}]\d+\.\d\d", line_of(content, "6 FLAVA")[0])
    assert shown is not None
    assert float(shown[0].replace("\N{MINUS SIGN}", "-")) == pytest.approx(ours - right, abs=0.011)


def test_differences_of_a_column_that_stands_in_are_grey(tmp_path: Path) -> None:
    lines = fake_scores(rows=ROWS, columns=COLUMNS, stand_in=False)
    write_scores(tmp_path / "results.parquet", lines)
    job = fake_job(tmp_path, columns=COLUMNS, stand_ins={"flava_c": "another model"})
    content = average_table(compared(job, "table_4"), load_lines(PAPER, "table_3"))
    grey = [row.count('"delta stand-in"') for row in content.split("<tr>")[2:]]
    coloured = [len(re.findall('"delta (?:up|down)"', row)) for row in content.split("<tr>")[2:]]
    assert grey[2] == 4 and sum(grey) == 4 and coloured[2] == 0 and coloured[3] == 4


def test_prints_disagree_from_two_of_their_steps_on(tmp_path: Path) -> None:
    comparison = all_rows(tmp_path, "table_c1")
    line, *others = load_lines(PAPER, "table_d1")
    paper = full_average(comparison, "vision").cells[str(line.column)].paper
    assert paper is not None
    for steps in (1, 2):
        printed = {"vision": Printed(paper + steps * 0.01, 0.01)}
        changed = replace(line, values={**line.values, **printed})
        assert (DAGGER in average_table(comparison, [changed, *others])) == (steps == 2)


def test_table_d1_has_the_difference_over_seeds(tmp_path: Path) -> None:
    content = average_table(
        all_rows(tmp_path, "table_c1", (0, 1, 2)), load_lines(PAPER, "table_d1")
    )
    first, second = (line_of(content, f"{number} ")[0] for number in (1, 2))
    difference = line_of(content, "difference")[0]
    expected = float(second.split()[0]) - float(first.split()[0])
    value = float(difference.split()[0].replace("\N{MINUS SIGN}", "-"))
    assert value == pytest.approx(expected, abs=0.011)
    assert "\N{PLUS-MINUS SIGN}" in difference and "paper 0.00" in difference
    assert DAGGER not in content  # column 13's averages follow once its RTE is put right


def test_table_d1_has_the_difference_over_the_rows_that_ran(tmp_path: Path) -> None:
    """Where a row is missing, the line that the table is about would be "not run" alone."""
    lines = fake_scores(rows=ROWS, columns=COLUMNS, drop={("RTE", "clip_pmd")})
    write_scores(tmp_path / "results.parquet", lines)
    comparison = compared(fake_job(tmp_path, columns=COLUMNS))
    content = average_table(comparison, load_lines(PAPER, "table_d1"))
    whole, _, part = content.partition("Over the rows that ran")
    assert line_of(whole, "difference")[1].startswith("not run")
    averages = [line_of(part, f"{number} ") for number in (13, 3)]  # lines 1 and 2
    for cell, text in enumerate(line_of(part, "difference")):
        first, second = (float(line[cell].split()[0]) for line in averages)
        assert float(text.split()[0].replace("\N{MINUS SIGN}", "-")) == pytest.approx(
            second - first, abs=0.011
        )
        papers = [float(re.findall(r"paper (\S+)", line[cell])[0]) for line in averages]
        printed = re.findall(r"paper (\S+)", text)[0].replace("\N{MINUS SIGN}", "-")
        assert float(printed) == pytest.approx(papers[1] - papers[0], abs=0.011)


def test_table_5_has_ours_on_the_lines_of_our_columns(tmp_path: Path) -> None:
    content = methods_table(all_rows(tmp_path, "table_c1"), PAPER)
    assert "77.9" in line_of(content, "3 SimVLM")[0] and "data-cell" in content
    comparison = all_rows(tmp_path, "table_c1")
    ours = comparison.cells["Hateful Memes", "flava_dino"].ours
    assert ours is not None
    assert line_of(content, "11 FLAVA")[2].startswith(f"{ours.mean:.2f}")
    row = next(r for r in re.findall(r"<tr>.*?</tr>", content) if "3 SimVLM" in r)
    assert 'class="paper best">77.9<' in row
    row = next(r for r in re.findall(r"<tr>.*?</tr>", content) if "11 FLAVA" in r)
    assert (
        'class="paper best-public">72.8<' in row and 'class="paper best best-public">76.7<' in row
    )
    row = next(r for r in re.findall(r"<tr>.*?</tr>", content) if "1 BERT" in r)
    assert 'best"' not in row.replace("best-public", "")
    mean = pair_mean("81.4/86.9", "here")
    assert mean is not None and mean.value == pytest.approx(84.15)
    assert pair_mean("", "here") is None and pair_mean("90.6/\N{EN DASH}", "here") is None
    with pytest.raises(DataError, match="here: 'about 90' is not a number"):
        pair_mean("about 90", "here")


def test_table_1_computes_what_our_columns_are(tmp_path: Path) -> None:
    lines = fake_scores(columns=COLUMNS, root=tmp_path)
    job = write_study(tmp_path, columns=COLUMNS, lines=lines)
    comparison = load_comparison(job)
    settings = load_job(ReportSettings, job.settings)
    content = signs_table(comparison, settings, load_runs(job, comparison.records), PAPER)
    yes, no = "\N{CHECK MARK}", "\N{EN DASH}"
    assert line_of(content, "SimVLM")[5:] == ["PrefixLM", "CLM", f"{yes} partly", yes, yes, yes]
    assert line_of(content, "1 MIM")[3:] == [no, no, no, "MIM", yes, no, no, no]
    assert line_of(content, "2 MLM")[3:] == [no, no, no, "MLM", no, no, no, yes]
    assert line_of(content, "10 FLAVA")[3:] == [yes, yes, "MMM", "MLM+MIM", yes, yes, yes, yes]
    assert "20,000 pairs" in line_of(content, "10 FLAVA")[2]


def test_table_1_is_of_a_columns_first_run_and_of_what_a_source_first_counts(
    tmp_path: Path,
) -> None:
    job = write_study(tmp_path, (0, 1), columns={"flava_c": 4})
    comparison, settings = load_comparison(job), load_job(ReportSettings, job.settings)
    first, last = load_runs(job, {})
    ours = study_signs(comparison, settings, (first, replace(last, corpora={})))["flava_c"]
    assert ours["size"].shown == "20,000 pairs, 20,000 images, 20,000 texts"
    both = [Source("pairs", {"counts": {"images": 5, "pairs": 20}}, "m.json")]
    column = settings.columns["flava_c"]
    assert column_signs(comparison, "flava_c", column, first, both)["size"].shown == "20 pairs"


def test_table_2_is_of_the_manifests() -> None:
    def source(name: str, pairs: int, words: float, stands: str | None = None) -> Source:
        facts = {"name": name, "counts": {"pairs": pairs}, "mean_words": words, "licence": "x"}
        return Source("pairs", {**facts, "stand_in_for": stands}, "m.json")

    sources = [source("COCO", 300, 10.0), source("mine", 100, 20.0, "PMD")]
    content = pairs_table(
        [*sources, Source("large_pairs", {"counts": {"pairs": 9}}, "m.json")], PAPER
    )
    assert line_of(content, "COCO")[0].startswith("300 paper 0.9M, ours 0.0333 %")
    assert line_of(content, "SBU")[0].startswith("not in this study paper 1.0M")
    assert line_of(content, "mine")[0] == "100 not in the paper"
    assert line_of(content, "Total")[0].startswith("400 paper 70M")
    assert line_of(content, "Total")[1] == "12.5 paper 12.1 +0.4"


def test_corpora_of_the_same_kind_are_told_apart(tmp_path: Path) -> None:
    """The stand-in for the released CLIP reads other pairs than the columns do."""
    job = write_study(tmp_path, columns={"mim": 1, "mlm": 2})
    runs = list(load_runs(job, {}))
    other = tmp_path / "data" / "large_pairs"
    other.mkdir()
    manifest = (tmp_path / "data" / "pairs" / "manifest.json").read_text()
    (other / "manifest.json").write_text(manifest.replace("20000", "80000"))
    named = DataUse(sha256=sha256_file(other / "manifest.json"), counts={})
    record = runs[1].record.model_copy(update={"manifests": {f"{other}/manifest.json": named}})
    runs[1] = replace(runs[1], corpora={"pairs": str(other)}, record=record)
    counts = {s.corpus: s.facts["counts"].get("pairs") for s in load_sources(runs)}
    assert counts == {"pairs": 20000, "images": None, "texts": None, "large_pairs": 80000}


def test_settings_of_the_papers_study_deviate_nowhere() -> None:
    study = report_settings(load_study(PAPER.parent, "paper")).study
    for name, count in (("table_a1", 29), ("table_a2", 3), ("section_b1", 5)):
        content = settings_table(study, PAPER, name)
        assert f"{count} settings: {count} as in the paper." in content
        assert "differs" not in content


def test_every_deviation_is_marked() -> None:
    """Each setting of the table, changed, is marked and counted."""
    settings = report_settings(load_study(PAPER.parent, "paper"))
    for line in read_table(PAPER, "table_a1"):
        study = copy.deepcopy(settings.study)
        *path, last = line["key"].split(".")
        place = study
        for part in path:
            place = place[part]
        place[last] = "linear" if isinstance(place[last], str) else place[last] + 1
        content = settings_table(study, PAPER, "table_a1")
        same_key = sum(other["key"] == line["key"] for other in read_table(PAPER, "table_a1"))
        assert f"{29 - same_key} as in the paper, {same_key} differ" in content
        assert content.count("\N{NOT EQUAL TO} differs") == same_key


def test_settings_that_a_study_lacks_are_said() -> None:
    study = report_settings(load_study(PAPER.parent, "toy")).study
    assert "differ" in settings_table(study, PAPER, "table_a1")
    del study["inits"]
    assert "not in this study" in settings_table(study, PAPER, "section_b1")


def test_sampling_is_over_what_a_column_uses(tmp_path: Path) -> None:
    settings = report_settings(load_study(PAPER.parent, "paper"))
    content = sampling_table(settings, all_rows(tmp_path, "table_c1"), ())
    assert line_of(content, "1 MIM") == ["would be 1.00 pair_images", DASH, DASH]
    assert line_of(content, "12 FLAVA")[0] == "would be 0.70 pairs"
    assert line_of(content, "14 CLIP") == ["not pretrained: published weights", DASH, DASH]


def test_sampling_of_what_did_not_run_is_told_apart(tmp_path: Path) -> None:
    job = write_study(tmp_path, columns={"mim": 1})
    settings, runs = load_job(ReportSettings, job.settings), load_runs(job, {})
    content = sampling_table(settings, load_comparison(job), runs)
    lines = {int(plain(x).split()[0]): x for x in re.findall(r"<th scope=.row.*?</tr>", content)}
    assert sorted(lines) == list(range(1, 15))
    for number, line in lines.items():
        assert ("did not run" in line) is (1 < number < 14), number
        assert line.count("would be ") == line.count("data-cell") * (number > 1), number
    assert line_of(content, "14 CLIP") == ["not run", DASH, DASH]  # it is none of this study's


def test_sampling_of_a_stand_in_is_that_of_its_run(tmp_path: Path) -> None:
    """Its column's entry has no data: the paper's model was not pretrained there."""
    job = write_study(tmp_path, columns={"mim": 1, "clip_400m": 14})
    settings, comparison = load_job(ReportSettings, job.settings), load_comparison(job)
    study = load_study(PAPER.parent, "toy")
    folder = tmp_path / "large_pairs"
    runs = [
        replace(
            run,
            config=study.run_config(run.column, 0).model_dump(mode="json"),
            corpora={"pairs": str(folder if run.column == "clip_400m" else tmp_path / "pairs")},
        )
        for run in load_runs(job, {})
    ]
    content = sampling_table(settings, comparison, runs)
    assert line_of(content, "14 CLIP") == ["1.00 pairs of the corpus large_pairs", DASH, DASH]
    assert line_of(content, "1 MIM") == ["1.00 pair_images", DASH, DASH]
    stand_in = compared(job.model_copy(update={"stand_ins": {"clip_400m": "more pairs"}}))
    content = sampling_table(settings, stand_in, runs[:1])
    assert line_of(content, "14 CLIP") == ["not run", DASH, DASH]
    write_import(tmp_path, "clip_400m", 0)
    job = job.model_copy(update={"imported": ["clip_400m-s0"]})
    content = sampling_table(settings, comparison, load_runs(job, {}))
    assert line_of(content, "14 CLIP") == ["not pretrained: published weights", DASH, DASH]


def test_column_page_shows_the_difference_from_its_base(tmp_path: Path) -> None:
    job = write_study(tmp_path)
    settings = load_job(ReportSettings, job.settings)
    content = configuration(settings, "flava_c_local", ())
    assert "href" not in content
    assert 'href="column_flava_c.html"' in configuration(settings, "flava_c_local", ["flava_c"])
    assert "is column flava_c with 1 of its settings changed" in plain(content)
    assert line_of(content, "gather") == ["global", "none"]
    assert "builds on no other column" in configuration(settings, "flava_c", ())
    changes = run_differences(load_runs(job, {}), settings, "flava_mm", stands_in=False)
    assert "<details>" in changes and "The model that stands in" not in changes
    assert line_of(changes, "objectives.pairs") == [
        "global_contrastive",
        "global_contrastive, mmm_image, mmm_text, itm",
    ]
    with pytest.raises(ConfigError, match="unknown column 'flava_x'"):
        info_of(load_comparison(job), "flava_x")


def test_page_of_a_stand_in_does_not_contradict_its_run(tmp_path: Path) -> None:
    """Its entry is of the released CLIP; the run is a CLIP of the study's own."""
    label = {"clip_400m": "CLIP on more pairs"}
    write_study(tmp_path, columns={"mim": 1, "clip_400m": 14}, stand_ins=label)
    pages = [
        Rendering(
            REPO / "notebooks/column.py",
            tmp_path / f"{name}.html",
            {"config": str(tmp_path / "report.json"), "column": name},
        )
        for name in ("mim", "clip_400m")
    ]
    render_all(pages)
    mim, clip = (page.output.read_text(encoding="utf-8") for page in pages)
    assert line_of(clip, "arch") == ["clip_released"]
    entry, says, run = clip.partition("This entry is that of the paper's column")
    assert says and "clip_released" in entry
    assert re.search("<details open[^>]*><summary>All .*objectives.pairs", run, re.DOTALL)
    assert "that of the paper's column" not in mim and "<details><summary>All" in mim
