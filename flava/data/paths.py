"""Paths in study files, whose variables (`$FLAVA_DATA`) are expanded here; names of files."""

from __future__ import annotations

import os
import re
from pathlib import Path

from flava.errors import DataError

_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")


def expand(path: str | Path) -> Path:
    """`path` with its environment variables replaced.

    Raises:
        DataError: a variable is not set; says how to set it.
    """

    def value(match: re.Match[str]) -> str:
        name = match.group(1) or match.group(2)
        if not os.environ.get(name):
            raise DataError(
                f"'{path}' uses the environment variable {name}, which is not set. Set it to the "
                f"folder that holds the data sets, e.g. export {name}=/path/to/data."
            )
        return os.environ[name]

    return Path(_VARIABLE.sub(value, str(path)))


def check_encodable(name: str, where: object) -> None:
    """Refuses a file's name that is not UTF-8: no manifest and no record can hold it.

    Raises:
        DataError: with `where` the file lies.
    """
    try:
        name.encode()
    except UnicodeEncodeError:
        raise DataError(f"{where}: the file name {name!r} is not UTF-8. Rename it.") from None
