"""The versions of torch that a study's results were made with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from flava.records import Record
from flava.report.html import quantity
from flava.report.origins import named
from flava.report.runs import Run, named_records

NOTE = "the same settings may give other numbers under another version"


def versions(runs: Sequence[Run], earlier: Mapping[str, Record]) -> str:
    """Every version, and where there are several, what was made with which; may be empty.

    Args:
        runs: of the study, with their evaluations.
        earlier: name -> record of the training that runs start from.
    """
    found: dict[str, list[str]] = {}
    for name, record in named_records(runs, earlier):
        before = [process.packages for process in record.known_before]
        for version in dict.fromkeys(each.get("torch") for each in [record.packages, *before]):
            if version is not None:
                found.setdefault(version, []).append(name)
    if len(found) < 2:
        return "".join(f"torch {version}" for version in found)
    parts = [f"torch {version} ({named(names)})" for version, names in sorted(found.items())]
    return f"{'; '.join(parts)}. {quantity(len(found), 'version')}: {NOTE}"
