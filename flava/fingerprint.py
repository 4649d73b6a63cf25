"""Fingerprints of a step's source code that ignore comments, docstrings and formatting.

A rule takes the fingerprint file as `input:`. Snakemake compares inputs by content, so a change
of code re-plans the steps that run it, while a comment, a docstring or a git commit does not. The
files beside a module that it names (a list of classes, a style sheet, templates) count as its code.
A checkpoint says by the fingerprint which code left it.
"""

from __future__ import annotations

import ast
import hashlib
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from flava.io import sha256_file, sha256_json

ROOT = Path(__file__).resolve().parents[1]
NAMED_FUNCTION = re.compile(r"(flava(?:\.\w+)+):\w+")  # pkgutil.resolve_name imports it

# What these decide is already in the resolved configuration, or cannot change a result.
NOT_PART = frozenset(
    {
        "flava.bases",
        "flava.checkout",
        "flava.config",
        "flava.errors",
        "flava.explain",
        "flava.fingerprint",
        "flava.io",
        "flava.jobs",
        "flava.params",
        "flava.processes",
        "flava.records",
        "flava.studies",
        "flava.study_files",
        "flava.study_sizes",
    }
)
# Of no consequence for the weights that a run trains: what prepares data, since a run is of its
# data's hashes, and what keeps, plots and exports the weights.
NOT_TRAINING = frozenset(
    {
        "flava.data.adapters",
        "flava.data.commands",
        "flava.data.sources",
        "flava.train.aside",
        "flava.train.checkpoint",
        "flava.train.command",
        "flava.train.curves",
        "flava.train.finish",
        "flava.train.interrupt",
        "flava.train.log",
        "flava.train.shards",
    }
)


def fingerprint(module: str, without: frozenset[str] = NOT_PART) -> dict[str, str]:
    """The code that a module runs.

    Args:
        module: full name.
        without: modules and packages that are left out, with all that they alone import.

    Returns:
        Module -> SHA-256 of its code, over `module` and all of `flava` that it imports; and path ->
        SHA-256 of each other file that they read from the package.
    """
    pending, found = [module], dict[str, str]()
    while pending:
        name = pending.pop()
        if name in found or any(name == each or name.startswith(f"{each}.") for each in without):
            continue
        path = _path(name)
        if path is None:
            continue
        digest, imports, assets = _read(path)
        found |= {name: digest, **assets}
        pending += imports
        parent = name.rpartition(".")[0]
        pending += [parent] if parent else []
        if name.endswith(".__main__"):
            pending.append(name.removesuffix(".__main__"))
    return dict(sorted(found.items()))


def training_sha256(module: str) -> str:
    """SHA-256 of the code that decides which weights `module` trains.

    Raises:
        ValueError: there is no such module.
    """
    if _path(module) is None:
        raise ValueError(f"There is no module {module} whose code could be read.")
    return sha256_json(fingerprint(module, NOT_PART | NOT_TRAINING))


def _path(module: str) -> Path | None:
    stem = ROOT.joinpath(*module.split("."))
    for path in (stem.with_suffix(".py"), stem / "__init__.py"):
        if path.is_file():
            return path
    return None


@cache
def _read(path: Path) -> tuple[str, tuple[str, ...], dict[str, str]]:
    """(hash of the code, modules of this project that it names in imports, its other files)."""
    tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            _drop_docstring(node)
    digest = hashlib.sha256(ast.dump(tree).encode()).hexdigest()
    imports = sorted({name for name in _imports(tree) if name.startswith("flava")})
    return digest, tuple(imports), _assets(tree, path.parent)


def _assets(tree: ast.Module, folder: Path) -> dict[str, str]:
    """Path -> SHA-256 of the files in `folder`, Python's apart, that the code names: as such, or by
    a folder here that is no package."""
    nodes = (node for node in ast.walk(tree) if isinstance(node, ast.Constant))
    named = {node.value for node in nodes if isinstance(node.value, str)}
    beside = [path for path in folder.iterdir() if path.name in named and path.suffix != ".py"]
    inside = [
        each for path in beside if not (path / "__init__.py").exists() for each in _files(path)
    ]
    return {path.relative_to(ROOT).as_posix(): sha256_file(path) for path in sorted(inside)}


def _files(path: Path) -> list[Path]:
    return [each for each in (path, *path.rglob("*")) if each.is_file()]


def _drop_docstring(
    node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef,
) -> None:
    if ast.get_docstring(node, clean=False) is not None:
        node.body = node.body[1:]


def _imports(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            named = NAMED_FUNCTION.fullmatch(node.value)
            yield from [named[1]] if named else []
