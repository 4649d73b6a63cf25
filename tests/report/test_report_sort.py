"""Tables sort in a browser; without one, or without scripts, they are as they were rendered."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from flava.report.html import SORTABLE, page, table
from flava.report.tables import results_table
from tests.report.fake_study import compared, fake_job, fake_scores, write_scores

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
CLICK = """<script>
const shown = (t) => [...t.tBodies[0].rows].filter((r) => r.getClientRects().length)
  .map((r) => r.cells[0].textContent);
const found = [];
for (const [button, times] of %s) {
  const click = () => document.querySelectorAll("table.sort thead button")[button].click();
  for (let i = 0; i < times; i++) click();
  const head = document.querySelectorAll("table.sort thead th")[button];
  found.push([shown(document.querySelector("table.sort")), head.getAttribute("aria-sort")]);
  for (let i = times; i < 3; i++) click();
}
document.body.textContent = "FOUND" + JSON.stringify(found) + "END";
</script></body>"""


def sorted_rows(tmp_path: Path, body: str, clicks: list[tuple[int, int]]):
    """(first cells of the rows that are seen, aria-sort) after each (heading, clicks on it)."""
    if BROWSER is None:
        pytest.skip("no browser")
    path = tmp_path / "page.html"
    script = CLICK % json.dumps(clicks)
    path.write_text(page("t", body).replace("</body>", script), encoding="utf-8")
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"]
    command += [f"--user-data-dir={tmp_path / 'profile'}", path.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=400, check=True)
    return [tuple(each) for each in json.loads(re.search(r"FOUND(.*)END", done.stdout)[1])]


def test_numbers_durations_and_words_sort(tmp_path: Path) -> None:
    body = [
        ["a 10", "1,200 pairs", "45 s", "\N{MINUS SIGN}2.5"],
        ["a 9", "\N{EN DASH}", "3.4 h", "not run"],
        ["b", "90 pairs", "12 min", "+1.0"],
        ["c", "7", "2 min", "\N{MINUS SIGN}12.0"],
    ]
    content = table(["name", "pairs", "time", "delta"], body, SORTABLE)
    first, numbers, up, time, delta, turned, back = sorted_rows(
        tmp_path, content, [(0, 1), (1, 1), (1, 2), (2, 1), (3, 1), (3, 2), (3, 3)]
    )
    assert first == (["a 9", "a 10", "b", "c"], "ascending")
    assert numbers == (["a 10", "b", "c", "a 9"], "descending")
    assert up == (["c", "b", "a 10", "a 9"], "ascending")  # what is missing stays last
    assert time == (["a 9", "b", "c", "a 10"], "descending")
    assert delta == (["b", "a 10", "c", "a 9"], "descending")
    assert turned == (["c", "a 10", "b", "a 9"], "ascending")
    assert back == (["a 10", "a 9", "b", "c"], None)


def test_rows_of_table_c1_stay_in_their_domain(tmp_path: Path) -> None:
    write_scores(tmp_path / "results.parquet", fake_scores())
    comparison = compared(fake_job(tmp_path))
    content = results_table(comparison)
    column = 1 + [c.name for c in comparison.columns].index("flava_c")
    clicks = [(column, 1), (column, 3)]
    (ran, order), (rendered, _) = sorted_rows(tmp_path, content, clicks)
    assert order == "descending" and ran != rendered and sorted(ran) == sorted(rendered)
    named = {row.name: row for row in comparison.rows}

    def name(shown: str) -> str | None:
        return max((n for n in named if shown.startswith(n)), key=len, default=None)

    for place, (now, then) in enumerate(zip(ran, rendered, strict=True)):
        known = name(now), name(then)
        assert (known[0] is None) == (known[1] is None), place
        if known[0] is None:
            assert now == then  # headings of domains, averages
        else:
            assert named[known[0]].domain == named[known[1]].domain
    for domain in ("nlp", "vision", "multimodal"):
        names = [n for n in map(name, ran) if n and named[n].domain == domain]
        ours = [comparison.cells[n, "flava_c"].ours for n in names]
        means = [each.mean for each in ours if each]
        assert len(means) > 2 and means == sorted(means, reverse=True)
        assert not any(ours[len(means) :])


def test_one_domain_is_shown_alone(tmp_path: Path) -> None:
    """By style alone: the switches need no script."""
    write_scores(tmp_path / "results.parquet", fake_scores())
    comparison = compared(fake_job(tmp_path))
    content = results_table(comparison).replace(" checked", "")
    content = content.replace('id="only-nlp"', 'id="only-nlp" checked')
    ((rows, _),) = sorted_rows(tmp_path, content, [(0, 3)])
    names = [row.name for row in comparison.rows if row.domain == "nlp"]
    assert len(rows) == 1 + len(names) + 2 and rows[0] == "NLP"
    assert all(shown.startswith(n) for shown, n in zip(rows[1:], names, strict=False))
    assert all(shown.startswith("NLP average") for shown in rows[-2:])


def test_the_script_is_where_a_table_sorts_and_nowhere_else() -> None:
    rows = [["a", "1"]]
    assert "<script" not in page("t", table(["x", "y"], rows))
    content = page("t", table(["x", "y"], rows, SORTABLE))
    assert content.count("<script>") == 1
    assert "<button" not in content.partition("<script>")[0]  # without scripts: no dead button
