"""Figure 4: by how many percent FLAVA is better than the released CLIP, task by task."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flava.errors import DataError
from flava.report.compare import Comparison, Estimate, paired_error
from flava.report.curves import inline_svg, svg_settings
from flava.report.html import DASH, SORTABLE, number, paragraph, signed, span, table, text
from flava.report.marked import SVG_MARK, difference_name, fewer_span, own
from flava.report.printed_tables import load_models
from flava.report.published import DOMAINS
from flava.report.tables import DOMAIN_TITLES, NOT_RUN

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NAME, TITLE = "figure_4", "Figure 4"
FILE_KINDS = ("png", "pdf")
ORDER = ("vision", "nlp", "multimodal")
PAPER_COLOUR, OUR_COLOUR, ERROR_COLOUR = "#0072b2", "#e69f00", "#1d2530"
BAR = 0.38  # of the distance between two rows
ROW_INCHES, ROOM_INCHES, WIDTH_INCHES = 0.34, 0.75, 4.4
ARROWS = "\N{LEFTWARDS ARROW}\N{RIGHTWARDS ARROW}"  # at a bar that goes on
BEYOND = 1.25  # a bar of ours ends here, at this multiple of the paper's longest
ROOM = 0.22  # of the width of the bars, on each side, for their numbers
ERRORS = {
    "seeds": "over seeds",
    "test set": "of the test sets, one seed: the spread over seeds is not in it",
}
ONE_MODEL = "of the test sets: each model is a published one, with no spread over trainings"


@dataclass(frozen=True)
class Ratio:
    """A row of the figure: differences in percent of CLIP's score, None where one is missing."""

    row: str
    domain: str
    paper: float | None
    ours: Estimate | None
    why_not: str | None


def relative(first: float | None, second: float | None) -> float | None:
    """By how many percent `first` is above `second`; None where one is missing or not above 0."""
    if first is None or second is None or second <= 0:
        return None
    return 100 * (first - second) / second


def figure_columns(folder: str) -> tuple[str, str]:
    """The two columns that the figure compares, from models.csv.

    Raises:
        DataError: they are not two.
    """
    names = [model.column for model in load_models(folder, NAME).values() if model.column]
    if len(names) != 2:
        raise DataError(f"{folder}/models.csv: {NAME} has {len(names)} columns, expected two.")
    return names[0], names[1]


def ratios(comparison: Comparison, columns: tuple[str, str]) -> tuple[Ratio, ...]:
    """All rows, in print order, of the first column against the second."""
    found = []
    for row in comparison.rows:
        first, second = (comparison.cells[row.name, name] for name in columns)
        ours = _ours(first.ours, second.ours)
        why = first.why_no_ours or second.why_no_ours
        if ours is None and not why:
            why = "no ratio: the second column scored 0 or less"
        found.append(Ratio(row.name, row.domain, relative(first.paper, second.paper), ours, why))
    return tuple(found)


def _ours(first: Estimate | None, second: Estimate | None) -> Estimate | None:
    """The difference of the two scores in percent: that of their means over the common seeds.

    A mean of each seed's ratio would lie above it wherever the second score scatters. The error is
    first order: over seeds with the two of a seed paired; of one seed, of independent test sets.
    """
    if first is None or second is None:
        return None
    seeds = sorted(set(first.by_seed) & set(second.by_seed))
    if not seeds:
        return None
    mean_first = sum(first.by_seed[seed] for seed in seeds) / len(seeds)
    mean_second = sum(second.by_seed[seed] for seed in seeds) / len(seeds)
    value = relative(mean_first, mean_second)
    if value is None:
        return None
    ratio, percent = mean_first / mean_second, 100 / mean_second
    by_seed = {
        seed: value + percent * (first.by_seed[seed] - ratio * second.by_seed[seed])
        for seed in seeds
    }
    error = paired_error(list(by_seed.values()), first, second)
    if error is not None:
        return Estimate(value, error, "seeds", by_seed)
    one_model = first.one_model and second.one_model
    if first.test_error is None or second.test_error is None:
        return Estimate(value, None, "none", by_seed, one_model=one_model)
    spread = percent * math.hypot(first.test_error, ratio * second.test_error)
    return Estimate(value, spread, "test set", by_seed, one_model=one_model)


def figure_4(comparison: Comparison, found: Sequence[Ratio], columns: tuple[str, str]) -> str:
    """The three panels with a legend, and links to the figure as files."""
    parts = []
    for domain in ORDER:
        rows, caption = panel(found, domain)
        label = f"{caption.partition(':')[0]}: bars of the table below"
        parts.append(
            f'<figure role="img" aria-label="{text(label)}"><figcaption>{text(caption)}'
            f"</figcaption>{_inline(rows, difference_name(*columns))}</figure>"
        )
    links = ", ".join(f'<a href="{NAME}.{kind}">{kind.upper()}</a>' for kind in FILE_KINDS)
    files = paragraph(f"The figure as a file: {links}.", "small")
    bars = f'<div class="curves bars">{"".join(parts)}</div>'
    return f"{_keys(comparison, columns)}{paragraph(note(found), 'small')}{bars}{files}"


def panel(found: Sequence[Ratio], domain: str) -> tuple[list[Ratio], str]:
    """The rows of a domain, the paper's largest difference last, and their caption."""
    rows = sorted(
        (item for item in found if item.domain == domain),
        key=lambda item: -math.inf if item.paper is None else item.paper,
    )
    title = {"nlp": "Language"}.get(domain, DOMAIN_TITLES[domain])
    better = sum((item.paper or 0) > 0 for item in rows)
    caption = f"{title}: FLAVA better on {better} of {len(rows)} in the paper"
    ran = [item.ours.mean for item in rows if item.ours]
    if ran:
        caption += f", {sum(value > 0 for value in ran)} of {len(ran)} here"
    return rows, caption


def keys(comparison: Comparison, columns: tuple[str, str]) -> dict[str, str]:
    """Colour -> whose bars have it."""
    known, ran = {column.name: column for column in comparison.columns}, comparison.ran()
    stand_in = known[columns[1]].stand_in
    missing = [known[name].title for name in columns if known[name] not in ran]
    ours = "this study" + (f"; CLIP's stand-in: {stand_in}" if stand_in else "")
    if missing:
        ours = f"this study: no bars, for {' and '.join(missing)} did not run"
    return {PAPER_COLOUR: "the paper, Table 4", OUR_COLOUR: ours}


def note(found: Sequence[Ratio]) -> str:
    """How to read the bars: what lines at ours and counts are, where a ratio says little."""
    kinds = _error_kinds(item.ours for item in found if item.ours)
    errors = f"Thin lines at bars of this study: standard error {kinds}. " if kinds else ""
    return (
        f"{errors}The counts go by sign alone. Where CLIP's score is near zero (CoLA, STS-B), a "
        "ratio says little."
    )


def _error_kinds(estimates: Iterable[Estimate]) -> str:
    kinds = (
        ONE_MODEL if each.one_model and each.n_seeds > 1 else ERRORS[each.error_source]
        for each in estimates
        if each.std_error is not None
    )
    return " or ".join(dict.fromkeys(kinds))


def _keys(comparison: Comparison, columns: tuple[str, str]) -> str:
    shown = "".join(
        f'<li><span class="swatch" style="background:{colour}"></span>{text(label)}</li>'
        for colour, label in keys(comparison, columns).items()
    )
    return f'<ul class="keys">{shown}</ul>'


def _inline(rows: Sequence[Ratio], pair: str) -> str:
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    settings: Any = svg_settings()
    with matplotlib.rc_context(settings):
        height = ROW_INCHES * len(rows) + ROOM_INCHES
        figure = Figure(figsize=(WIDTH_INCHES, height), layout="constrained")
        FigureCanvasSVG(figure)
        draw_bars(figure.add_subplot(), rows, f"{SVG_MARK}{TITLE}|{pair}|")
        return inline_svg(figure)


def draw_bars(axes: Axes, rows: Sequence[Ratio], mark: str | None = None) -> None:
    """Two bars a row, the paper's above ours with its standard error.

    Args:
        axes: where to.
        rows: from the lowest up.
        mark: what an element of ours is named by, before its row; None: not named.
    """
    printed = [abs(item.paper) for item in rows if item.paper is not None]
    low = min([0.0, *(item.paper for item in rows if item.paper is not None)])
    limit = BEYOND * max(printed, default=1.0)
    for y, item in enumerate(rows):
        _bar(axes, y + BAR / 2, item.paper, PAPER_COLOUR, limit)
        name = None if mark is None else f"{mark}{item.row}"
        mean, error = (item.ours.mean, item.ours.std_error) if item.ours else (None, None)
        _bar(axes, y - BAR / 2, mean, OUR_COLOUR, limit, name, error)
    ours = [item.ours.mean - (item.ours.std_error or 0.0) for item in rows if item.ours]
    lowest = max(-limit, min([low, *ours, -limit / 4]))
    axes.set_xlim(lowest - ROOM * (limit - lowest), limit + ROOM * (limit - lowest))
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.set_yticks(range(len(rows)), [item.row for item in rows])
    axes.axvline(0, color="#1d2530", linewidth=0.8)
    axes.set_xlabel("FLAVA against CLIP, %", color="#5d6877")
    axes.tick_params(colors="#1d2530", length=0)
    axes.grid(axis="x", color="#e3e7ec", linewidth=0.8)
    axes.set_axisbelow(True)


def _bar(
    axes: Axes,
    y: float,
    value: float | None,
    colour: str,
    limit: float,
    name: str | None = None,
    error: float | None = None,
) -> None:
    """A bar with its number and error; one beyond the limit ends there, its number tells."""
    if value is None:
        return
    first, shown, last = (
        max(-limit, min(limit, value + step)) for step in (-(error or 0.0), 0.0, error or 0.0)
    )
    axes.barh(y, shown, height=BAR, color=colour)
    if first < last:
        axes.plot([first, last], [y, y], color=ERROR_COLOUR, linewidth=0.9)
    end = last if shown >= 0 else first
    left, right = ARROWS[0] * (value < -limit), ARROWS[1] * (value > limit)
    axes.annotate(
        f"{left}{signed(value, 1)}{right}",
        (end, y),
        xytext=(3 if shown >= 0 else -3, 0),
        textcoords="offset points",
        ha="left" if shown >= 0 else "right",
        va="center",
        fontsize=7,
        color="#5d6877",
        gid=name,
    )


def _scored(comparison: Comparison, row: str, column: str) -> str:
    ours = comparison.cells[row, column].ours
    return own(comparison.published.title, column, row, number(ours.mean)) if ours else NOT_RUN


def figure_table(comparison: Comparison, found: Sequence[Ratio], columns: tuple[str, str]) -> str:
    """The numbers behind the bars, with the scores that give them."""
    head = ["row", "paper, %", "this study, %", "paper: FLAVA, CLIP", "this study: FLAVA, CLIP"]
    body = []
    for domain in ORDER:
        assert domain in DOMAINS
        for item in (item for item in found if item.domain == domain):
            cells = [comparison.cells[item.row, name] for name in columns]
            paper = DASH if item.paper is None else signed(item.paper, 1)
            ours = span("none", NOT_RUN, item.why_not)
            if item.ours:
                ours = own(TITLE, difference_name(*columns), item.row, signed(item.ours.mean, 1))
                if item.ours.std_error is not None:
                    css = "se" if item.ours.error_source == "seeds" else "se test"
                    ours += span(css, f" \N{PLUS-MINUS SIGN}{number(item.ours.std_error, 1)}")
                ours += fewer_span(item.ours.n_seeds, len(comparison.seeds))
            elif all(cell.ours for cell in cells):
                ours = span("none", text(item.why_not))
            printed = ", ".join(DASH if c.paper is None else number(c.paper) for c in cells)
            scored = ", ".join(_scored(comparison, item.row, name) for name in columns)
            body.append([text(item.row), paper, ours, printed, scored])
    how = (
        "Difference in percent of CLIP's score; positive: FLAVA is better. The paper's from the "
        "cells of its Table 4, columns 6 and 8; ours from the same two columns of this study, from "
        "their means over seeds. \N{PLUS-MINUS SIGN}: standard error over seeds, a seed's two runs "
        "paired, in italics that of the test sets. Where CLIP's score is near zero (CoLA, STS-B), "
        "a ratio says little: look at the scores."
    )
    return paragraph(how, "small") + table(head, body, SORTABLE)
