"""The training log: one row a window of updates, kept in memory, in checkpoints and in log.csv."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from flava.io import atomic_path
from flava.train.step import Step

Row = dict[str, float | int | None]
TIME_COLUMNS = ("samples_per_second", "seconds")


class TrainingLog:
    """Means of all losses over windows of `every` updates (docs/training.md names the columns).

    Everything but the two time columns is a function of the run's configuration alone, so it is
    equal after an interruption: the half-filled window travels in the checkpoint too.
    """

    def __init__(
        self,
        objectives: Mapping[str, Sequence[str]],
        every: int,
        diagnostics: Sequence[str] = (),
        counts: Sequence[str] = (),
    ) -> None:
        self.every = every
        self.diagnostics = list(diagnostics)
        self.counts = list(counts)
        self.kinds = sorted(objectives)
        self.losses = [f"{kind}.{name}" for kind in self.kinds for name in objectives[kind]]
        self.rows: list[Row] = []
        self.seconds = 0.0  # of training, over all processes that continued this run
        self._sums: dict[str, float] = {}
        self._counts: dict[str, int] = {}
        self._window_start = 0.0

    @property
    def columns(self) -> list[str]:
        """Header of log.csv."""
        counts = [f"updates.{kind}" for kind in self.kinds]
        scalars = ["loss", "learning_rate", "grad_norm", *self.diagnostics, *self.counts]
        return ["update", *counts, *self.losses, *scalars, *TIME_COLUMNS]

    def add(self, kind: str, step: Step, seconds: float) -> None:
        """Adds one update, which took `seconds`, to the window; a skipped one is only counted."""
        self.seconds += seconds
        self._add(f"updates.{kind}", 1.0)
        self._add("samples", float(step.samples))
        if step.overflow:
            self._add("skipped", 1.0)
            return
        self._add("loss", sum(step.losses.values()))
        self._add("grad_norm", step.grad_norm)
        for name, value in step.losses.items():
            self._add(f"{kind}.{name}", value)

    def close_window(
        self, update: int, learning_rate: float, diagnosed: Mapping[str, float | None]
    ) -> Row:
        """Makes the window's row, after `update` updates."""
        elapsed = self.seconds - self._window_start
        row: Row = {"update": update}
        row |= {f"updates.{kind}": self._counts.get(f"updates.{kind}", 0) for kind in self.kinds}
        row |= {name: self._mean(name) for name in [*self.losses, "loss"]}
        row |= {
            "learning_rate": learning_rate,
            "grad_norm": self._mean("grad_norm"),
            **{name: diagnosed[name] for name in self.diagnostics},
            **{name: self._counts.get(name, 0) for name in self.counts},
            "samples_per_second": round(self._sums["samples"] / max(elapsed, 1e-9), 2),
            "seconds": round(self.seconds, 2),
        }
        self.rows.append(row)
        self._sums, self._counts, self._window_start = {}, {}, self.seconds
        return row

    def last_value(self, name: str) -> float | int | None:
        """The newest value of a column that is not empty."""
        return next((row[name] for row in reversed(self.rows) if row[name] is not None), None)

    def state(self) -> dict[str, Any]:
        """Plain data for a checkpoint."""
        return {
            "rows": [dict(row) for row in self.rows],
            "seconds": self.seconds,
            "sums": dict(self._sums),
            "counts": dict(self._counts),
            "window_start": self._window_start,
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Takes over what `state` returned."""
        self.rows = [dict(row) for row in state["rows"]]
        self.seconds = state["seconds"]
        self._sums, self._counts = dict(state["sums"]), dict(state["counts"])
        self._window_start = state["window_start"]

    def write(self, path: Path) -> None:
        """Writes all rows anew."""
        with atomic_path(path) as temporary:
            temporary.write_text(self._text(self.rows, header=True), encoding="utf-8")

    def append_last(self, path: Path) -> None:
        """Appends the newest row; a torn line is repaired by `write` at the next start."""
        with open(path, "a", encoding="utf-8") as file:
            file.write(self._text(self.rows[-1:], header=False))

    def _text(self, rows: Sequence[Row], header: bool) -> str:
        buffer = io.StringIO()
        writer = csv.DictWriter(buffer, self.columns, lineterminator="\n")
        if header:
            writer.writeheader()
        writer.writerows(rows)
        return buffer.getvalue()

    def _add(self, name: str, value: float) -> None:
        self._sums[name] = self._sums.get(name, 0.0) + value
        self._counts[name] = self._counts.get(name, 0) + 1

    def _mean(self, name: str) -> float | None:
        count = self._counts.get(name, 0)
        return self._sums[name] / count if count else None
