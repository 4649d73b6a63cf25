"""Table 2: pairs and mean words of the pretraining pairs, the manifests' beside the paper's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from flava.report.audit.printed import parse
from flava.report.html import DASH, number, paragraph, signed, span, table, text
from flava.report.printed_tables import read_table
from flava.report.runs import Source

TOTAL, MILLION = "Total", 1e6
NOTE = (
    "Ours: counts and mean words a caption of the manifests of the prepared pairs, as they were "
    "read, after filters. Below: the paper's, and the difference in words. A corpus that stands in "
    "for one of the paper's is named on its line."
)
HEAD = ["dataset", "pairs", "mean words a caption", "from", "licence"]


def pairs_table(sources: Sequence[Source], folder: Path | str) -> str:
    """A line for each of the paper's datasets, the study's other ones, and both totals.

    Args:
        sources: of all corpora (`load_sources`); those of `pairs` count.
        folder: of the paper's tables.
    """
    pairs = [source for source in sources if source.corpus == "pairs"]
    left, body = list(pairs), []
    for line in read_table(folder, "table_2"):
        name = line["dataset"]
        ours = left if name == TOTAL else _of(left, name)
        if name == TOTAL:
            body += [_line(text(_name(source)), None, [source]) for source in ours]
            body.append(_line("<b>Total</b>", line, pairs))
            continue
        left = [source for source in left if source not in ours]
        body.append(_line(text(name), line, ours))
    return paragraph(NOTE, "small") + table(HEAD, body)


def _of(sources: Sequence[Source], dataset: str) -> list[Source]:
    return [s for s in sources if dataset in (_name(s), s.facts.get("stand_in_for"))]


def _name(source: Source) -> str:
    return str(source.facts.get("name", DASH))


def _line(title: str, printed: dict[str, str] | None, sources: Sequence[Source]) -> list[str]:
    count = sum(_pairs(source) for source in sources)
    words = _mean_words(sources)
    ours = f"{count:,}" if sources else span("none", "not in this study")
    ours_words = number(words, 1) if words is not None else DASH
    if printed:
        millions = printed["image_text_pairs_millions"]
        length = parse(printed["avg_text_length_words"], "table_2.csv")
        ours += span("of", f"paper {text(millions)}M{_share(count, float(millions))}")
        delta = ""
        if words is not None and length is not None:
            delta = " " + span("delta stand-in", signed(words - length.value, 1))
        ours_words += span("of", f"paper {text(length)}{delta}")
    else:
        ours += span("of", "not in the paper")
    stands = [
        f"{text(_name(s))} for {text(s.facts['stand_in_for'])}"
        for s in sources
        if s.facts.get("stand_in_for")
    ]
    origin = "; ".join(stands) or ", ".join(text(_name(s)) for s in sources) or DASH
    licence = ", ".join(dict.fromkeys(text(s.facts.get("licence", DASH)) for s in sources))
    return [title, ours, ours_words, origin, licence or DASH]


def _share(count: int, millions: float) -> str:
    return f", ours {100 * count / (MILLION * millions):.3g} %" if count else ""


def _pairs(source: Source) -> int:
    return int(source.facts.get("counts", {}).get("pairs", 0))


def _mean_words(sources: Sequence[Source]) -> float | None:
    """Mean over all captions."""
    known = [
        (_pairs(source), float(source.facts["mean_words"]))
        for source in sources
        if isinstance(source.facts.get("mean_words"), int | float)
    ]
    total = sum(count for count, _ in known)
    return sum(count * words for count, words in known) / total if total else None
