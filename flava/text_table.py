"""Tables on the terminal."""

from __future__ import annotations

from collections.abc import Sequence


def aligned(rows: Sequence[Sequence[str]], left: int | None = None, indent: str = "") -> list[str]:
    """Lines of a table; the first `left` columns (None: all) and the last are flush left."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    right = range(len(widths) if left is None else left, len(widths) - 1)
    cells = [f"{{:{'>' if i in right else '<'}{width}}}" for i, width in enumerate(widths)]
    form = indent + "  ".join(cells)
    return [form.format(*row).rstrip() for row in rows]
