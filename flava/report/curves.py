"""Training losses as small SVG panels, one a loss, one line a run."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from flava.records import Record
from flava.report.compare import Comparison
from flava.report.html import paragraph, text
from flava.report.runs import Curve, Run, is_published

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito's colours, told apart by colour-blind readers; the dash pattern changes after them.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
DASHES = ("solid", "dashed", "dotted")
SVG_DASHES = {"solid": "", "dashed": "5 3", "dotted": "1.5 2.5"}
MAX_POINTS = 300
CAPTIONS = {"global_contrastive": "contrastive"}  # local where the column gathers nothing


def loss_curves(runs: Sequence[Run], comparison: Comparison) -> str:
    """A legend and one panel an objective; the seeds of a column share its line style."""
    columns = list(dict.fromkeys(run.column for run in runs if run.losses))
    styles = {name: _style(index) for index, name in enumerate(columns)}
    objectives: dict[str, list[tuple[str, Curve]]] = {}
    for run in runs:
        for name, curve in run.losses.items():
            objective = name.partition(".")[2]
            objectives.setdefault(objective, []).append((run.column, curve))
    labels = {column.name: f"{column.number} {column.title}" for column in comparison.columns}
    keys = "".join(_key(labels[name], styles[name]) for name in columns)
    guesses = {"itm": itm_guesses(runs)}
    panels = "".join(
        f"<figure><figcaption>{text(_caption(objective, guesses.get(objective, ())))}</figcaption>"
        f"{_panel(lines, styles, guesses.get(objective, ()))}</figure>"
        for objective, lines in objectives.items()
    )
    shown = f'<ul class="keys">{keys}</ul><div class="curves">{panels}</div>' if keys else ""
    return shown + _without_losses(labels[run.column] for run in runs if run.imported)


def itm_guesses(runs: Iterable[Run]) -> tuple[float, ...]:
    """ITM losses of a head that knows the share p of replaced texts alone: p's entropy, in nats."""
    shares = {
        run.config["masking"]["itm_negative_probability"]
        for run in runs
        if any(name.endswith(".itm") for name in run.losses)
    }
    return tuple(sorted(-p * math.log(p) - (1 - p) * math.log(1 - p) for p in shares if 0 < p < 1))


def _caption(objective: str, guesses: Sequence[float]) -> str:
    caption = CAPTIONS.get(objective, objective.replace("_", " "))
    levels = ", ".join(f"{guess:.3f}" for guess in guesses)
    if not levels:
        return caption
    return f"{caption} (grey: {levels}, a guess by the share of replaced texts)"


def earlier_curves(losses: Mapping[str, Mapping[str, Curve]], earlier: Mapping[str, Record]) -> str:
    """A panel a training that runs start from; its seeds share a panel and its line style.

    Args:
        losses: "<what> <name>-s<seed>", or a name without a seed -> losses.
        earlier: name -> record of all that runs start from, published weights among it.
    """
    groups: dict[str, list[tuple[str, Curve]]] = {}
    for name, curves in losses.items():
        for loss, curve in curves.items():
            title = f"{name.rpartition('-s')[0] or name}, {loss.partition('.')[2] or loss}"
            groups.setdefault(title, []).append(("", curve))
    panels = "".join(
        f"<figure><figcaption>{text(title.replace('_', ' '))}</figcaption>"
        f"{_panel(lines, {'': _style(0)})}</figure>"
        for title, lines in groups.items()
    )
    shown = f'<div class="curves">{panels}</div>' if panels else ""
    shown += _without_losses(name for name, record in earlier.items() if is_published(record))
    return shown or paragraph("Nothing earlier.")


def _without_losses(labels: Iterable[str]) -> str:
    return "".join(
        paragraph(
            f"{text(label[:1].upper() + label[1:])}: published weights, which have no losses here."
        )
        for label in dict.fromkeys(labels)
    )


def thin(curve: Curve, limit: int = MAX_POINTS) -> Curve:
    """At most about `limit` points: means over equal runs of neighbours."""
    step = -(-len(curve) // limit)
    if step <= 1:
        return curve
    parts = [curve[start : start + step] for start in range(0, len(curve), step)]
    return tuple((part[-1][0], sum(loss for _, loss in part) / len(part)) for part in parts)


def _style(index: int) -> tuple[str, str]:
    return COLOURS[index % len(COLOURS)], DASHES[index // len(COLOURS) % len(DASHES)]


def _key(title: str, style: tuple[str, str]) -> str:
    colour, dash = style
    line = (
        f'<svg width="30" height="8" aria-hidden="true"><line x1="0" y1="4" x2="30" y2="4" '
        f'stroke="{colour}" stroke-width="2.5" stroke-dasharray="{SVG_DASHES[dash]}"/></svg>'
    )
    return f"<li>{line}{text(title)}</li>"


def svg_settings() -> dict[str, Any]:
    """Matplotlib settings of all pictures: equal figures give equal text."""
    return {
        "svg.hashsalt": "flava",
        "svg.fonttype": "none",
        "font.family": ["DejaVu Sans"],
        "font.size": 8.5,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.edgecolor": "#8b95a3",
    }


def inline_svg(figure: Figure) -> str:
    """The svg element alone, in the page's font: no document type, no metadata."""
    buffer = io.StringIO()
    metadata = {"Date": None, "Creator": None, "Format": None, "Type": None}
    figure.savefig(buffer, format="svg", metadata=metadata, transparent=True)
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    return svg.replace("'DejaVu Sans'", "system-ui, sans-serif")


def _panel(
    lines: Sequence[tuple[str, Curve]],
    styles: Mapping[str, tuple[str, str]],
    guesses: Sequence[float] = (),
) -> str:
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    settings: Any = svg_settings()
    with matplotlib.rc_context(settings):
        figure = Figure(figsize=(4.2, 2.5), layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.add_subplot()
        for guess in guesses:
            axes.axhline(guess, color="#8b95a3", linewidth=3, alpha=0.5)
        for column, curve in lines:
            colour, dash = styles[column]
            points = thin(curve)
            axes.plot(*zip(*points, strict=True), color=colour, linestyle=dash, linewidth=1.5)
        axes.set_xlabel("update", color="#5d6877")
        axes.tick_params(colors="#5d6877", length=3)
        axes.grid(axis="y", color="#e3e7ec", linewidth=0.8)
        return inline_svg(figure)
