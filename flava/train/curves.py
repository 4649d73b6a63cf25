"""curves.png: every loss of a run over its updates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from flava.io import atomic_path
from flava.train.log import Row


def plot_curves(rows: Sequence[Row], losses: Sequence[str], title: str, path: Path) -> None:
    """Draws one panel a loss, and the learning rate; equal rows give an equal file.

    Args:
        rows: rows of a `TrainingLog`.
        losses: names of its loss columns.
        title: heading of the figure.
        path: PNG file to write.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = [*losses, "learning_rate"]
    across = min(3, len(names))
    down = math.ceil(len(names) / across)
    figure = Figure(figsize=(4 * across, 2.6 * down), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title)
    for place, name in enumerate(names, start=1):
        axes = figure.add_subplot(down, across, place)
        points = [(row["update"], row[name]) for row in rows if row[name] is not None]
        if points:
            axes.plot(*zip(*points, strict=True), marker="." if len(points) < 30 else None)
        axes.set_title(name.replace("_", " "), fontsize=10)
        axes.set_xlabel("update", fontsize=8)
        axes.tick_params(labelsize=8)
        axes.grid(alpha=0.3)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=100, metadata={"Software": None})
