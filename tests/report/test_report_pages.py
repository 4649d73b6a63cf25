"""Rendering: parameters, failures, byte-equal pages, nothing from the network, the index."""

from __future__ import annotations

import ast
import html as html_entities
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from flava.errors import ConfigError, DataError
from flava.fingerprint import fingerprint
from flava.jobs import ReportJob
from flava.report import html
from flava.report.figure_files import write_figure
from flava.report.notebook import NotebookError, Rendering, assigned_names, render_all
from flava.report.render import renderings
from flava.report.site import write_index
from tests.report.fake_study import (
    NUMBERS,
    REPO,
    ROWS,
    fake_scores,
    record,
    write_json,
    write_study,
)  # fmt: skip
from tests.report.offline import Page, check_offline

NOTEBOOKS = sorted((REPO / "notebooks").glob("*.py"))
NOTEBOOK = REPO / "notebooks" / "table_c1.py"
STAND_IN_MODEL = "CLIP on fake pairs"


def render_command(folder, *more):
    command = [sys.executable, "-m", "flava.report.render"]
    command += ["--config", str(folder / "report.json"), *map(str, more)]
    return subprocess.run(command, capture_output=True, text=True, cwd=REPO, check=False)


@pytest.fixture(scope="module")
def rendered(tmp_path_factory):
    """A fake study with its page rendered twice by the command, then its index."""
    folder = tmp_path_factory.mktemp("study")
    lines = fake_scores(drop={("DTD", "flava_c")}, root=folder)
    lines += fake_scores(rows=("Extra row",), root=folder)
    job = write_study(folder, lines=lines, scale="<b>made up</b> & tiny")
    for name in ("table_c1", "again"):
        output = folder / "report" / f"{name}.html"
        done = render_command(folder, "--notebook", NOTEBOOK, "--output", output)
        assert done.returncode == 0, done.stderr
    return folder, job


def test_two_renders_are_byte_equal(rendered):
    folder, _ = rendered
    for suffix in ("html", "ipynb"):
        first, second = (folder / "report" / f"{n}.{suffix}" for n in ("table_c1", "again"))
        assert first.read_bytes() == second.read_bytes()


def test_page_is_self_contained_and_escaped(rendered):
    folder, _ = rendered
    content = check_offline(folder / "report" / "table_c1.html")
    assert "&lt;b&gt;made up&lt;/b&gt; &amp; tiny" in content
    assert "<b>made up</b>" not in content


def test_page_shows_what_is_missing(rendered):
    folder, _ = rendered
    content = (folder / "report" / "table_c1.html").read_text(encoding="utf-8")
    assert "Every row is a stand-in" in content
    assert "7 of 14 columns, 16 of 41 rows, 1 seed" in content
    assert content.count('title="no score for this column') > 1
    assert "Column 4, FLAVA_C: no score on DTD." in content
    assert "its encoder initialisation is not built" in content
    assert "over 6 of 22 rows" in content
    assert "beyond the paper" in content and "Extra row" in content


def test_notebook_holds_no_ids_or_times(rendered):
    folder, _ = rendered
    node = nbformat.read(folder / "report" / "table_c1.ipynb", as_version=4)
    nbformat.validate(node)
    assert "papermill" not in node.metadata
    assert [cell.id for cell in node.cells] == [f"cell-{i}" for i in range(len(node.cells))]
    assert all(set(cell.metadata) <= {"tags"} for cell in node.cells)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_page_depends_on_the_code_that_its_notebook_calls(path):
    """The notebook's imports are in the fingerprint that re-plans its rule."""
    known = fingerprint("flava.report.render")
    imports = [n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.ImportFrom)]
    called = {f"{node.module}.{alias.name}" for node in imports for alias in node.names}
    called |= {node.module for node in imports}
    modules = {n for n in called if REPO.joinpath(*n.split(".")).with_suffix(".py").is_file()}
    assert "flava.report.sections" in modules
    assert {name for name in modules if name.startswith("flava.report")} <= set(known)


def renderings_of(folder, columns, output):
    """All pages of the study in `folder`, to be written into `output`."""
    found = []
    for path in NOTEBOOKS:
        own = [{"column": name} for name in columns] if path.stem == "column" else [{}]
        for more in own:
            name = "_".join([path.stem, *more.values()])
            parameters = {"config": str(folder / "report.json"), **more}
            found.append(Rendering(path, output / f"{name}.html", parameters))
    return found


@pytest.fixture(scope="module")
def every_page(tmp_path_factory):
    """A study with all pages rendered twice, in two kernels and in opposite orders."""
    folder = tmp_path_factory.mktemp("every")
    columns = {**NUMBERS, "flava_dino": 12, "clip_400m": 14}
    write_json(folder / "tokenizer/record.json", record("codebook", 0, 3000.0))
    earlier = {"image tokenizer": str(folder / "tokenizer/record.json")}
    lines = fake_scores(columns=columns, root=folder)
    label = {"clip_400m": STAND_IN_MODEL}
    job = write_study(folder, columns=columns, lines=lines, earlier=earlier, stand_ins=label)
    shutil.copy(folder / "runs/mim-s0/log.csv", folder / "tokenizer/log.csv")
    for name, step in (("report", 1), ("again", -1)):
        render_all(renderings_of(folder, columns, folder / name)[::step], home="index.html")
    write_figure(job)
    write_index(job)
    return folder


def test_two_renders_of_every_page_are_byte_equal(every_page):
    """No page depends on time, on hashes of a process or on the pages before it in its kernel."""
    names = sorted(path.name for path in (every_page / "again").iterdir())
    assert len(names) == 2 * (len(NOTEBOOKS) - 1 + len(NUMBERS) + 2)
    for name in names:
        assert (every_page / "report" / name).read_bytes() == (
            every_page / "again" / name
        ).read_bytes(), name


def test_every_page_loads_nothing_and_every_link_leads_somewhere(every_page):
    report = every_page / "report"
    pages = sorted(report.glob("*.html"))
    for path in pages:
        links = Page(check_offline(path)).refers
        inside = {link for link in links if not link.startswith(("#", "data:"))}
        assert {link for link in inside if not (report / link).is_file()} == set(), path
    index = (report / "index.html").read_text(encoding="utf-8")
    assert all(f'href="{path.name}"' in index for path in pages if path.stem != "index")
    assert "<title>Column 14: CLIP</title>" in (report / "column_clip_400m.html").read_text()
    curves = (report / "training_curves.html").read_text(encoding="utf-8")
    assert curves.count("<figcaption>") == 7
    keys = re.findall(r"</svg>(\d+) ", curves[: curves.index("<figcaption>")])
    assert keys == ["1", "2", "3", "4", "7", "10", "12", "13", "14"]  # as in the paper, not by name


def visible(path):
    """Text of a page without its code, tags and hints."""
    content = path.read_text(encoding="utf-8").partition('<details class="code">')[0]
    shown = re.sub(r"<(style|script).*?</\1>|<[^>]*>", " ", content, flags=re.DOTALL)
    return html_entities.unescape(shown)


@pytest.mark.parametrize(
    "page",
    ["index", "table_c1", "table_4", "table_3", "table_5", "table_d1", "figure_4", "directions",
     "column_flava_mm", "column_clip_400m"],
)  # fmt: skip
def test_every_page_of_scores_names_stand_ins_and_reasons_in_text(every_page, page):
    """Hints are absent on phones and on paper."""
    shown = visible(every_page / "report" / f"{page}.html")
    in_table_5 = ("ImageNet", "COLA", "SST-2", "RTE", "STS-B", "SNLI-VE")
    for i, row in enumerate(ROWS):
        if page != "table_5" or row in in_table_5:
            assert re.search(rf"made-up data {i}\b", shown), row
    if page not in ("table_3", "table_d1", "column_flava_mm"):
        assert STAND_IN_MODEL in shown
    missing = 6 if page == "table_5" else 25
    assert "What did not run, and why" in shown and f"{missing} rows not in this study" in shown
    if page in ("index", "table_c1", "directions"):
        assert "its encoder initialisation is not built" in shown
    if page in ("table_3", "table_4"):
        assert "Column 1, MIM (PMD): no score on" in shown and "the paper has none either" in shown


def test_one_call_renders_a_notebook_for_several_values(every_page, tmp_path):
    more = ("--each", "column=mim,flava_dino", "--output", tmp_path / "column_{column}.html")
    done = render_command(every_page, "--notebook", REPO / "notebooks/column.py", *more)
    assert done.returncode == 0, done.stderr
    for name in ("mim", "flava_dino"):
        for suffix in ("html", "ipynb"):
            one = (tmp_path / f"column_{name}.{suffix}").read_bytes()
            assert one == (every_page / "report" / f"column_{name}.{suffix}").read_bytes()


def test_names_of_the_page_before_are_gone(tmp_path):
    head = '# %% tags=["parameters"]\nconfig = ""\n# %%\n'
    for name, cell in (("first", "left = 1\n"), ("second", "left\n")):
        (tmp_path / f"{name}.py").write_text(head + cell, encoding="utf-8")
    pages = [
        Rendering(tmp_path / f"{name}.py", tmp_path / f"{name}.html", {"config": "x"})
        for name in ("first", "second")
    ]
    with pytest.raises(NotebookError, match=r"second.py: .*NameError: name 'left'.*defined\. See "):
        render_all(pages)
    assert (tmp_path / "first.html").is_file() and not (tmp_path / "second.html").exists()
    assert (tmp_path / "second.failed.ipynb").is_file()


def test_misspelt_parameter_is_refused(tmp_path):
    write_study(tmp_path, columns={"mim": 1})
    with pytest.raises(ConfigError, match=r"unknown parameter 'confg'.*Did you mean 'config'"):
        render_all([Rendering(NOTEBOOK, tmp_path / "out.html", {"confg": "x"})])
    pages = ("--each", "sead=1", "--output", tmp_path / "out{sead}.html")
    done = render_command(tmp_path, "--notebook", NOTEBOOK, *pages)
    assert done.returncode == ConfigError.exit_code
    assert "unknown parameter 'sead'" in done.stderr
    assert not list(tmp_path.glob("out*"))


def test_pages_of_one_notebook_need_a_place_for_the_value(tmp_path):
    found = renderings("n.py", "c_{column}.html", {"config": "x"}, "column=a,b")
    assert found == [
        Rendering(Path("n.py"), Path("c_a.html"), {"config": "x", "column": "a"}),
        Rendering(Path("n.py"), Path("c_b.html"), {"config": "x", "column": "b"}),
    ]
    for output, each in (("c.html", "column=a"), ("c_{column}.html", "column")):
        with pytest.raises(ConfigError, match=r"expected NAME=VALUE,VALUE"):
            renderings("n.py", output, {}, each)


def test_notebook_needs_one_parameters_cell(tmp_path):
    (tmp_path / "n.py").write_text("# %%\nconfig = 1\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="0 cells are tagged 'parameters'"):
        render_all([Rendering(tmp_path / "n.py", tmp_path / "out.html", {"config": "x"})])
    with pytest.raises(DataError, match="missing"):
        render_all([Rendering(tmp_path / "absent.py", tmp_path / "out.html", {})])
    assert assigned_names("a = 1\nb: int = 2\nc.d = 3\nif a:\n    e = 1") == ["a", "b"]


def test_failing_cell_keeps_the_partial_notebook(tmp_path):
    """The study's results are gone: non-zero exit, the reason, the notebook, no page."""
    write_study(tmp_path, columns={"mim": 1})
    (tmp_path / "results.parquet").unlink()
    output = tmp_path / "report" / "table_c1.html"
    done = render_command(tmp_path, "--notebook", NOTEBOOK, "--output", output)
    assert done.returncode == NotebookError.exit_code
    assert "DataError" in done.stderr and "results.parquet is missing" in done.stderr
    assert re.search(r"[^.]\. See \S+\.failed\.ipynb\.$", done.stderr.strip())
    partial = nbformat.read(output.with_suffix(".failed.ipynb"), as_version=4)
    assert any(o.output_type == "error" for c in partial.cells for o in c.get("outputs", []))
    assert not output.exists() and not output.with_suffix(".ipynb").exists()


def test_slow_cell_is_stopped(tmp_path):
    source = '# %% tags=["parameters"]\nconfig = ""\n# %%\nimport time\ntime.sleep(60)\n'
    (tmp_path / "slow.py").write_text(source, encoding="utf-8")
    slow = Rendering(tmp_path / "slow.py", tmp_path / "out.html", {"config": "x"})
    with pytest.raises(NotebookError, match="longer than 1 s"):
        render_all([slow], timeout_seconds=1)


def test_index_ties_it_together(rendered):
    folder, job = rendered
    write_index(job)
    index = folder / "report" / "index.html"
    content = check_offline(index)
    first = index.read_bytes()
    write_index(job)
    assert index.read_bytes() == first
    assert '<a href="table_c1.html">Table C.1: every column, every task</a>' in content
    assert "no score here reproduces a number of the paper" in content
    assert "0123456789ab" in content and "with uncommitted changes" in content
    assert (
        "20,000</span> pairs" in content
        and "No claim is decided: one seed ran" in content
        and ", 15 ran. " in content
    )


def test_numbers_in_print():
    assert html.signed(-0.001) == "0.00"
    assert html.signed(1.5) == "+1.50"
    assert html.number(-3.256) == "\N{MINUS SIGN}3.26"
    assert html.text("<'\">") == "&lt;&#x27;&quot;&gt;"
    assert [html.duration(s) for s in (5, 600, 7200)] == ["5 s", "10 min", "2.0 h"]


def test_job_of_this_page_is_strict():
    with pytest.raises(ValueError, match="extra"):
        ReportJob.model_validate({"study": "x", "page": "y"})
