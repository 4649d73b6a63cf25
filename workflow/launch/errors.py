"""Errors of the launcher."""

from __future__ import annotations

from flava.errors import FlavaError


class LaunchError(FlavaError):
    """A launched job did not end well."""

    exit_code = 6


class RefusedError(FlavaError):
    """The scheduler did not take a job.

    Attributes:
        later: the same request may be accepted later.
    """

    exit_code = 6

    def __init__(self, message: str, later: bool) -> None:
        super().__init__(message)
        self.later = later


class SilentError(FlavaError):
    """The scheduler did not answer a question."""

    exit_code = 6
