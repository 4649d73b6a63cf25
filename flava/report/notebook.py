"""Runs a jupytext notebook and writes it as .ipynb and HTML, byte-equal from run to run."""

from __future__ import annotations

import ast
import html
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import nbformat
from nbformat import NotebookNode

from flava.errors import ConfigError, DataError, unknown_name
from flava.io import atomic_path
from flava.report.html import page
from flava.report.kernel import NotebookError, execute, forget, running_kernel

if TYPE_CHECKING:
    from jupyter_client.manager import AsyncKernelManager

TEMPLATES = Path(__file__).with_name("templates")
METADATA = {
    "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
    "language_info": {"name": "python"},
}


@dataclass(frozen=True)
class Rendering:
    """A page to make: `notebook` (py:percent) run with `parameters` gives `output` (.html).

    `parameters` are values for names that the cell tagged "parameters" assigns.
    """

    notebook: Path
    output: Path
    parameters: Mapping[str, Any]


def render_all(
    renderings: Sequence[Rendering], timeout_seconds: int = 300, home: str | None = None
) -> None:
    """Runs notebooks in this folder, one after another in one kernel; writes each page and .ipynb.

    Each starts without the names of the last.

    Args:
        renderings: what to render; all parameters are checked before the first runs.
        timeout_seconds: limit for each cell.
        home: relative link to the index page.

    Raises:
        ConfigError: a notebook has no parameters cell or a parameter is not one of its names.
        NotebookError: a cell failed; what ran until then is beside the page as .failed.ipynb.
    """
    sources = {each.notebook: read_notebook(each.notebook) for each in renderings}
    for each in renderings:
        check_parameters(sources[each.notebook], each.parameters, each.notebook)
    with running_kernel() as kernel:
        for position, each in enumerate(renderings):
            if position:
                forget(kernel)
            executed = _run(sources[each.notebook], each, timeout_seconds, kernel)
            clean(executed)
            with atomic_path(each.output.with_suffix(".ipynb")) as temporary:
                written: str = nbformat.writes(executed)  # type: ignore[no-untyped-call]
                temporary.write_text(written, encoding="utf-8")
            with atomic_path(each.output) as temporary:
                temporary.write_text(to_html(executed, home), encoding="utf-8")


def _run(
    source: NotebookNode, rendering: Rendering, timeout_seconds: int, kernel: AsyncKernelManager
) -> NotebookNode:
    """The executed notebook; what ran until a failure is kept beside the page."""
    failed_path = rendering.output.with_suffix(".failed.ipynb")
    failed_path.unlink(missing_ok=True)
    with TemporaryDirectory() as folder:
        partial = Path(folder) / "partial.ipynb"
        try:
            return execute(source, partial, rendering.parameters, timeout_seconds, kernel)
        except NotebookError as error:
            if partial.exists():
                failed_path.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(partial, failed_path)
            raise NotebookError(f"{rendering.notebook}: {error} See {failed_path}.") from None


def read_notebook(path: Path) -> NotebookNode:
    """Reads a py:percent file; cell ids are numbers, not random text.

    Raises:
        DataError: the file is missing.
    """
    import jupytext

    if not path.is_file():
        raise DataError(f"{path} is missing. Notebooks lie in notebooks/.")
    node: NotebookNode = jupytext.read(path, fmt="py:percent")
    node.metadata = _node(METADATA)
    _number_cells(node)
    return node


def check_parameters(node: NotebookNode, parameters: Mapping[str, Any], where: Path) -> None:
    """Refuses names that the parameters cell does not assign: papermill would take them.

    Raises:
        ConfigError: names the parameter, the nearest one and all.
    """
    cells = [cell for cell in node.cells if "parameters" in cell.metadata.get("tags", [])]
    if len(cells) != 1:
        raise ConfigError(
            f"{where}: {len(cells)} cells are tagged 'parameters', expected one. "
            'Begin the cell with: # %% tags=["parameters"]'
        )
    known = assigned_names(cells[0].source)
    for name in parameters:
        if name not in known:
            raise ConfigError(unknown_name("parameter", name, known, str(where)))


def assigned_names(source: str) -> list[str]:
    """Names that top-level statements of `source` assign."""
    names = []
    for statement in ast.parse(source).body:
        if isinstance(statement, ast.Assign):
            names += [target.id for target in statement.targets if isinstance(target, ast.Name)]
        elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            names.append(statement.target.id)
    return names


def clean(node: NotebookNode) -> None:
    """Strips what differs from run to run; warnings on stderr go to this process's stderr."""
    count = 0  # a kernel counts on from page to page
    for cell in node.cells:
        tags = cell.metadata.get("tags", [])
        cell.metadata = _node({"tags": tags} if tags else {})
        if cell.cell_type != "code":
            continue
        count += 1
        cell.execution_count = count
        for output in cell.outputs:
            if "execution_count" in output:
                output.execution_count = count
            if output.output_type == "stream" and output.name == "stderr":
                print(output.text, end="", file=sys.stderr)
        cell.outputs = [
            output
            for output in cell.outputs
            if not (output.output_type == "stream" and output.name == "stderr")
        ]
    node.metadata = _node(METADATA)
    _number_cells(node)


def to_html(node: NotebookNode, home: str | None = None) -> str:
    """The notebook as a self-contained page: results first, code folded away."""
    from nbconvert import HTMLExporter

    exporter = HTMLExporter(  # type: ignore[no-untyped-call]
        template_name="flava",
        extra_template_basedirs=[str(TEMPLATES)],
        mathjax_url="",
        require_js_url="",
        jquery_url="",
        mermaid_js_url="",
        anchor_link_text="",
    )
    body, _ = exporter.from_notebook_node(node)
    return page(title_of(node), body, home)


def title_of(node: NotebookNode) -> str:
    """The first level-one heading of the notebook's text, or of what a cell gave."""
    for cell in node.cells:
        for line in cell.source.splitlines() if cell.cell_type == "markdown" else ():
            if line.startswith("# "):
                return str(line[2:].strip())
    shown = [
        str(output.data.get("text/html", ""))
        for cell in node.cells
        for output in cell.get("outputs", ())
        if "data" in output
    ]
    match = re.search(r"<h1>(.*?)</h1>", "".join(shown), re.DOTALL)
    return html.unescape(match[1].strip()) if match else "Notebook"


def _node(value: dict[str, Any]) -> NotebookNode:
    node: NotebookNode = nbformat.from_dict(value)  # type: ignore[no-untyped-call]
    return node


def _number_cells(node: NotebookNode) -> None:
    for index, cell in enumerate(node.cells):
        cell["id"] = f"cell-{index}"
