"""The first screen of the index: the paper's claims in one line each, and links to all pages."""

from __future__ import annotations

import html
import re
from collections.abc import Collection, Sequence
from itertools import groupby
from pathlib import Path

from flava.report.claims import HOLDS, NOT_RUN, REVERSED, UNDECIDED, Direction, claimed
from flava.report.compare import Comparison
from flava.report.directions import agreement, contradiction, models_that_stand_in
from flava.report.html import paragraph, quantity, signed, span, table, text
from flava.report.marked import own
from flava.report.published import MACRO
from flava.report.tables import DOMAIN_TITLES

GROUPS = {
    "Tables": tuple(f"table_{n}" for n in ("1", "2", "3", "4", "5", "a1", "a2", "c1", "d1")),
    "Figure and curves": ("figure_4", "training_curves"),
    "Checks": ("directions", "audit"),
}
COUNTED = (HOLDS, REVERSED, UNDECIDED, "has the claimed sign")
OTHERS, COLUMN = "Others", "column_"
TITLES = DOMAIN_TITLES | {MACRO: "Macro"}
NOTE = (
    "Each claim is about some pairs of columns, and counted in the averages that the paper's text "
    "speaks of: vision, language, multimodal or macro. It <b>holds</b> in one where our difference "
    "has the sign that the text claims and is larger than its error over seeds allows by chance "
    "(95 %), is <b>reversed</b> where it has the other, else <b>undecided</b>, as always with one "
    "seed or between two published models. "
    '<a href="directions.html">All differences, with their errors</a>, the others among them.'
)


def claims_overview(comparison: Comparison, directions: Sequence[Direction]) -> str:
    """One line a claim: how many of its claimed differences hold, are reversed, or are open."""
    body = []
    for _, group in groupby(claimed(directions), key=lambda direction: direction.key):
        items = list(group)
        first = items[0]
        ran = any(item.word != NOT_RUN for item in items)
        counts = claim_counts(items).items()
        shown = [_count(first.key, word, n) if ran else n for word, n in counts]
        title = text(first.claim) + span("of wrap", text(first.source))
        title += "".join(span("of wrap", line) for line in _remarks(comparison, items))
        body.append([title, *shown, str(sum(item.word == NOT_RUN for item in items))])
    head = ["the paper's claim", *COUNTED, "not run"]
    return table(head, body, "plain overview") + paragraph(NOTE, "small")


def claim_counts(items: Sequence[Direction]) -> dict[str, str]:
    """`COUNTED` -> how many of a claim's claimed differences."""
    ran = [item for item in claimed(items) if item.word != NOT_RUN]
    counts = {word: str(sum(item.word == word for item in ran)) for word in COUNTED[:-1]}
    return counts | {COUNTED[-1]: agreement(ran)}


def _remarks(comparison: Comparison, items: Sequence[Direction]) -> list[str]:
    """Models that stand in, and where the paper's own averages contradict the claim."""
    names = {name for item in items for name in (item.column, item.baseline)}
    lines = models_that_stand_in(c for c in comparison.columns if c.name in names)
    against = [item for item in items if contradiction(item)]
    if against:
        shown = ", ".join(
            f"{TITLES[item.domain]} {signed(item.paper_all)}"
            for item in against
            if item.paper_all is not None
        )
        lines.append(
            f"the paper's own averages contradict it in {len(against)} of "
            f"{quantity(len(items), 'average')}: {shown}"
        )
    return lines


def _count(key: str, word: str, count: str) -> str:
    shown = own("Claims", key, word, count)
    css = {HOLDS: "verdict good", REVERSED: "verdict bad"}.get(word)
    return span(css, shown) if css and count != "0" else shown


def page_links(folder: Path, columns: Collection[str]) -> str:
    """Links to the pages that lie beside the index, in groups.

    Args:
        folder: of the report.
        columns: of the study; the page of one that was taken out is not linked.
    """
    found = {path.stem: path for path in pages_of(folder, columns) if path.stem != "index"}
    groups = {title: [n for n in names if n in found] for title, names in GROUPS.items()}
    of_columns = [name for name in found if name.startswith(COLUMN)]
    groups["Columns"] = sorted(of_columns, key=lambda name: _natural(page_title(found[name])))
    known = {name for names in groups.values() for name in names}
    groups[OTHERS] = [name for name in found if name not in known]
    parts = [
        f"<div><h3>{title}</h3><ul>{''.join(_link(found[name]) for name in names)}</ul></div>"
        for title, names in groups.items()
        if names
    ]
    return f'<div class="pages">{"".join(parts)}</div>' if parts else paragraph(
        "None was rendered yet."
    )  # fmt: skip


def pages_of(folder: Path, columns: Collection[str]) -> list[Path]:
    """HTML files of the report, without pages of columns that the study has no more."""
    return [
        path
        for path in sorted(folder.glob("*.html"))
        if not path.stem.startswith(COLUMN) or path.stem.removeprefix(COLUMN) in columns
    ]


def page_title(path: Path) -> str:
    """Title element of an HTML file, or its name."""
    match = re.search(r"<title>(.*?)</title>", path.read_text(encoding="utf-8"), re.DOTALL)
    return html.unescape(match[1].strip()) if match else path.stem


def _link(path: Path) -> str:
    return f'<li><a href="{text(path.name)}">{text(page_title(path))}</a></li>'


def _natural(title: str) -> tuple[int, str]:
    """'Column 12: …' after 'Column 2: …'."""
    match = re.search(r"\d+", title)
    return (int(match[0]) if match else 0, title)
