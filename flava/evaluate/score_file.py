"""The file that an evaluate job leaves: whose scores, the scores, and a record with their hash."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flava.errors import DataError
from flava.io import sha256_json
from flava.records import Record

KEY = "scores_sha256"  # in the record's `extra`


def scores_sha256(content: Mapping[str, Any]) -> str:
    """SHA-256 of all that the file says but its record."""
    return sha256_json({key: value for key, value in content.items() if key != "record"})


def check_scores(content: Mapping[str, Any], record: Record, where: str) -> None:
    """Refuses scores that are not those that the record was written with.

    Raises:
        DataError: names the file.
    """
    recorded = record.extra.get(KEY)
    if recorded is None:
        raise DataError(
            f"{where} was changed after it was written: its record has no {KEY}. Delete it and run "
            "the evaluation again."
        )
    found = scores_sha256(content)
    if found != recorded:
        raise DataError(
            f"{where} was changed after it was written: its scores have sha256 {found[:12]}, its "
            f"record says {str(recorded)[:12]}. Delete it and run the evaluation again."
        )
