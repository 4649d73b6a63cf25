"""Errors a user can act on: one paragraph that says what is wrong, where, and what to do."""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches


class FlavaError(Exception):
    """Base of all errors that are the input's fault, not the program's."""

    exit_code = 2


class ConfigError(FlavaError):
    """A study, column, task or run configuration is wrong."""

    exit_code = 2


class DataError(FlavaError):
    """An input file is missing, truncated, corrupt or has the wrong content."""

    exit_code = 3


class MissingFileError(DataError):
    """A file that another file names is not there: a dead link, where links are expected to die."""


class TrainingError(FlavaError):
    """Training cannot go on, e.g. the loss is not finite."""

    exit_code = 4


class CheckpointError(FlavaError):
    """A checkpoint or exported model is missing, damaged or of another configuration."""

    exit_code = 5


class ForbiddenError(FlavaError):
    """The file system does not let this user read or write a file, or has no room for it."""

    exit_code = 3


_SHARED = (
    "Does another user work in this folder? To share it, all need `umask 002`, and what is there "
    "`chgrp -R <group>` and `chmod -R g+rwX`; or work in a clone of your own."
)
_ROOM = "Free space there, then run the same command again: what was finished stays."
# What the file system refuses until somebody acts -> what to do.
_REMEDIES = {
    errno.EACCES: _SHARED,
    errno.EPERM: _SHARED,
    errno.ENOSPC: _ROOM,
    errno.EDQUOT: _ROOM,
    errno.EROFS: "Work in a folder that can be written, or have it mounted for writing.",
}


def forbidden(error: OSError, path: object = None) -> ForbiddenError | None:
    """What the file system refuses, at `path` where the error names no file, as one sentence.

    None where the error is another one, which may not come again.
    """
    if error.errno not in _REMEDIES:
        return None
    place = error.filename or path or "A file that is written"
    return ForbiddenError(f"{place}: {error.strerror}. {_REMEDIES[error.errno]}")


@contextmanager
def permitted() -> Iterator[None]:
    """Within it, what the file system forbids or has no room for is one sentence.

    Raises:
        ForbiddenError: names the file, where the system does.
    """
    try:
        yield
    except OSError as error:
        refusal = forbidden(error)
        if refusal is None:
            raise
        raise refusal from None


def unknown_name(kind: str, name: str, allowed: list[str], where: str) -> str:
    """Sentence for an unknown name, with the nearest valid one and all allowed ones."""
    close = get_close_matches(name, allowed, n=1, cutoff=0.5)
    hint = f" Did you mean '{close[0]}'?" if close else ""
    return f"{where}: unknown {kind} '{name}'.{hint} Allowed: {', '.join(sorted(allowed))}."


def run_cli(main: Callable[[], None]) -> None:
    """Runs a command-line entry point; a FlavaError becomes one paragraph and its exit code.

    So does what the file system forbids, or a full disk.
    """
    try:
        with permitted():
            main()
    except FlavaError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(error.exit_code) from None
