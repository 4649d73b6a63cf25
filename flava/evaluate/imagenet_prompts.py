"""ImageNet's class names and prompt templates out of CLIP's notebook, as `prompts` reads them.

python -m flava.evaluate.imagenet_prompts Prompt_Engineering_for_ImageNet.ipynb --output <folder>

The notebook is github.com/openai/CLIP, notebooks/Prompt_Engineering_for_ImageNet.ipynb. Its cells
are parsed for the two lists, and never run.
"""

from __future__ import annotations

import argparse
import ast
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from flava.data.lines import read_json
from flava.errors import DataError, run_cli
from flava.evaluate.formats.prompts import check_templates
from flava.io import write_json

ArgT = TypeVar("ArgT")
FoundT = TypeVar("FoundT")
LISTS = {"imagenet_classes": ("classnames", 1000), "imagenet_templates": ("templates", 80)}


def write_prompts(notebook: Path, output: Path) -> dict[str, int]:
    """Writes imagenet_classnames.json and imagenet_templates.json; their lengths by file.

    Raises:
        DataError: it is no notebook, has not both lists with 1,000 and 80 texts, a template has not
            one {}, or the folder cannot be written.
    """
    assigned = dict(_assigned(notebook))
    found = {name: _texts(assigned.get(name), name, str(notebook)) for name in LISTS}
    check_templates(found["imagenet_templates"], str(notebook))
    try:
        for name, (kind, _) in LISTS.items():
            write_json(output / f"imagenet_{kind}.json", found[name])
    except OSError as error:
        raise DataError(f"{output} cannot be written ({error}). Name another --output.") from None
    return {f"imagenet_{kind}.json": count for kind, count in LISTS.values()}


def _texts(value: object, name: str, where: str) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(text, str) and text for text in value):
        raise DataError(f"{where} sets no list of texts '{name}': is it CLIP's notebook?")
    count = LISTS[name][1]
    if len(value) != count:
        raise DataError(f"{where}: '{name}' has {len(value)} texts, {count} expected.")
    return list(value)


def _assigned(notebook: Path) -> Iterator[tuple[str, object]]:
    """(name, value) of every literal that a code cell assigns; later ones come later."""
    for source in _code(notebook):
        for statement in _parsed(ast.parse, source, ast.Module([], [])).body:
            if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
                yield statement.targets[0].id, _parsed(ast.literal_eval, statement.value, None)


def _parsed(parse: Callable[[ArgT], FoundT], code: ArgT, otherwise: FoundT) -> FoundT:
    """A cell with a shell command is no Python, and most values are no literals."""
    try:
        return parse(code)
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
        return otherwise


def _code(notebook: Path) -> list[str]:
    tree = read_json(notebook, "Get it from github.com/openai/CLIP (notebooks/).")
    try:
        return ["".join(cell["source"]) for cell in tree["cells"] if cell["cell_type"] == "code"]
    except (KeyError, TypeError):
        raise DataError(f"{notebook} is not a Jupyter notebook of version 4.") from None


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Class names and templates of CLIP's notebook.")
    parser.add_argument("notebook", type=Path)
    parser.add_argument("--output", type=Path, required=True, help="folder for the two files")
    given = parser.parse_args()
    print(write_prompts(given.notebook, given.output))


if __name__ == "__main__":
    run_cli(main)
