"""Directions: paired differences over seeds, verdicts, the JSON file, claims as data."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import t as student

from flava.errors import ConfigError
from flava.records import parse_record
from flava.report.claim_file import load_claims
from flava.report.claims import claimed, judge_all, t_quantile, verdict
from flava.report.compare import load_comparison, std_error_of_mean
from flava.report.directions import directions_table, load_directions, note, support
from flava.report.figure import ratios
from flava.report.html import text
from flava.report.overview import claims_overview
from flava.report.site import write_index
from flava.report.summary import average_estimate, partial_average
from tests.report.fake_study import (
    NUMBERS,
    PAPER,
    REPO,
    TITLES,
    compared,
    fake_job,
    fake_scores,
    write_scores,
    write_study,
)
from workflow.plan import Plan

PAIR = ["flava_mm", "flava_c"]
SCORES = st.floats(0, 100, allow_nan=False)


def directions(tmp_path, lines, seeds=(0,), columns=NUMBERS):
    write_scores(tmp_path / "results.parquet", lines)
    job = fake_job(tmp_path, seeds, columns)
    found = load_directions(job, compared(job))
    return {(d.column, d.baseline, d.domain): d for d in found}


def noisy_lines(rows, seeds, columns=NUMBERS, spread=3.0):
    """Scores with a spread over seeds that is the run's own."""
    lines = fake_scores(rows=rows, columns=columns, seeds=seeds)
    random = np.random.default_rng(7)
    for line in lines:
        line["value"] = float(40 + random.normal(0, spread))
    return lines


@given(st.lists(SCORES, min_size=2, max_size=9))
def test_standard_error_is_numpys(values):
    expected = np.std(values, ddof=1) / np.sqrt(len(values))
    assert std_error_of_mean(values) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("seeds", [(0, 1), (0, 1, 2), (0, 1, 2, 3, 4)])
def test_averages_and_differences_over_seeds_are_numpys(tmp_path, seeds):
    rows = ("COLA", "RTE", "DTD", "ImageNet", "MNIST", "SNLI-VE", "Flickr30K TR R@1")
    lines = noisy_lines(rows, seeds)
    table = {(x["column"], x["seed"], x["row"]): x["value"] for x in lines}
    domains = (("COLA", "RTE"), ("DTD", "ImageNet", "MNIST"), ("SNLI-VE", "Flickr30K TR R@1"))

    def macro(column):
        return np.array(
            [[np.mean([table[column, s, r] for r in part]) for part in domains] for s in seeds]
        ).mean(axis=1)

    found = directions(tmp_path, lines, seeds)["flava_mm", "flava_c", "macro"]
    difference = macro("flava_mm") - macro("flava_c")
    assert found.ours == pytest.approx(difference.mean())
    assert found.std_error == pytest.approx(difference.std(ddof=1) / np.sqrt(len(seeds)))
    assert list(found.by_seed.values()) == pytest.approx(difference.tolist())
    assert found.quantile == pytest.approx(student.ppf(0.975, len(seeds) - 1))
    cell = partial_average(compared(fake_job(tmp_path, seeds)), "macro").cells["flava_c"]
    assert cell.ours.mean == pytest.approx(macro("flava_c").mean())
    assert cell.ours.std_error == pytest.approx(macro("flava_c").std(ddof=1) / np.sqrt(len(seeds)))
    assert cell.ours.error_source == "seeds"


def test_seeds_are_paired(tmp_path):
    """What both columns of a seed share does not blur their difference."""
    lines = fake_scores(rows=("COLA", "RTE"), columns=PAIR, seeds=(0, 1, 2))
    for line in lines:
        line["value"] = 30.0 * line["seed"] + (5.0 if line["column"] == "flava_mm" else 0.0)
    found = directions(tmp_path, lines, (0, 1, 2))["flava_mm", "flava_c", "nlp"]
    assert found.by_seed == {0: 5.0, 1: 5.0, 2: 5.0}
    assert found.std_error == 0
    assert found.word == "holds"


def test_only_seeds_of_both_columns_are_paired(tmp_path):
    lines = fake_scores(rows=("COLA",), columns=PAIR, seeds=(0, 1, 2))
    lines = [x for x in lines if (x["column"], x["seed"]) != ("flava_c", 1)]
    found = directions(tmp_path, lines, (0, 1, 2))["flava_mm", "flava_c", "nlp"]
    assert set(found.by_seed) == {0, 2}


def test_an_error_over_seeds_is_not_called_the_test_sets(tmp_path):
    """One seed is shared, and one column has three: no error of that one difference is known."""
    lines = fake_scores(rows=("COLA",), columns=PAIR, seeds=(0, 1, 2))
    lines = [x for x in lines if x["seed"] == 0 or x["column"] == "flava_mm"]
    found = directions(tmp_path, lines, (0, 1, 2))["flava_mm", "flava_c", "nlp"]
    assert set(found.by_seed) == {0}
    assert (found.std_error, found.error_source) == (None, "none")
    comparison = compared(fake_job(tmp_path, (0, 1, 2)))
    (ratio,) = (r for r in ratios(comparison, ("flava_mm", "flava_c")) if r.row == "COLA")
    assert (ratio.ours.std_error, ratio.ours.error_source) == (None, "none")


@pytest.mark.parametrize(
    ("ours", "error", "seeds", "sign", "word"),
    [
        (5.0, 1.0, 3, 1, "holds"),  # t = 4.30
        (4.2, 1.0, 3, 1, "undecided"),
        (-5.0, 1.0, 3, 1, "reversed"),
        (-5.0, 1.0, 3, -1, "holds"),
        (12.0, 1.0, 2, 1, "undecided"),  # t = 12.7
        (5.0, 0.1, 3, None, "not claimed"),
        (None, None, 3, 1, "not run"),
        (0.0, 0.0, 3, 1, "undecided"),
    ],
)
def test_verdicts(ours, error, seeds, sign, word):
    assert verdict(ours, error, t_quantile(seeds), sign) == word


def test_one_seed_decides_nothing(tmp_path):
    lines = fake_scores(rows=("COLA", "RTE"), columns=PAIR)
    for line in lines:
        line["value"] = 99.0 if line["column"] == "flava_mm" else 1.0
    found = directions(tmp_path, lines)["flava_mm", "flava_c", "nlp"]
    assert (found.word, found.error_source, found.quantile) == ("undecided", "test set", None)
    assert found.ours == pytest.approx(98.0)
    assert found.std_error == pytest.approx(1.25)  # of two columns, each 1.25 / sqrt(2)
    assert (len(found.rows), found.n_rows_paper) == (2, 8)
    assert found.paper_all == pytest.approx(74.22 - 64.80)
    assert found.paper_same == pytest.approx((38.97 + 51.99 - 17.58 - 51.99) / 2)


def test_the_sign_of_the_claim_is_the_direction_not_that_of_the_papers_cells(tmp_path):
    """FLAVA_MM is said to beat FLAVA_C on vision; on this row it falls, in the paper and here."""
    table = load_comparison_of_all(tmp_path).published
    mm, c = table.column("flava_mm"), table.column("flava_c")
    row = next(name for name in table.row_names("vision") if mm[name] < c[name])
    lines = fake_scores(rows=(row,), columns=PAIR, seeds=(0, 1, 2))
    for line in lines:
        line["value"] = 50.0 if line["column"] == "flava_mm" else 60.0
    found = directions(tmp_path, lines, (0, 1, 2))["flava_mm", "flava_c", "vision"]
    assert found.other_sign and found.paper_same < 0 and not found.cells_contradict
    assert found.word == "reversed"


def test_a_rise_that_the_paper_claims_and_its_cells_lack_holds(tmp_path):
    """BEiT initialisation: said to help on all tasks, the paper's vision average falls by 0.57."""
    pair = ["flava_c_beit", "flava_c"]
    lines = fake_scores(columns=pair, seeds=(0, 1, 2))
    for line in lines:
        line["value"] = 60.0 if line["column"] == "flava_c_beit" else 50.0
    found = directions(tmp_path, lines, (0, 1, 2), dict.fromkeys(pair, 5))
    vision = found["flava_c_beit", "flava_c", "vision"]
    assert vision.paper_all == pytest.approx(-0.57)
    assert (vision.sign, vision.word, vision.cells_contradict) == (1, "holds", True)
    comparison = compared(fake_job(tmp_path, (0, 1, 2), dict.fromkeys(pair, 5)))
    own = "the paper&#x27;s own averages: \N{MINUS SIGN}0.57"
    table = directions_table(comparison, list(found.values())).replace("'", "&#x27;")
    assert own in table
    index = claims_overview(comparison, list(found.values()))
    line = next(row for row in index.split("<tr>") if "Initialised encoders" in row)
    assert "contradict it in 3 of 24 averages: Vision \N{MINUS SIGN}0.57, Vision" in line


def test_what_the_text_does_not_claim_is_shown_and_not_counted(tmp_path):
    """Unimodal data are said to help language: vision and multimodal are no part of the claim."""
    pair = ["flava_no_init", "flava_mm"]
    lines = fake_scores(columns=pair, seeds=(0, 1, 2))
    for line in lines:
        line["value"] = 40.0 if line["column"] == "flava_no_init" else 50.0
    job = write_study(tmp_path, (0, 1, 2), dict.fromkeys(pair, 7), lines)
    found = {d.domain: d for d in load_directions(job, compared(job)) if d.column == pair[0]}
    words = {domain: direction.word for domain, direction in found.items()}
    assert words == {
        "nlp": "reversed",
        "vision": "not claimed",
        "multimodal": "not claimed",
        "macro": "holds",  # it is said to fall
    }
    assert all(direction.ours == pytest.approx(-10.0) for direction in found.values())
    comparison = compared(job)
    shown = directions_table(comparison, list(found.values()))
    assert shown.count(">not claimed</span>") == 2 and shown.count("claimed: ") == 2
    assert "claimed: lower" in shown and "claimed: higher" in shown
    assert "2 claimed differences looked at" in note(comparison, list(found.values()))
    (index,) = claims_overview(comparison, list(found.values())).split("<tr>")[2:]
    counts = [re.sub("<[^>]*>", "", cell).partition(">")[2] for cell in index.split("<td")[1:]]
    assert counts[:4] == ["1", "1", "0", "1 of 2"]


def test_a_model_that_stands_in_is_named_with_its_claim(tmp_path):
    label = "CLIP on <more> toy pairs"
    columns = {"flava_dino": 12, "clip_400m": 14}
    lines = fake_scores(columns=columns, root=tmp_path)
    job = write_study(tmp_path, columns=columns, lines=lines, stand_ins={"clip_400m": label})
    comparison = load_comparison(job)
    found = load_directions(job, comparison)
    shown = "column 14 is a stand-in: CLIP on &lt;more&gt; toy pairs"
    assert directions_table(comparison, found).count(shown) == 1
    assert claims_overview(comparison, found).count(shown) == 1


def load_comparison_of_all(tmp_path):
    write_scores(tmp_path / "results.parquet", fake_scores())
    return compared(fake_job(tmp_path))


def test_claims_are_those_of_the_issue_and_as_the_paper_says(tmp_path):
    comparison = load_comparison_of_all(tmp_path)
    number = {column.name: column.number for column in comparison.columns}
    claims = load_claims(PAPER, number)
    pairs = {(number[a], number[b]) for claim in claims.values() for a, b in claim.pairs}
    wanted = {(4, 3), (7, 4), (10, 7), (12, 9), (5, 4), (6, 4), (8, 7), (9, 7), (11, 10)}
    wanted |= {(12, 10), (6, 5), (9, 8), (12, 11), (3, 13), (12, 13), (12, 14)}
    assert wanted <= pairs
    found = {(d.column, d.baseline, d.domain): d for d in judge_all(comparison, claims)}
    assert found["flava_dino", "clip_pmd", "nlp"].paper_all == pytest.approx(31.75)
    # Section 4: +2.86 multimodal, +9 NLP, +0.3 (printed averages: 0.21) vision.
    mm = [found["flava_mm", "flava_c", d].paper_all for d in ("multimodal", "nlp", "vision")]
    assert mm == pytest.approx([2.86, 9.42, 0.21])
    assert ("flava_mm", "mim", "nlp") not in found  # a dash in the paper, and no score here
    falls = {k for k, d in found.items() if d.sign == -1}
    assert falls == {("flava_no_init", "flava_mm", "macro")}
    # What the text claims and its own cells do not show: the audit lists the same.
    assert {k for k, d in found.items() if d.cells_contradict} == {
        ("flava_c", "flava_c_local", "multimodal"),
        ("flava_c_beit", "flava_c", "vision"),
        ("flava_mm_beit", "flava_mm", "vision"),
        ("flava_mm_beit", "flava_mm", "multimodal"),
    }
    signs = {
        pair: {k[2] for k, d in found.items() if k[:2] == pair and d.sign}
        for pair in (
            ("flava_mm", "flava_c"),
            ("flava_dino", "flava_beit"),
            ("flava_dino", "clip_400m"),
            ("flava_dino", "clip_pmd"),  # Table 5 has one vision score of it
            ("flava_dino", "flava_mm"),  # Table 3: the best of all settings
            ("flava_dino", "flava_c"),
            ("flava_dino", "mim"),
            ("flava_dino", "mlm"),
            ("flava_dino", "flava_mm_dino"),  # no sentence compares them
        )
    }
    assert list(signs.values()) == [
        {"nlp", "vision", "multimodal"},
        {"vision", "multimodal"},
        {"nlp", "multimodal", "macro"},
        {"nlp", "multimodal", "macro"},
        {"nlp", "vision", "multimodal", "macro"},
        {"nlp", "vision", "multimodal", "macro"},
        {"vision"},
        {"nlp"},
        set(),
    ]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: {claim: x, source: y, pairs: [[flava_x, mim]]}", "unknown column 'flava_x'"),
        ("a: {claim: x, source: y, pairs: [[mim]]}", "pairs.0"),
        ("a: {claim: x, source: y, pairs: []}", "pairs"),
        ("a: {claim: x, pear: y, pairs: [[mim, mlm]]}", "unknown key 'pear'"),
        ("a: {claim: x, source: y, pairs: [[mim, mlm]], claimed: {nlp: 2}}", "claimed.nlp"),
        ("a: {claim: x, source: y, pairs: [[mim, mlm]], claimed: {text: 1}}", "claimed.text"),
        ("- a", "must be a mapping"),
    ],
)
def test_malformed_claims_are_refused(tmp_path, text, says):
    (tmp_path / "directions.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=says):
        load_claims(tmp_path, TITLES)


def test_a_claim_of_ones_own(tmp_path):
    """Its columns need not be the paper's."""
    shutil.copytree(PAPER, tmp_path / "paper")
    text = "mine: {claim: mine is better, source: me, pairs: [[mine, flava_c]]}\n"
    (tmp_path / "paper/directions.yaml").write_text(text, encoding="utf-8")
    columns = NUMBERS | {"mine": 20}
    seeds = (0, 1, 2)
    lines = fake_scores(columns=columns, seeds=seeds)
    write_scores(tmp_path / "results.parquet", lines)
    job = fake_job(tmp_path, seeds, columns, published=str(tmp_path / "paper"))
    found = load_directions(job, compared(job))
    assert [d.domain for d in found] == ["nlp", "vision", "multimodal", "macro"]
    assert {d.word for d in found} == {"not claimed"}
    assert all(d.ours is not None and d.paper_all is None for d in found)
    # A study without the column has nothing to say of it.
    lines = fake_scores(seeds=seeds)
    write_scores(tmp_path / "results.parquet", lines)
    other = fake_job(tmp_path, seeds, published=str(tmp_path / "paper"))
    assert load_directions(other, compared(other)) == ()


def test_the_plan_refuses_a_claim_on_a_column_that_does_not_exist(tmp_path):
    """Not the report, after all training; an entry of columns.yaml exists in every study."""
    shutil.copytree(PAPER.parent, tmp_path / "params")
    columns = tmp_path / "params/columns.yaml"
    mine = "mine: {base: flava_mm, number: 20, title: Mine}\n"
    columns.write_text(columns.read_text(encoding="utf-8") + mine, encoding="utf-8")
    claims = tmp_path / "params/paper/directions.yaml"
    claims.write_text("a: {claim: x, source: y, pairs: [[mine, flava_c]]}\n", encoding="utf-8")
    assert Plan.load("smoke", params=str(tmp_path / "params")).name == "smoke"
    claims.write_text("a: {claim: x, source: y, pairs: [[mime, flava_c]]}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"directions\.yaml: a: unknown column 'mime'"):
        Plan.load("smoke", params=str(tmp_path / "params"))


def test_directions_json_says_what_the_page_says(tmp_path):
    seeds = (0, 1, 2)
    job = write_study(tmp_path, seeds)
    output = tmp_path / "directions.json"
    command = [sys.executable, "-m", "flava.report.directions", "--config"]
    command += [str(tmp_path / "report.json"), "--output", str(output)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=REPO, check=False)
    assert done.returncode == 0, done.stderr
    value = json.loads(output.read_text(encoding="utf-8"))
    record = parse_record(value["record"], str(output))
    assert set(record.parents) == {f"{folder}/record.json" for folder in job.runs.values()}
    assert value["seeds"] == [0, 1, 2]
    comparison = load_comparison(job)
    found = load_directions(job, comparison)
    assert [line["word"] for line in value["directions"]] == [d.word for d in found]
    write_index(job)
    index = (tmp_path / "report/index.html").read_text(encoding="utf-8")
    assert claims_overview(comparison, found) in index
    assert text(support(found)) in index
    assert "standard error of the paired difference over 3 seeds" in note(comparison, found)


def test_the_index_counts_each_claims_differences(tmp_path):
    """The counts of a claim's line are those of its claimed directions."""
    job = write_study(tmp_path, (0, 1, 2))
    comparison = load_comparison(job)
    found = claimed(load_directions(job, comparison))
    rows = re.findall(r"<tr><th.*?</tr>", claims_overview(comparison, found))[1:]
    keys = list(dict.fromkeys(direction.key for direction in found))
    assert len(rows) == len(keys)
    for key, row in zip(keys, rows, strict=True):
        words = Counter(direction.word for direction in found if direction.key == key)
        cells = [re.sub(r"<[^>]*>", "", cell) for cell in row.split("<td")[1:]]
        counts = [cell.partition(">")[2] for cell in cells]
        expected = [words["holds"], words["reversed"], words["undecided"]]
        assert counts[:3] == [str(number) for number in expected]
        assert counts[4] == str(words["not run"])


def test_the_page_names_the_kind_of_error(tmp_path):
    one = write_study(tmp_path / "one")
    write_index(one)
    index = (tmp_path / "one/report/index.html").read_text(encoding="utf-8")
    comparison = load_comparison(one)
    found = load_directions(one, comparison)
    assert "One seed ran: no verdict." in note(comparison, found)
    assert "undecided: one seed" in directions_table(comparison, found)
    assert "standard error of the test set (in italics)" in index
    three = write_study(tmp_path / "three", (0, 1, 2))
    write_index(three)
    index = (tmp_path / "three/report/index.html").read_text(encoding="utf-8")
    assert "standard error over 3 seeds" in index
    comparison = load_comparison(three)
    found = load_directions(three, comparison)
    assert "undecided: one seed" not in directions_table(comparison, found)
    assert "3 seeds" in note(comparison, found)


def test_average_over_incomplete_seeds_has_no_error_over_seeds(tmp_path):
    lines = fake_scores(rows=("COLA", "RTE"), columns=["flava_c"], seeds=(0, 1))
    lines = [x for x in lines if (x["row"], x["seed"]) != ("RTE", 1)]
    write_scores(tmp_path / "results.parquet", lines)
    comparison = compared(fake_job(tmp_path, (0, 1)))
    found = average_estimate(comparison, "flava_c", {"nlp": ("COLA", "RTE")})
    assert found.error_source == "none"
