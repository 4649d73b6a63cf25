"""Table 2: pairs and mean words of the pretraining pairs, the manifests' beside the paper's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from flava.report.audit.printed import parse
from flava.report.html import DASH, number, paragraph, signed, span, table, text
from flava.report.marked import own
from flava.report.printed_tables import read_table
from flava.report.runs import Source

TITLE, TOTAL, MILLION = "Table 2", "Total", 1e6
PAIRS, WORDS = "pairs", "mean words"
NOTE = (
    "Ours: counts and mean words a caption of the manifests of the prepared pairs, as they were "
    "read, after filters. Below: the paper's, and the difference in words. A corpus that stands in "
    "for one of the paper's is named on its line."
)
HEAD = ["dataset", "pairs", "mean words a caption", "from", "licence"]


@dataclass(frozen=True)
class PairLine:
    """A line of the table: a dataset of the paper, another one of this study, or the total.

    Attributes:
        printed: the paper's line, if it has one.
        sources: ours; none where the study has none of that dataset.
    """

    name: str
    printed: Mapping[str, str] | None
    sources: Sequence[Source]

    @property
    def pairs(self) -> int:
        """Of all sources."""
        return sum(source.counts.get("pairs", 0) for source in self.sources)

    @property
    def mean_words(self) -> float | None:
        """Mean over all captions."""
        known = [
            (source.counts.get("pairs", 0), source.mean_words)
            for source in self.sources
            if source.mean_words is not None
        ]
        total = sum(count for count, _ in known)
        return sum(count * words for count, words in known) / total if total else None

    @property
    def cells(self) -> dict[str, str]:
        """Column -> what is shown of ours."""
        words = self.mean_words
        shown = {PAIRS: f"{self.pairs:,}"} if self.sources else {}
        return shown | ({} if words is None else {WORDS: number(words, 1)})


def pair_lines(sources: Sequence[Source], folder: Path | str) -> list[PairLine]:
    """A line for each of the paper's datasets, the study's other ones, and both totals.

    Args:
        sources: of all corpora (`load_sources`); those of `pairs` count.
        folder: of the paper's tables.
    """
    pairs = [source for source in sources if source.corpus == "pairs"]
    left, lines = list(pairs), list[PairLine]()
    for printed in read_table(folder, "table_2"):
        name = printed["dataset"]
        if name == TOTAL:
            lines += [PairLine(source.name, None, [source]) for source in left]
            lines.append(PairLine(TOTAL, printed, pairs))
            continue
        ours = [s for s in left if name in (s.name, s.facts.get("stand_in_for"))]
        left = [source for source in left if source not in ours]
        lines.append(PairLine(name, printed, ours))
    return lines


def pairs_table(sources: Sequence[Source], folder: Path | str) -> str:
    """`pair_lines` as HTML."""
    return paragraph(NOTE, "small") + table(HEAD, map(_line, pair_lines(sources, folder)))


def _line(line: PairLine) -> list[str]:
    cells = {column: own(TITLE, column, line.name, shown) for column, shown in line.cells.items()}
    ours = cells.get(PAIRS) or span("none", "not in this study")
    ours_words = cells.get(WORDS, DASH)
    if line.printed:
        millions = line.printed["image_text_pairs_millions"]
        length = parse(line.printed["avg_text_length_words"], "table_2.csv")
        ours += span("of", f"paper {text(millions)}M{_share(line, float(millions))}")
        delta = ""
        if line.mean_words is not None and length is not None:
            delta = " " + span("delta stand-in", signed(line.mean_words - length.value, 1))
        ours_words += span("of", f"paper {text(length)}{delta}")
    else:
        ours += span("of", "not in the paper")
    stands = [
        f"{text(s.name)} for {text(s.facts['stand_in_for'])}"
        for s in line.sources
        if s.facts.get("stand_in_for")
    ]
    origin = "; ".join(stands) or ", ".join(text(s.name) for s in line.sources) or DASH
    licence = ", ".join(dict.fromkeys(text(s.facts.get("licence", DASH)) for s in line.sources))
    title = f"<b>{TOTAL}</b>" if line.name == TOTAL else text(line.name)
    return [title, ours, ours_words, origin, licence or DASH]


def _share(line: PairLine, millions: float) -> str:
    if not line.pairs:
        return ""
    return f", ours {span('delta stand-in', f'{100 * line.pairs / (MILLION * millions):.3g} %')}"
