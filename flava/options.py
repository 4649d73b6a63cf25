"""Writes the options table of the docs from the typed configuration."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from pydantic_core import PydanticUndefined

from flava import config
from flava.config import Strict
from flava.io import atomic_path

HEADER = """# Options

Every key of `params/*.yaml`, generated from `flava/config/` by `make docs`. A key without a
default must be given. "TMM" is torchmultimodal, "HF" Hugging Face transformers. A study file may
also have `base: <study>`, whose keys it takes where it does not declare them, and `budgets`, named
variants that change some of its keys; a column may have `base: <column>`.
"""


def options() -> str:
    """The options page in Markdown."""
    sections = [HEADER]
    for cls in vars(config).values():
        if isinstance(cls, type) and issubclass(cls, Strict) and cls is not Strict:
            sections.append(_section(cls))
    return "\n".join(sections)


def _section(cls: type[Strict]) -> str:
    doc = (cls.__doc__ or "").strip().split("\n\n")[0]
    lines = [f"## {cls.__name__}", "", doc, "", "| key | default | meaning |", "|---|---|---|"]
    for name, field in cls.model_fields.items():
        lines.append(f"| `{name}` | {_default(field)} | {field.description or ''} |")
    return "\n".join(lines) + "\n"


def _default(field: Any) -> str:
    if field.default_factory is not None:
        return f"see {field.default_factory().__class__.__name__}"
    return "required" if field.default is PydanticUndefined else f"`{field.default!r}`"


def main() -> None:
    """Writes the page to the path given as the only argument."""
    with atomic_path(Path(sys.argv[1])) as temporary:
        temporary.write_text(options(), encoding="utf-8")


if __name__ == "__main__":
    main()
