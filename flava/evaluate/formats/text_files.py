"""Text lines, and fields of JSON objects, with file and line in every error.

JSON itself: flava.data.lines.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flava.data.lines import all_lines
from flava.errors import DataError


def lines(path: Path, how_to_get: str) -> Iterator[tuple[int, str]]:
    """The lines of `all_lines` that are not empty: one of blanks alone is given. Raises as it."""
    return ((number, line) for number, line in all_lines(path, how_to_get) if line)


def field_of(value: Any, key: str, where: str, kind: type = str) -> Any:
    """`value[key]`, checked for presence and type.

    Raises:
        DataError: the key is absent or of another type; `where` names file and line.
    """
    if not isinstance(value, dict) or key not in value:
        raise DataError(f"{where}: key '{key}' is missing.")
    found = value[key]
    if not isinstance(found, kind) or isinstance(found, bool):
        raise DataError(f"{where}: key '{key}' has the wrong type ({type(found).__name__}).")
    return found
