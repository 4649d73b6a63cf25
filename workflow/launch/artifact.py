"""Whether a step's outputs are there and belong to its configuration."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from flava.errors import DataError
from flava.io import read_json, sha256_json
from flava.records import parse_record


def missing(outputs: Sequence[str], config: str) -> str:
    """Why the outputs are not valid; empty: all are there, and the record is this step's.

    Args:
        outputs: files that the step leaves.
        config: its resolved configuration, whose hash the record must have.
    """
    for output in outputs:
        path = Path(output)
        if not path.is_file():
            return f"{output} is not there"
        if path.stat().st_size == 0:
            return f"{output} is empty"
    try:
        wanted = sha256_json(read_json(config))
        for output in outputs:
            record = _record(output)
            if record is not None and parse_record(record, output).config_sha256 != wanted:
                return f"the record in {output} is of another configuration"
    except DataError as error:
        return str(error).rstrip(".")
    return ""


def recorded(outputs: Sequence[str]) -> bool:
    """Whether valid outputs have a record, which is written last."""
    return any(_record(output) is not None for output in outputs)


def _record(output: str) -> Any:
    """The record in a JSON output: the file itself, or its key `record`."""
    if not output.endswith(".json"):
        return None
    value = read_json(output)
    if Path(output).name == "record.json":
        return value
    return value.get("record") if isinstance(value, dict) else None
