"""Figure 4: the paper's bars are Table 4's numbers, ours are paired over seeds."""

from __future__ import annotations

import csv
import os
import re
import subprocess
import sys
import time
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from flava.report.figure import (
    BEYOND,
    draw_bars,
    figure_4,
    figure_columns,
    figure_table,
    panel,
    ratios,
    relative,
)
from flava.report.figure_files import draw
from flava.report.html import signed
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

COLUMNS = {**NUMBERS, "flava_dino": 12, "clip_400m": 14}


def table_4() -> dict[str, Decimal]:
    """Row as printed -> difference in percent of the last column, from the file alone."""
    with (PAPER / "table_4.csv").open(encoding="utf-8") as file:
        header, *lines = list(csv.reader(file))
    flava, clip = (
        next(i for i, name in enumerate(header) if name.startswith(f"{number}:"))
        for number in (6, 8)
    )
    return {
        line[0]: 100 * (Decimal(line[flava]) - Decimal(line[clip])) / Decimal(line[clip])
        for line in lines
        if not line[0].endswith("Avg.")
    }


def comparison_of(tmp_path: Path, lines, seeds=(0,), columns=COLUMNS):
    write_scores(tmp_path / "results.parquet", lines)
    return compared(fake_job(tmp_path, seeds, columns), "table_4")


def test_the_papers_bars_are_table_4_for_all_rows(tmp_path: Path) -> None:
    comparison = comparison_of(tmp_path, fake_scores(columns=COLUMNS))
    columns = figure_columns(str(PAPER))
    assert columns == ("flava_dino", "clip_400m")
    found, expected = ratios(comparison, columns), table_4()
    assert len(found) == len(expected) == 41
    for item, (row, value) in zip(found, expected.items(), strict=True):
        assert item.row.lower() == row.lower().replace("flowers102", "flowers")
        assert item.paper == pytest.approx(float(value), abs=1e-9)
    drawn = figure_4(comparison, found, columns)
    table = figure_table(comparison, found, columns)
    for item in found:
        assert item.paper is not None
        assert f">{signed(item.paper, 1)}<" in drawn.replace("\n", "")
        assert f">{signed(item.paper, 1)}<" in table


def test_panels_are_grouped_as_in_print(tmp_path: Path) -> None:
    comparison = comparison_of(tmp_path, fake_scores(columns=COLUMNS))
    columns = figure_columns(str(PAPER))
    drawn = figure_4(comparison, ratios(comparison, columns), columns)
    captions = drawn.split("<figcaption>")[1:]
    assert [caption.split(":")[0] for caption in captions] == ["Vision", "Language", "Multimodal"]
    by_domain = {"vision": 22, "nlp": 8, "multimodal": 11}
    for caption, (domain, count) in zip(captions, by_domain.items(), strict=True):
        items = [i for i in ratios(comparison, columns) if i.domain == domain]
        better = sum(i.paper > 0 for i in items if i.paper is not None)
        assert f"better on {better} of {count} in the paper" in caption


def test_a_panel_counts_ours_and_ends_with_the_papers_best(tmp_path: Path) -> None:
    lines = fake_scores(columns=COLUMNS)
    for line in lines:  # as made, both columns score the same
        if line["column"] == "flava_dino":
            line["value"] += 1 if line["row"] in {"ImageNet", "DTD", "SST-2"} else -1
    found = ratios(comparison_of(tmp_path, lines), figure_columns(str(PAPER)))
    papers = {row.lower().replace("flowers102", "flowers"): v for row, v in table_4().items()}
    here = {"vision": "2 of 7", "nlp": "1 of 4", "multimodal": "0 of 5"}
    for domain, counts in here.items():
        rows, caption = panel(found, domain)
        assert caption.endswith(f"in the paper, {counts} here")
        values = [papers[item.row.lower()] for item in rows]
        assert values == sorted(values) and values[0] < values[-1]


def test_ours_is_the_ratio_of_the_means_with_seeds_paired(tmp_path: Path) -> None:
    """CLIP's scores scatter: the mean of the seeds' ratios would be 75, beside 60 and 40."""
    scores = {"flava_dino": (60.0, 70.0, 50.0), "clip_400m": (60.0, 40.0, 20.0)}
    seeds = (0, 1, 2)
    lines = fake_scores(rows=("DTD",), columns=COLUMNS, seeds=seeds)
    for line in lines:
        if line["column"] in scores:
            line["value"] = scores[line["column"]][line["seed"]]
    found = ratios(comparison_of(tmp_path, lines, seeds), figure_columns(str(PAPER)))
    ours = next(item for item in found if item.row == "DTD").ours
    assert ours is not None
    assert ours.mean == pytest.approx(50)
    first, second = (np.array(scores[name]) for name in ("flava_dino", "clip_400m"))
    (aa, ab), (_, bb) = np.cov(first, second) / 3  # of the means
    assert ours.std_error == pytest.approx(
        100 * np.sqrt(aa / 40**2 - 2 * 60 * ab / 40**3 + 60**2 * bb / 40**4)
    )


def test_one_seed_has_the_error_of_both_test_sets(tmp_path: Path) -> None:
    lines = fake_scores(rows=("DTD",), columns=COLUMNS)
    ours = {"flava_dino": (60.0, 1.0), "clip_400m": (40.0, 2.0)}
    for line in lines:
        if line["column"] in ours:
            line["value"], line["std_error"] = ours[line["column"]]
    found = ratios(comparison_of(tmp_path, lines), figure_columns(str(PAPER)))
    (estimate,) = [item.ours for item in found if item.ours]
    assert (estimate.mean, estimate.error_source) == (pytest.approx(50), "test set")
    assert estimate.std_error == pytest.approx(100 / 40 * np.hypot(1.0, 60 / 40 * 2.0))


def test_bars_of_ours_have_their_errors_and_end_at_the_limit(tmp_path: Path) -> None:
    seeds = (0, 1, 2)
    lines = fake_scores(rows=("DTD", "COLA"), columns=COLUMNS, seeds=seeds)
    for line in lines:  # an error that reaches beyond the panel
        if (line["row"], line["column"]) == ("COLA", "clip_400m"):
            line["value"] = 24 / (1 + line["seed"])
        if line["column"] == "flava_dino":
            line["value"] += 5 * line["seed"] ** 2
    comparison = comparison_of(tmp_path, lines, seeds)
    found = {item.row: item for item in ratios(comparison, figure_columns(str(PAPER)))}
    axes = Figure().add_subplot()
    rows = [found["DTD"], found["COLA"]]
    draw_bars(axes, rows)
    ours = [item.ours for item in rows if item.ours]
    drawn = [np.asarray(line.get_data(), float) for line in axes.lines]
    ends = [x for x, y in drawn if y[0] == y[1]]  # the line at zero stands upright
    assert ours[0].std_error is not None
    assert ends[0] == pytest.approx(
        [ours[0].mean - ours[0].std_error, ours[0].mean + ours[0].std_error]
    )
    limit = BEYOND * max(abs(item.paper) for item in rows if item.paper is not None)
    assert ends[1][1] == limit < ours[1].mean + (ours[1].std_error or 0)
    assert axes.get_xlim()[1] > limit


def test_the_files_say_what_the_errors_are(tmp_path: Path) -> None:
    """They have no table beside them."""
    for seeds, says in (((0,), "of the test sets, one seed"), ((0, 1), "error over seeds.")):
        comparison = comparison_of(tmp_path, fake_scores(columns=COLUMNS, seeds=seeds), seeds)
        figure = draw(fake_job(tmp_path, seeds, COLUMNS), comparison)
        title = figure.get_suptitle().replace("\n", " ")
        assert says in title and "near zero (CoLA, STS-B)" in title
        assert f"{len(seeds)} seed" in title


def test_a_study_without_one_of_the_columns_says_so_in_the_files(tmp_path: Path) -> None:
    columns = {**NUMBERS, "flava_dino": 12}
    comparison = comparison_of(tmp_path, fake_scores(columns=columns), columns=columns)
    figure = draw(fake_job(tmp_path, columns=columns), comparison)
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels[1] == "this study: no bars, for CLIP (400M) did not run"
    assert "Thin lines" not in figure.get_suptitle()


def test_what_has_no_ratio_says_why(tmp_path: Path) -> None:
    assert (
        relative(10.0, 0.0) is None and relative(10.0, -2.0) is None and relative(None, 1) is None
    )
    lines = fake_scores(rows=("COLA", "DTD"), columns=COLUMNS)
    for line in lines:
        if (line["row"], line["column"]) == ("COLA", "clip_400m"):
            line["value"] = 0.0
    comparison = comparison_of(tmp_path, lines)
    columns = figure_columns(str(PAPER))
    found = {item.row: item for item in ratios(comparison, columns)}
    assert found["COLA"].ours is None and "0 or less" in str(found["COLA"].why_not)
    assert found["MNLI"].why_not == "row not in this study"
    table = figure_table(comparison, list(found.values()), columns)
    assert "scored 0 or less" in table and table.count(">not run</span>") == 39


def test_two_files_of_the_figure_are_byte_equal(tmp_path: Path) -> None:
    """Made by two processes, at two times, with other hash seeds."""
    lines = fake_scores(columns=COLUMNS, root=tmp_path)
    job = write_study(tmp_path, columns=COLUMNS, lines=lines)
    command = [sys.executable, "-m", "flava.report.figure_files"]
    command += ["--config", str(tmp_path / "report.json")]
    found = []
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        done = subprocess.run(
            command, cwd=REPO, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        folder = Path(job.output)
        found.append({path.name: path.read_bytes() for path in folder.iterdir()})
        time.sleep(1.1)  # times in files have whole seconds
    assert found[0] == found[1] and set(found[0]) == {"figure_4.png", "figure_4.pdf"}
    with Image.open(folder / "figure_4.png") as image:
        assert image.width > image.height > 1000
        assert set(image.info) <= {"dpi"}
    assert not re.search(rb"CreationDate|Producer|Creator", found[0]["figure_4.pdf"])


def test_bars_of_the_files_are_those_of_the_page(tmp_path: Path) -> None:
    lines = fake_scores(columns=COLUMNS)
    job, comparison = fake_job(tmp_path, columns=COLUMNS), comparison_of(tmp_path, lines)
    found = ratios(comparison, figure_columns(str(PAPER)))
    drawn = [text.get_text() for axes in draw(job, comparison).axes for text in axes.texts]
    values = [item.paper for item in found] + [item.ours.mean for item in found if item.ours]
    assert len(values) > 41
    limits = "\N{LEFTWARDS ARROW}\N{RIGHTWARDS ARROW}"
    assert sorted(each.strip(limits) for each in drawn) == sorted(signed(v, 1) for v in values)
    content = figure_4(comparison, found, figure_columns(str(PAPER)))
    assert 'href="figure_4.png"' in content and 'href="figure_4.pdf"' in content
