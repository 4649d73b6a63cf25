"""Runs notebooks by papermill in a Jupyter kernel that can import this package."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import nbformat
from nbformat import NotebookNode

from flava.errors import FlavaError

if TYPE_CHECKING:
    from jupyter_client.manager import AsyncKernelManager

NAME = "python3"
START_SECONDS = 300  # until a kernel answers: on a busy machine a minute can pass


class NotebookError(FlavaError):
    """A cell of a notebook failed or took too long."""

    exit_code = 6


@contextmanager
def running_kernel() -> Iterator[AsyncKernelManager]:
    """A kernel for one notebook after another; it ends with the context."""
    from jupyter_client.manager import AsyncKernelManager
    from jupyter_core.utils import run_sync

    # Sockets in a folder of its own: kernels that start side by side can take each other's ports.
    with TemporaryDirectory() as folder:
        file = str(Path(folder) / "kernel.json")
        kernel = AsyncKernelManager(kernel_name=NAME, transport="ipc", connection_file=file)
        with _importable():
            run_sync(kernel.start_kernel)()
        try:
            yield kernel
        finally:
            run_sync(kernel.shutdown_kernel)(now=True)


def execute(
    source: NotebookNode,
    output: Path,
    parameters: Mapping[str, Any],
    timeout_seconds: int,
    kernel: AsyncKernelManager,
) -> NotebookNode:
    """The executed notebook; `source` stays as it is.

    Args:
        source: notebook with a cell tagged "parameters".
        output: where papermill writes after each cell what ran until then.
        parameters: values for names that the parameters cell assigns.
        timeout_seconds: limit for each cell.
        kernel: a running one.

    Raises:
        NotebookError: a cell failed or took too long, or the kernel died. Use another kernel then.
    """
    import papermill
    from nbclient.exceptions import CellTimeoutError, DeadKernelError

    try:
        executed: NotebookNode = papermill.execute_notebook(
            deepcopy(source),
            str(output),
            parameters=dict(parameters),
            kernel_name=NAME,
            cwd=str(Path.cwd()),
            progress_bar=False,
            start_timeout=START_SECONDS,
            execution_timeout=timeout_seconds,
            # Without these a cell's output that comes late is left out, without an error.
            iopub_timeout=timeout_seconds,
            raise_on_iopub_timeout=True,
            km=kernel,
        )
        return executed
    except papermill.exceptions.PapermillExecutionError as error:
        reason = f"cell {error.cell_index}: {error.ename}: {error.evalue}".rstrip(". \n")
        raise NotebookError(f"{reason}.") from None
    except CellTimeoutError:
        raise NotebookError(f"a cell ran longer than {timeout_seconds} s.") from None
    except DeadKernelError:
        raise NotebookError("the kernel died, e.g. for want of memory.") from None


def forget(kernel: AsyncKernelManager) -> None:
    """Deletes all names: a cell that needs one of an earlier notebook's has to fail."""
    from nbclient import NotebookClient

    cell = nbformat.v4.new_code_cell("%reset -f")  # type: ignore[no-untyped-call]
    cells = nbformat.v4.new_notebook(cells=[cell])  # type: ignore[no-untyped-call]
    NotebookClient(cells, km=kernel, startup_timeout=START_SECONDS).execute()


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
