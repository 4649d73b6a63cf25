"""Paths in study files: `$FLAVA_DATA` and other variables are expanded in one place."""

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
