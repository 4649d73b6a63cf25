"""What the paper's tables of scores by tasks are, once read: Table C.1, and tables like it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

DOMAINS = ("nlp", "vision", "multimodal")
MACRO = "macro"
AVERAGE_ROWS = {
    "NLP Avg.": "nlp",
    "Vision Avg.": "vision",
    "Multimodal Avg.": "multimodal",
    "Macro Avg.": MACRO,
}


@dataclass(frozen=True)
class PublishedColumn:
    """A printed column: its number, this project's name for it, its heading where data has one."""

    number: int
    name: str
    title: str | None = None


@dataclass(frozen=True)
class PublishedRow:
    """A printed row; `values` is keyed by column name, None where print has a dash."""

    name: str
    domain: str
    protocol: str
    values: Mapping[str, float | None]


@dataclass(frozen=True)
class PublishedTable:
    """Metric rows in print order, and the printed averages (nlp, ..., macro).

    Attributes:
        title: of the table in the paper.
        macro_domains: those whose averages the printed macro average is the mean of.
        public: columns that were trained on public data, which the paper's bold type is about.
        misplaced: (row, column) whose printed cell is not the column's own -> its own value; None
            where that is lost.
        why_misplaced: of these cells, as the end of a sentence about one.
    """

    columns: tuple[PublishedColumn, ...]
    rows: tuple[PublishedRow, ...]
    printed_averages: Mapping[str, Mapping[str, float | None]]
    title: str = "Table C.1"
    macro_domains: tuple[str, ...] = ("nlp", "vision")
    public: frozenset[str] = frozenset()
    misplaced: Mapping[tuple[str, str], float | None] = field(default_factory=dict)
    why_misplaced: str = ""

    def row_names(self, domain: str | None = None) -> tuple[str, ...]:
        """Row names in print order, of one domain or of all."""
        return tuple(row.name for row in self.rows if domain in (None, row.domain))

    def column(self, name: str) -> Mapping[str, float | None]:
        """Row name -> value of a column; empty for a column that is not in the paper."""
        return {row.name: row.values[name] for row in self.rows if name in row.values}

    def mended(self, name: str) -> Mapping[str, float | None]:
        """As `column`, with misplaced cells put right: what numbers may be computed from."""
        cells = self.column(name)
        return {row: self.misplaced.get((row, name), value) for row, value in cells.items()}
