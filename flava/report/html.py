"""Small HTML pieces: escaping, numbers, tables and the page around them."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

STYLE = Path(__file__).with_name("style.css")
SCRIPT = Path(__file__).with_name("sort.js")
SORTABLE = "plain cards sort"  # of tables whose rows may stand in any order
DASH = "\N{EN DASH}"
MINUS = "\N{MINUS SIGN}"


def text(value: object) -> str:
    """`value` as escaped text, safe in content and in quoted attributes."""
    return html.escape(str(value), quote=True)


def number(value: float, decimals: int = 2) -> str:
    """Fixed decimals with a typographic minus."""
    shown = f"{value:.{decimals}f}"
    if float(shown) == 0:
        shown = shown.lstrip("-")
    return shown.replace("-", MINUS)


def signed(value: float, decimals: int = 2) -> str:
    """Like `number`, always with a sign; a rounded zero has none."""
    shown = number(value, decimals)
    return shown if float(shown.replace(MINUS, "-")) <= 0 else f"+{shown}"


def duration(seconds: float) -> str:
    """Seconds as '45 s', '12 min' or '3.4 h'."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def quantity(count: float, unit: str) -> str:
    """'1 row', '2 rows', '12,000 rows'."""
    return f"{count:,} {unit}" if count == 1 else f"{count:,} {unit}s"


def span(css: str, content: str, title: str | None = None) -> str:
    """A span of ready HTML."""
    hint = f' title="{text(title)}"' if title else ""
    return f'<span class="{css}"{hint}>{content}</span>'


def paragraph(content: str, css: str = "") -> str:
    """A paragraph of ready HTML."""
    return f'<p class="{css}">{content}</p>' if css else f"<p>{content}</p>"


def table(head: Sequence[str], body: Iterable[Sequence[str]], css: str = "plain cards") -> str:
    """A scrollable table of ready HTML cells; the first cell of each row is its heading."""
    top = "".join(f'<th scope="col">{cell}</th>' for cell in head)
    rows = []
    for first, *rest in body:
        # Narrow screens show the columns' headings beside the cells.
        labelled = zip(head[1:], rest, strict=True)
        cells = "".join(f'<td data-label="{_plain(label)}">{cell}</td>' for label, cell in labelled)
        rows.append(f'<tr><th scope="row">{first}</th>{cells}</tr>')
    return (
        f'<div class="scroll" tabindex="0"><table class="{css}"><thead><tr>{top}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def wide_table(
    head: Sequence[str], groups: Mapping[str, Iterable[Sequence[str]]], css: str = ""
) -> str:
    """A table too wide for a phone: it scrolls, its heading and first column stay.

    Args:
        head: ready HTML.
        groups: heading of a group of rows (none if empty) -> rows of ready HTML cells.
        css: more classes.
    """
    corner, *rest = head
    top = f'<th class="corner">{corner}</th>'
    top += "".join(f'<th scope="col">{cell}</th>' for cell in rest)
    body = ""
    for title, rows in groups.items():
        if title:
            body += f'<tr class="domain"><th scope="rowgroup">{title}</th>'
            body += f'<td colspan="{len(rest)}"></td></tr>'
        for first, *cells in rows:
            shown = "".join(f"<td>{cell}</td>" for cell in cells)
            body += f'<tr><th scope="row">{first}</th>{shown}</tr>'
    return (
        f'<div class="scroll" tabindex="0"><table class="results {css}"><thead><tr>{top}</tr>'
        f"</thead><tbody>{body}</tbody></table></div>"
    )


def _plain(content: str) -> str:
    return re.sub(r"<[^>]*>", " ", content)


def page(title: str, body: str, home: str | None = None) -> str:
    """A whole self-contained page: nothing is loaded from anywhere, and it is read without scripts.

    One that sorts tables is inside where there is a table to sort.

    Args:
        title: plain text of the title element.
        body: ready HTML.
        home: relative link to the index page, shown above the body.
    """
    back = f'<nav><a href="{text(home)}">\N{LEFTWARDS ARROW} Report</a></nav>' if home else ""
    sorts = f"<script>\n{SCRIPT.read_text(encoding='utf-8')}</script>\n" if ' sort"' in body else ""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        # An empty icon keeps browsers from asking for favicon.ico.
        '<link rel="icon" href="data:,">\n'
        f"<title>{text(title)}</title>\n<style>\n{STYLE.read_text(encoding='utf-8')}</style>\n"
        f"</head>\n<body>\n{back}\n<main>\n{body}\n</main>\n{sorts}</body>\n</html>\n"
    )
