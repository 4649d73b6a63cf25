"""The paper's marks: the best of a row underlined, the best on public data bold."""

from __future__ import annotations

from collections.abc import Collection, Mapping

BEST, BEST_PUBLIC = "best", "best-public"
LEAST = 2  # values that a mark needs: one alone is no best


def best_marks(
    values: Mapping[str, float | None], public: Collection[str], decimals: int = 2
) -> dict[str, str]:
    """Name -> CSS classes, for those that are marked; equal printed values are marked alike.

    The captions of Tables 4, 5 and C.1 state the rule; the marks are computed by it.

    Args:
        values: name -> score, None where missing.
        public: names trained on public data.
        decimals: digits that are shown.
    """
    shown = {name: round(v, decimals) for name, v in values.items() if v is not None}
    found: dict[str, list[str]] = {}
    for css, names in ((BEST, set(shown)), (BEST_PUBLIC, set(shown) & set(public))):
        if len(names) >= LEAST:
            top = max(shown[name] for name in names)
            for name in sorted(names):
                if shown[name] == top:
                    found.setdefault(name, []).append(css)
    return {name: " ".join(css) for name, css in found.items()}
