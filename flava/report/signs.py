"""Table 1: which data, losses and target modalities models have; ours computed from the study."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from flava.config import ColumnConfig
from flava.jobs import ReportSettings
from flava.report.compare import ColumnInfo, Comparison
from flava.report.html import DASH, paragraph, span, text, wide_table
from flava.report.marked import own
from flava.report.printed_tables import read_table
from flava.report.runs import Run, Source, load_sources

TITLE = "Table 1"
UNKNOWN = "not known here"
HEAD = {
    "method": "method",
    "public_data": "public data",
    "dataset": "datasets",
    "size": "size",
    "contrastive": "contrastive",
    "itm": "ITM",
    "masking": "masking",
    "unimodal": "unimodal",
    "v": "V",
    "cvl": "CV&amp;L",
    "mvl": "MV&amp;L",
    "l": "L",
}
SIGNS = {
    "yes": "\N{CHECK MARK}",
    "no": "\N{MULTIPLICATION SIGN}",
    "partly": "\N{CHECK MARK} partly",
    "": DASH,
}
NOTE = (
    "Above: as printed. Below: the columns of this study, by computation. Datasets, size (of "
    "each source the first that it counts: pairs, images, texts or documents) and licences "
    "are from the prepared corpora's manifests, losses from the columns' configurations; a target "
    "modality is ticked where the column has a score: V vision, CV&amp;L zero-shot retrieval, "
    "MV&amp;L a fine-tuned multimodal task, L language. Whether data are public is told by their "
    "licences; nothing here tells the data of published weights. \N{EN DASH}: no."
)


def signs_table(
    comparison: Comparison, settings: ReportSettings, runs: Sequence[Run], folder: Path | str
) -> str:
    """The printed models, then the study's columns."""
    keys = list(HEAD)
    printed = [[_shown(line[key]) for key in keys] for line in read_table(folder, "table_1")]
    ours = study_signs(comparison, settings, runs)
    lines = [
        _line(column, ours[column.name]) for column in comparison.columns if column.name in ours
    ]
    groups = {"The paper's Table 1": printed, "This study": lines}
    return paragraph(NOTE, "small") + wide_table(list(HEAD.values()), groups, "facts-table")


def _shown(value: str) -> str:
    return SIGNS.get(value, text(value))


@dataclass(frozen=True)
class Sign:
    """A cell of a column of this study.

    Attributes:
        shown: plain text; empty for "no".
        sources: of the corpora that it is read from.
        rows: whose scores give it.
    """

    shown: str
    sources: tuple[Source, ...] = ()
    rows: tuple[str, ...] = ()


def column_signs(
    comparison: Comparison, column: str, config: ColumnConfig, run: Run, sources: Sequence[Source]
) -> dict[str, Sign]:
    """Key of `HEAD` but the name -> cell; what has neither sources nor rows is configuration."""
    kinds = {Path(folder).name for folder in run.corpora.values()}
    used = tuple(source for source in sources if source.corpus in kinds)
    losses = {loss for use in config.data.values() for loss in use.objectives}
    losses |= {"global_contrastive"} if config.arch == "clip_released" else set()
    single = "+".join(loss.upper() for loss in ("mlm", "mim") if loss in losses)
    licences = dict.fromkeys(str(s.facts["licence"]) for s in used if "licence" in s.facts)
    return {
        "public_data": Sign(", ".join(licences) or UNKNOWN, used),
        "dataset": Sign(", ".join(s.name for s in used) or "published weights", used),
        "size": Sign(_size(used) or UNKNOWN, used),
        "contrastive": Sign(_tick("global_contrastive" in losses)),
        "itm": Sign(_tick("itm" in losses)),
        "masking": Sign("MMM" if losses & {"mmm_image", "mmm_text"} else ""),
        "unimodal": Sign(single),
        **{key: Sign(_tick(bool(rows)), rows=rows) for key, rows in _targets(comparison, column)},
    }


def study_signs(
    comparison: Comparison, settings: ReportSettings, runs: Sequence[Run]
) -> dict[str, dict[str, Sign]]:
    """Column that ran -> its cells."""
    first = {run.column: run for run in reversed(runs)}
    sources = load_sources(runs)
    return {
        c.name: column_signs(comparison, c.name, settings.columns[c.name], first[c.name], sources)
        for c in comparison.columns
        if c.name in first and c.name in settings.columns
    }


def _line(column: ColumnInfo, signs: Mapping[str, Sign]) -> list[str]:
    name = f"{column.number} {text(column.title)}"
    if column.stand_in:
        name += span("sub", f"stand-in: {text(column.stand_in)}")
    cells = [
        own(TITLE, column.name, key, text(sign.shown)) if sign.shown else DASH
        for key, sign in signs.items()
    ]
    return [name, *cells]


def _tick(found: bool) -> str:
    return SIGNS["yes"] if found else ""


def _size(sources: Sequence[Source]) -> str:
    totals: dict[str, int] = {}
    for source in sources:
        counts = source.counts
        unit = next((u for u in ("pairs", "images", "texts", "documents") if u in counts), None)
        if unit:
            totals[unit] = totals.get(unit, 0) + counts[unit]
    return ", ".join(f"{count:,} {unit}" for unit, count in totals.items())


def _targets(comparison: Comparison, column: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """V, CV&L, MV&L, L: the rows on which the column has a score there."""
    rows = [row for row in comparison.rows if comparison.cells[row.name, column].ours]
    both = [row for row in rows if row.domain == "multimodal"]
    yield "v", tuple(row.name for row in rows if row.domain == "vision")
    yield "cvl", tuple(row.name for row in both if row.protocol == "zero-shot")
    yield "mvl", tuple(row.name for row in both if row.protocol == "fine-tuning")
    yield "l", tuple(row.name for row in rows if row.domain == "nlp")
