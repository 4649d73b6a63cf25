"""MATLAB files of official releases."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from flava.errors import DataError


def read_mat(path: Path, key: str, how_to_get: str) -> Any:
    """Variable `key` of a MATLAB file, without dimensions of length one.

    Raises:
        DataError: the file is no MATLAB file or lacks the variable; `how_to_get` says what to do.
    """
    from scipy.io import loadmat

    try:
        found = loadmat(path, squeeze_me=True)
    except Exception as error:  # SciPy meets damaged bytes with whatever comes of them
        raise DataError(f"{path} is not a readable MATLAB file ({error}). {how_to_get}") from error
    if key not in found:
        raise DataError(f"{path} has no variable '{key}'. {how_to_get}")
    return found[key]
