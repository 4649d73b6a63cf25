"""The resolved configurations of a plan, on disk, where the steps that run read them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flava.io import canonical_json, write_json
from workflow.lock import BusyError, holder

LOCK = ".snakemake/driver.lock"


def write_configs(study: str, files: Mapping[str, Any]) -> None:
    """Writes every configuration whose content changed.

    Raises:
        BusyError: another Snakemake runs the study and would read the changed ones as its own.
    """
    changed = [path for path, value in files.items() if not _holds(path, value)]
    if changed and holder(LOCK) == study:
        raise BusyError(
            f"Another Snakemake runs study '{study}' in this folder, with other settings: "
            f"{changed[0]} would change under it. Wait for it, stop it, or plan with its settings: "
            "the same --config values and params/."
        )
    for path in changed:
        write_json(path, files[path])


def _holds(path: str, value: Any) -> bool:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read() == canonical_json(value)
    except FileNotFoundError:
        return False
