"""The audit as HTML: what contradicts what in print, the arithmetic, what to use instead."""

from __future__ import annotations

from collections.abc import Sequence

from flava.report.audit.finding import Finding
from flava.report.audit.run import KINDS
from flava.report.html import paragraph, quantity, text

NOTE = (
    "Found by computation from the printed cells, captions and statements of the text, none listed "
    "by hand. It says nothing about the results' truth: what is found are averages that do not "
    "follow, numbers that differ between tables, and statements that the tables contradict."
)


def audit_html(findings: Sequence[Finding]) -> str:
    """A count, then the findings by kind."""
    counts = ", ".join(
        f"{title[0].lower()}{title[1:]} ({sum(item.kind == kind for item in findings)})"
        for kind, title in KINDS.items()
        if any(item.kind == kind for item in findings)
    )
    parts = [paragraph(f"<b>{quantity(len(findings), 'finding')}</b>: {text(counts)}.")]
    parts.append(paragraph(NOTE, "small"))
    for kind, title in KINDS.items():
        items = [item for item in findings if item.kind == kind]
        if items:
            parts.append(f"<h2>{text(title)}</h2>")
        parts += [_finding(item) for item in items]
    return "".join(parts)


def _finding(item: Finding) -> str:
    return (
        f'<div class="finding"><h3>{text(item.where)}</h3>'
        f"{paragraph(text(item.problem))}{paragraph(text(item.arithmetic), 'small')}"
        f"{paragraph(f'<b>Use instead:</b> {text(item.instead)}')}</div>"
    )
