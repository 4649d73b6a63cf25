"""Text files, and fields of JSON objects, with file and line in every error.

JSON itself: flava.data.lines.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flava.errors import DataError


def read_text(path: Path, how_to_get: str) -> str:
    """UTF-8 text without a byte-order mark; its line ends are those of the file.

    Raises:
        DataError: the file is missing (`how_to_get` says what to do), unreadable or not UTF-8.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return file.read()
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(f"{path} is missing. {how_to_get}") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text ({error}).") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error}). {how_to_get}") from None


def lines(path: Path, how_to_get: str) -> Iterator[tuple[int, str]]:
    """Numbered non-empty lines, from 1; only newline ends a line, as in the official files."""
    for number, line in enumerate(read_text(path, how_to_get).split("\n"), start=1):
        line = line.removesuffix("\r")
        if line:
            yield number, line


def field_of(value: Any, key: str, where: str, kind: type | tuple[type, ...] = str) -> Any:
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
