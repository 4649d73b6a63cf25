"""What the leak check finds: the content of leaks.json."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import NonNegativeInt, ValidationError

from flava.config import LeakConfig, Strict
from flava.errors import DataError
from flava.io import read_json
from flava.records import Record, parse_record


class ImageMatch(Strict):
    """A test image and its double."""

    test: str
    corpus: str
    distance: NonNegativeInt
    correlation: float


class ImageLeaks(Strict):
    """Test images of a task that a corpus has too."""

    corpus: str
    task: str
    test: NonNegativeInt
    flat: NonNegativeInt
    near: NonNegativeInt
    matched: NonNegativeInt
    examples: list[ImageMatch]


class TextLeaks(Strict):
    """Test texts of a task that a corpus has too."""

    corpus: str
    task: str
    test: NonNegativeInt
    unknown: NonNegativeInt
    short: NonNegativeInt
    short_matched: NonNegativeInt
    matched: NonNegativeInt
    examples: list[str]


class Leaks(Strict):
    """What the step writes, its record apart."""

    study: str
    settings: LeakConfig
    images: list[ImageLeaks]
    texts: list[TextLeaks]


def counts(leaks: Leaks) -> dict[str, Mapping[str, int]]:
    """'<task> in <corpus>' -> number found, of images and of texts."""
    return {
        "images": {f"{found.task} in {found.corpus}": found.matched for found in leaks.images},
        "texts": {f"{found.task} in {found.corpus}": found.matched for found in leaks.texts},
    }


def load_leaks(path: Path | str) -> tuple[Leaks, Record]:
    """Reads leaks.json.

    Raises:
        DataError: it is missing, malformed or has no valid record.
    """
    value = read_json(path)
    if not isinstance(value, dict) or "record" not in value:
        raise DataError(f"{path} has no record of where it came from. Run the leak check again.")
    record = parse_record(value.pop("record"), str(path))
    try:
        return Leaks.model_validate(value), record
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise DataError(f"{path}: {key}: {first['msg']}. Run the leak check again.") from None
