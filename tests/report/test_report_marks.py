"""Everything of ours that pages show in tables is marked, and trace knows it."""

from __future__ import annotations

import ast
import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from flava.io import sha256_file, sha256_json
from flava.jobs import ReportJob
from flava.report.html import page
from flava.report.marked import MARK, own
from flava.report.site import write_index
from tests.report.fake_study import (
    NUMBERS,
    REPO,
    fake_scores,
    record,
    write_json,
    write_scores,
    write_study,
)
from workflow.plan import PAGES
from workflow.provenance.cells import Cell, Ours
from workflow.provenance.chain import Chain
from workflow.provenance.pages import WHOLE, page_problems, shown_on
from workflow.provenance.score import trace_cell
from workflow.provenance.tables import TABLES, cells

COLUMNS = {**NUMBERS, "flava_dino": 12, "clip_400m": 14}
DERIVED = {"delta", "se", "verdict", "fewer"}  # of a marked number, beside it


class Rest(HTMLParser):
    """The text of each cell of a page's tables, without what is marked or derived from it."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.cells: list[str] = []
        self.reads: list[bool] = []  # of each open element: in a cell, and not left out
        self.feed(content)

    def handle_starttag(self, tag, attributes):
        if tag in ("meta", "link", "input", "img", "br"):
            return
        known = dict(attributes)
        css = set((known.get("class") or "").split())
        inside = tag == "td" or bool(self.reads and self.reads[-1])
        self.reads.append(inside and MARK not in known and not css & DERIVED)
        if tag == "td":
            self.cells.append("")

    def handle_endtag(self, tag):
        self.reads.pop()

    def handle_data(self, data):
        if self.reads and self.reads[-1]:
            self.cells[-1] += data


def displayed(notebook: Path, parameters: dict[str, str]) -> str:
    """What the notebook's cells show, run in this process."""
    names: dict[str, Any] = {}
    shown = []
    for node in ast.parse(notebook.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Expr):
            value = eval(compile(ast.Expression(node.value), str(notebook), "eval"), names)
            shown.append(value.data)
        else:
            exec(compile(ast.Module([node], []), str(notebook), "exec"), names)
            names |= {name: value for name, value in parameters.items() if name in names}
    return "".join(shown)


def write_pages(root: Path, job: ReportJob) -> None:
    """Every notebook's page and the index."""
    for notebook in sorted((REPO / "notebooks").glob("*.py")):
        for more in [{"column": c} for c in COLUMNS] if notebook.stem == "column" else [{}]:
            name = "_".join([notebook.stem, *more.values()])
            parameters = {"config": str(root / "report.json"), **more}
            path = root / "report" / f"{name}.html"
            path.parent.mkdir(exist_ok=True)
            path.write_text(page(name, displayed(notebook, parameters)), encoding="utf-8")
    write_index(job)


def study(root: Path, other: bool) -> ReportJob:
    """A study; the `other` one has other scores, records, manifests and settings."""
    earlier = {"image tokenizer": str(root / "tokenizer/record.json")}
    leaks = str(root / "leaks.json")
    lines = fake_scores(columns=COLUMNS, root=root, seeds=(0, 1))
    job = write_study(root, (0, 1), COLUMNS, lines, earlier=earlier, leaks=leaks)
    write_json(root / "tokenizer/record.json", record("codebook", 0, 3000.0))
    found = {"corpus": "pairs", "task": "dtd", "test": 90, "flat": 3, "near": 5, "matched": 2}
    # A task with images and texts: each of the two has its own count.
    texts = {"unknown": 0, "short": 4, "short_matched": 3, "matched": 7, "examples": []}
    texts |= {"corpus": "pairs", "task": "dtd", "test": 80}
    tree = {"study": "fake", "settings": {}, "texts": [texts]}
    write_json(
        root / "leaks.json",
        {**tree, "images": [{**found, "examples": []}], "record": record("leaks", 0, 1.0)},
    )
    if other:
        for path in root.rglob("*.json"):
            change(path, _changed)
        for path in root.glob("runs/*/record.json"):
            name_inputs(path)
        for line in lines:
            more = {"std_error": 0.5, "chance": 1.0, "n_examples": 10}
            line |= {key: line[key] + step for key, step in more.items()}
            line["value"] = 100 - 0.7 * line["value"]
        write_scores(root / "results.parquet", lines)
    (root / "tokenizer/log.csv").write_text((root / "runs/mim-s0/log.csv").read_text())
    return job


SAME = {"audit.html", "training_curves.html", "table_a2.html"}  # print; pictures; shares
NUMERIC = {"wall_seconds", "peak_memory_bytes", "batch_size", "mean_words", "pairs",
           "images", "texts", "test", "near", "flat", "matched", "short", "short_matched",
           "cores"}  # fmt: skip


def _changed(key: str, value: Any) -> Any:
    if key in ("started", "config_sha256"):
        return value.replace("0", "1")
    if key not in NUMERIC or not isinstance(value, int | float) or value <= 1:
        return value  # at most 1: a share
    return value * 3 + 1


def change(path: Path, how: Any) -> None:
    def walk(tree: Any) -> Any:
        if isinstance(tree, dict):
            return {key: walk(how(key, value)) for key, value in tree.items()}
        return [walk(value) for value in tree] if isinstance(tree, list) else tree

    write_json(path, walk(json.loads(path.read_text())))


def name_inputs(path: Path) -> None:
    """Makes the record of a run name its configuration and manifests as they are."""
    tree = json.loads(path.read_text())
    tree["config_sha256"] = sha256_json(json.loads(path.with_name("config.json").read_text()))
    for manifest, use in tree["manifests"].items():
        use["sha256"] = sha256_file(Path(manifest))
    write_json(path, tree)


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Path, ReportJob]]:
    """Two studies that differ in all that was computed, with every page."""
    found = []
    for other in (False, True):
        root = tmp_path_factory.mktemp("study")
        job = study(root, other)
        write_pages(root, job)
        found.append((root / "report", job))
    return found


def test_what_differs_between_studies_is_marked(studies) -> None:
    (first, _), (second, _) = studies
    names = sorted(path.name for path in first.glob("*.html"))
    assert {f"{name}.html" for name in (*PAGES, "index")} <= set(names)
    for name in names:
        texts = [(folder / name).read_text(encoding="utf-8") for folder in (first, second)]
        assert Rest(texts[0]).cells == Rest(texts[1]).cells, name
        changed = dict(shown_on(texts[0])).items() ^ dict(shown_on(texts[1])).items()
        assert changed or name in SAME, name


def test_trace_knows_every_marked_cell_and_no_page_lacks_one(studies) -> None:
    for folder, job in studies:
        ours = Ours.of(job)
        made = {table: cells(ours, table) for table in TABLES}
        assert page_problems(ours, made) == []
        assert [table for table, found in made.items() if not found] == []
        path = folder / "table_2.html"
        kept = path.read_text(encoding="utf-8")
        path.write_text(kept + own("Table 9", "a", "b", "1"), encoding="utf-8")
        (problem,) = page_problems(ours, made)
        assert "first difference: Table 9, a, b: 1, not anything of ours" in problem
        path.write_text(kept, encoding="utf-8")


def test_every_table_has_its_page() -> None:
    assert set(WHOLE.values()) <= {*PAGES, "index"}
    assert set(WHOLE) <= set(TABLES)


def test_a_cell_of_nothing_is_refused() -> None:
    cell = Cell("Table 9", "a", "b", "1", "out of thin air")
    (problem,) = trace_cell(Chain(), cell).broken()
    assert problem == "Table 9, a, b: no record says where 1 came from."
