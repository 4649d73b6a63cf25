"""Runs a jupytext notebook and writes it as .ipynb and HTML, byte-equal from run to run."""

from __future__ import annotations

import ast
import html
import os
import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import nbformat
from nbformat import NotebookNode

from flava.errors import ConfigError, DataError, FlavaError, unknown_name
from flava.io import atomic_path
from flava.report.html import page

TEMPLATES = Path(__file__).with_name("templates")
METADATA = {
    "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
    "language_info": {"name": "python"},
}


class NotebookError(FlavaError):
    """A cell of a notebook failed or took too long."""

    exit_code = 6


def render(
    notebook: Path | str,
    output: Path | str,
    parameters: Mapping[str, Any],
    timeout_seconds: int = 300,
    home: str | None = None,
) -> None:
    """Runs `notebook` (py:percent) in this folder; writes `output` (.html) and an .ipynb beside it.

    Args:
        notebook: Python file with a cell tagged "parameters".
        output: HTML page to write.
        parameters: values for names that the parameters cell assigns.
        timeout_seconds: limit for each cell.
        home: relative link to the index page.

    Raises:
        ConfigError: the notebook has no parameters cell or a parameter is not one of its names.
        NotebookError: a cell failed; what ran until then is beside `output` as .failed.ipynb.
    """
    notebook, output = Path(notebook), Path(output)
    source = read_notebook(notebook)
    check_parameters(source, parameters, notebook)
    executed_path = output.with_suffix(".ipynb")
    failed_path = output.with_suffix(".failed.ipynb")
    failed_path.unlink(missing_ok=True)
    with TemporaryDirectory() as folder:
        partial = Path(folder) / "partial.ipynb"
        try:
            executed = _execute(source, partial, parameters, timeout_seconds)
        except NotebookError as error:
            if partial.exists():
                failed_path.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(partial, failed_path)
            raise NotebookError(f"{notebook}: {error} See {failed_path}.") from None
    clean(executed)
    with atomic_path(executed_path) as temporary:
        written: str = nbformat.writes(executed)  # type: ignore[no-untyped-call]
        temporary.write_text(written, encoding="utf-8")
    with atomic_path(output) as temporary:
        temporary.write_text(to_html(executed, home), encoding="utf-8")


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
    for cell in node.cells:
        tags = cell.metadata.get("tags", [])
        cell.metadata = _node({"tags": tags} if tags else {})
        if cell.cell_type != "code":
            continue
        for output in cell.outputs:
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


def _execute(
    source: NotebookNode, output: Path, parameters: Mapping[str, Any], timeout_seconds: int
) -> NotebookNode:
    import papermill
    from nbclient.exceptions import CellTimeoutError, DeadKernelError

    try:
        with _importable():
            executed: NotebookNode = papermill.execute_notebook(
                source,
                str(output),
                parameters=dict(parameters),
                kernel_name="python3",
                cwd=str(Path.cwd()),
                progress_bar=False,
                execution_timeout=timeout_seconds,
            )
            return executed
    except papermill.exceptions.PapermillExecutionError as error:
        raise NotebookError(f"cell {error.cell_index}: {error.ename}: {error.evalue}") from None
    except CellTimeoutError:
        raise NotebookError(f"a cell ran longer than {timeout_seconds} s.") from None
    except DeadKernelError:
        raise NotebookError("the kernel died, e.g. for want of memory.") from None


@contextmanager
def _importable() -> Iterator[None]:
    """Lets the kernel import this package also where it is not installed; no IPython colours."""
    before = {name: os.environ.get(name) for name in ("PYTHONPATH", "NO_COLOR")}
    root = str(Path(__file__).parents[2])
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [root, before["PYTHONPATH"]]))
    os.environ["NO_COLOR"] = "1"
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _node(value: dict[str, Any]) -> NotebookNode:
    node: NotebookNode = nbformat.from_dict(value)  # type: ignore[no-untyped-call]
    return node


def _number_cells(node: NotebookNode) -> None:
    for index, cell in enumerate(node.cells):
        cell["id"] = f"cell-{index}"
