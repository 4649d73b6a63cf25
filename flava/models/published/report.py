"""What loading published weights did, as plain data for a run's record."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Report:
    """Every parameter of the file, and every one of ours, is in one of the lists.

    Attributes:
        source: as configured.
        file: name of the weights file.
        sha256: of the weights file.
        revision: commit of the hub's repository; None for a local file.
        layout: whose parameter names it has.
        part: what was loaded.
        loaded: our parameters that come from the file.
        converted: by what was done, the parameters of the file that it was done to.
        dropped: by reason, the parameters of the file that are not used.
        not_in_file: by reason, our parameters that keep their initial value.
        differences: what still differs from the published model, one sentence each.
    """

    source: str
    file: str
    sha256: str
    revision: str | None
    layout: str
    part: str
    loaded: list[str] = field(default_factory=list)
    converted: dict[str, list[str]] = field(default_factory=dict)
    dropped: dict[str, list[str]] = field(default_factory=dict)
    not_in_file: dict[str, list[str]] = field(default_factory=dict)
    differences: list[str] = field(default_factory=list)

    def add(self, group: dict[str, list[str]], reason: str, names: Iterable[str]) -> None:
        """Adds parameters to `converted`, `dropped` or `not_in_file`."""
        names = list(names)
        if names:
            group.setdefault(reason, []).extend(names)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON data; names sorted, so that equal loads give equal records."""
        values = dict(vars(self))
        values["loaded"] = sorted(self.loaded)
        for key in ("converted", "dropped", "not_in_file"):
            groups: dict[str, list[str]] = values[key]
            values[key] = {reason: sorted(set(names)) for reason, names in sorted(groups.items())}
        return values
