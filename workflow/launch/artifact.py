"""A step's outputs: whether they are valid, what they rest on, and second names that keep them."""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from flava.errors import DataError
from flava.io import read_json, sha256_file, sha256_json
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


def basis(inputs: Sequence[str]) -> dict[str, str]:
    """Path -> SHA-256 of the JSON files among a rule's inputs.

    They are its configuration, the fingerprint of its code, and the manifests and records of what
    it reads, which hold hashes of the rest.
    """
    return {path: sha256_file(Path(path)) for path in inputs if path.endswith(".json")}


def keep(outputs: Sequence[str], job: str) -> None:
    """Gives the outputs of `job`, which ended well, second names (hard links) beside them.

    Where nobody waits for the job, Snakemake removes its outputs before it asks for them again. A
    file system without hard links keeps none, which is said; the step then runs again.
    """
    try:
        for output in outputs:
            os.link(output, _kept(output, job))
    except OSError as error:
        say = "not kept for a launcher that comes later, which would run this step again"
        print(f"warning: {error}: {say}", file=sys.stderr, flush=True)


def take_back(outputs: Sequence[str], job: str) -> bool:
    """Puts what `keep` kept in the outputs' places; False: not all of it is there."""
    pairs = [(_kept(output, job), Path(output)) for output in outputs]
    if not all(kept.is_file() for kept, _ in pairs):
        return False
    for kept, output in pairs:
        kept.replace(output)
        os.utime(output)  # later than its inputs, which were not changed since
    return True


def drop(outputs: Sequence[str]) -> None:
    """Removes all that any job kept of these outputs."""
    for output in outputs:
        for kept in _all_kept(Path(output)):
            kept.unlink(missing_ok=True)


def _kept(output: str, job: str) -> Path:
    path = Path(output)
    return path.with_name(f".{path.name}.kept-{job}")


def _all_kept(output: Path) -> Iterator[Path]:
    return output.parent.glob(f".{glob.escape(output.name)}.kept-*")


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
