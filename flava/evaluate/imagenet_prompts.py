"""ImageNet's class names and prompt templates out of CLIP's notebook, as `prompts` reads them.

python -m flava.evaluate.imagenet_prompts Prompt_Engineering_for_ImageNet.ipynb --output <folder>

The notebook is github.com/openai/CLIP, notebooks/Prompt_Engineering_for_ImageNet.ipynb. Its cells
are parsed for the two lists, and never run.
"""

from __future__ import annotations

import argparse
import ast
from collections.abc import Iterator
from pathlib import Path

from flava.errors import DataError, run_cli
from flava.evaluate.formats.text_files import read_json
from flava.io import write_json

LISTS = {"imagenet_classes": ("classnames", 1000), "imagenet_templates": ("templates", 80)}


def write_prompts(notebook: Path, output: Path) -> dict[str, int]:
    """Writes imagenet_classnames.json and imagenet_templates.json; their lengths by file.

    Raises:
        DataError: it is no notebook, or has not both lists with 1,000 and 80 texts.
    """
    found = {name: value for name, value in _assigned(notebook) if name in LISTS}
    for name, (_, count) in LISTS.items():
        texts = found.get(name)
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise DataError(f"{notebook} sets no list of texts '{name}': is it CLIP's notebook?")
        if len(texts) != count:
            raise DataError(f"{notebook}: '{name}' has {len(texts)} texts, {count} expected.")
    for name, (kind, _) in LISTS.items():
        write_json(output / f"imagenet_{kind}.json", found[name])
    return {f"imagenet_{kind}.json": count for kind, count in LISTS.values()}


def _assigned(notebook: Path) -> Iterator[tuple[str, object]]:
    """(name, value) of every literal that a code cell assigns; later ones come later."""
    for source in _code(notebook):
        try:
            statements = ast.parse(source).body
        except SyntaxError:  # a cell with a shell command or a magic
            continue
        for statement in statements:
            if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
                try:
                    yield statement.targets[0].id, ast.literal_eval(statement.value)
                except ValueError:  # no literal
                    continue


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
