"""The page of a column: its banner, what its run changes, its losses."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from sklearn.metrics import log_loss

from flava.jobs import ReportJob, ReportSettings, load_job
from flava.report.column import configuration, run_differences
from flava.report.compare import load_comparison
from flava.report.curves import itm_guesses, loss_curves
from flava.report.notebook import Rendering, render_all
from flava.report.runs import load_runs
from tests.report.fake_study import REPO, fake_scores, write_study

COLUMNS = {"mim": 1, "flava_c": 4, "flava_c_local": 3, "flava_mm": 7}


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> ReportJob:
    folder = tmp_path_factory.mktemp("study")
    lines = fake_scores(columns=COLUMNS, root=folder)
    return write_study(folder, columns=COLUMNS, lines=lines)


def test_its_banner_counts_its_own_table(job: ReportJob) -> None:
    folder = Path(job.output)
    pages = {
        name: Rendering(
            REPO / "notebooks/column.py",
            folder / f"{name}.html",
            {"config": str(folder.parent / "report.json"), "column": name},
        )
        for name in ("mim", "flava_mm")
    }
    render_all(list(pages.values()))
    says = {"mim": "1 of 1 columns, 7 of 41 rows", "flava_mm": "2 of 2 columns, 16 of 41 rows"}
    for name, scale in says.items():
        content = pages[name].output.read_text(encoding="utf-8")
        banner = content.partition('<div class="banner">')[2].partition("</div>")[0]
        assert scale in banner
        assert ("one column beats another" in banner) is (name == "flava_mm")


def test_no_difference_between_nothing_and_nothing(job: ReportJob) -> None:
    """`image_tokens` is {} in the one run and absent in the other: both are shown as a dash."""
    runs, settings = load_runs(job, {}), load_job(ReportSettings, job.settings)
    first = next(run for run in runs if run.column == "flava_c")
    assert first.config["image_tokens"] == {}
    config = {key: v for key, v in first.config.items() if key != "image_tokens"}
    changed = [replace(run, config=config) if run == first else run for run in runs]
    content = run_differences(changed, settings, "flava_mm", stands_in=False)
    content += configuration(settings, "flava_mm", ())
    shown = [
        [re.sub("<[^>]*>", "", f"<{cell}") for cell in line.split("<td")[1:]]
        for table in re.findall("<table.*?</table>", content, re.DOTALL)
        if ">this column</th>" in table
        for line in re.findall(r"<tr><th scope=.row.*?</tr>", table)
    ]
    assert shown and all(base != column for base, column in shown)
    like = [replace(run, column="flava_mm") if run == first else run for run in runs]
    content = run_differences([first, *like], settings, "flava_mm", stands_in=False)
    assert "configurations of both runs are the same" in content and "this column" not in content


def test_the_panel_of_contrastive_losses_holds_local_ones_too(job: ReportJob) -> None:
    comparison = load_comparison(job)
    runs = load_runs(job, comparison.records)
    captions = re.findall("<figcaption>(.*?)</figcaption>", loss_curves(runs, comparison))
    assert "contrastive" in captions and not any("global" in each for each in captions)


def test_the_panel_of_itm_has_the_loss_of_a_head_that_reads_nothing(job: ReportJob) -> None:
    """One text in ten is replaced: its entropy, 0.325; and no line where ITM has no negatives."""
    comparison = load_comparison(job)
    runs = load_runs(job, comparison.records)
    assert itm_guesses(runs) == (pytest.approx(log_loss([0] * 9 + [1], [0.1] * 10)),)
    content = loss_curves(runs, comparison)
    captions = re.findall("<figcaption>(.*?)</figcaption>", content)
    assert [each for each in captions if "grey" in each] == [
        "itm (grey: 0.325, a guess by the share of replaced texts)"
    ]
    assert content.count("#8b95a3; stroke-opacity: 0.5") == 1
    never = {"masking": {"itm_negative_probability": 0.0}}
    assert itm_guesses(replace(run, config={**run.config, **never}) for run in runs) == ()
    assert itm_guesses(run for run in runs if run.column != "flava_mm") == ()
