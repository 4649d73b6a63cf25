"""Writes the options table of the docs from the typed configuration."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, get_args, get_origin

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from flava import config
from flava.config import ContrastiveConfig, Strict
from flava.io import atomic_path

RESOLVED = (Strict, ContrastiveConfig)  # made from other keys: none of a file
HEADER = """# Options

Every key of `params/*.yaml` with its allowed values, generated from `flava/config/` by `make docs`.
A key without a default must be given. "TMM" is torchmultimodal, "HF" Hugging Face transformers. A
study file may also have `base: <study>`, whose keys it takes where it does not declare them, and
`budgets`, named variants that change some of its keys; a column may have `base: <column>`.
"""


def options() -> str:
    """The options page in Markdown."""
    sections = [HEADER]
    for cls in vars(config).values():
        if isinstance(cls, type) and issubclass(cls, Strict) and cls not in RESOLVED:
            sections.append(_section(cls))
    return "\n".join(sections)


def _section(cls: type[Strict]) -> str:
    doc = (cls.__doc__ or "").strip().split("\n\n")[0]
    lines = [f"## {cls.__name__}", "", doc, "", "| key | default | meaning |", "|---|---|---|"]
    for name, field in cls.model_fields.items():
        lines.append(f"| `{name}` | {_default(field)} | {_meaning(field)} |")
    return "\n".join(lines) + "\n"


def _default(field: FieldInfo) -> str:
    if field.default_factory is not None:
        value = field.get_default(call_default_factory=True, validated_data={})
        return f"see {type(value).__name__}" if isinstance(value, Strict) else f"`{value!r}`"
    return "required" if field.default is PydanticUndefined else f"`{field.default!r}`"


def _meaning(field: FieldInfo) -> str:
    """The description, or what the class of the value says of itself; then allowed values."""
    parts = list(_parts(field.annotation))
    said = [field.description] if field.description else []
    models = [part for part in parts if isinstance(part, type) and issubclass(part, Strict)]
    if models and not said:
        name, doc = models[0].__name__, " ".join((models[0].__doc__ or "").split())
        said = [f"[{name}](#{name.lower()}): {doc.partition('. ')[0].rstrip('.')}"]
    values = [value for part in parts if get_origin(part) is Literal for value in get_args(part)]
    if values and str not in parts:  # beside free text they are not all that is allowed
        said.append(f"allowed: {', '.join(f'`{value}`' for value in dict.fromkeys(values))}")
    return "; ".join(said)


def _parts(annotation: object) -> Iterator[object]:
    """A type and all that it is made of; a Literal as a whole."""
    yield annotation
    if get_origin(annotation) is not Literal:
        for part in get_args(annotation):
            yield from _parts(part)


def main() -> None:
    """Writes the page to the path given as the only argument."""
    with atomic_path(Path(sys.argv[1])) as temporary:
        temporary.write_text(options(), encoding="utf-8")


if __name__ == "__main__":
    main()
