"""The resolved configurations of a plan, on disk, where the steps that run read them."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from flava.errors import permitted
from flava.io import canonical_json, write_json
from workflow.lock import BusyError, hold, holder

LOCK = ".snakemake/driver.lock"
WRITING = ".snakemake/configs.lock"


@permitted()
def write_configs(study: str, files: Mapping[str, Any]) -> None:
    """Writes every configuration whose content changed.

    Raises:
        BusyError: another Snakemake runs the study and would read the changed ones as its own.
        ForbiddenError: a file is another user's alone.
    """
    if not _changed(files):
        return
    with _alone():
        changed = _changed(files)
        if changed and holder(LOCK) == study:
            raise BusyError(
                f"Another Snakemake runs study '{study}' in this folder, with other settings or "
                f"other code: {changed[0]} would change under it. Wait for it, stop it, or plan "
                "with the same --config values, params/ and code (another clone for edits)."
            )
        for path in changed:
            write_json(path, files[path])


@permitted()
def begin(study: str, files: Mapping[str, Any]) -> None:
    """Takes the lock for the run of `study` whose configurations `write_configs` has written.

    Raises:
        BusyError: another Snakemake runs, or planned with other settings since: its configurations
            are there, and this one's jobs were chosen by them.
        ForbiddenError: a file is another user's alone.
    """
    with _alone():
        hold(LOCK, study)
        if changed := _changed(files):
            raise BusyError(
                f"Another Snakemake planned study '{study}' in this folder with other settings "
                f"while this one started: it has changed {changed[0]}. Start this one again."
            )


@contextmanager
def _alone() -> Iterator[None]:
    """Nobody else writes configurations or begins a run meanwhile."""
    Path(WRITING).parent.mkdir(parents=True, exist_ok=True)
    with open(WRITING, "a", encoding="utf-8") as file:
        with suppress(OSError):  # a file system without locks: `hold` says so
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _changed(files: Mapping[str, Any]) -> list[str]:
    return [path for path, value in files.items() if not _holds(path, value)]


def _holds(path: str, value: Any) -> bool:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read() == canonical_json(value)
    except FileNotFoundError:
        return False
