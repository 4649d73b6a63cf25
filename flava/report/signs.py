"""Table 1: which data, losses and target modalities models have; ours computed from the study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from flava.config import ColumnConfig
from flava.jobs import ReportSettings
from flava.report.compare import ColumnInfo, Comparison
from flava.report.html import DASH, paragraph, span, text, wide_table
from flava.report.printed_tables import read_table
from flava.report.runs import Run, Source, load_sources

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
    "Above: as printed. Below: the columns of this study, by computation. Datasets, size (pairs, "
    "or images or texts where a column has no pairs) and licences are from the prepared corpora's "
    "manifests, losses from the columns' configurations; a target modality is ticked where the "
    "column has a score: V vision, CV&amp;L zero-shot retrieval, MV&amp;L a fine-tuned multimodal "
    "task, L language. Whether data are public is told by their licences. \N{EN DASH}: no."
)


def signs_table(
    comparison: Comparison, settings: ReportSettings, runs: Sequence[Run], folder: Path | str
) -> str:
    """The printed models, then the study's columns."""
    keys = list(HEAD)
    printed = [[_shown(line[key]) for key in keys] for line in read_table(folder, "table_1")]
    first = {run.column: run for run in reversed(runs)}
    sources = load_sources(runs)
    ours = []
    for column in comparison.columns:
        if column.name in first and column.name in settings.columns:
            config = settings.columns[column.name]
            ours.append(_ours(comparison, column, config, first[column.name], sources))
    groups = {"The paper's Table 1": printed, "This study": ours}
    return paragraph(NOTE, "small") + wide_table(list(HEAD.values()), groups, "facts-table")


def _shown(value: str) -> str:
    return SIGNS.get(value, text(value))


def _ours(
    comparison: Comparison,
    column: ColumnInfo,
    config: ColumnConfig,
    run: Run,
    sources: Sequence[Source],
) -> list[str]:
    kinds = {Path(folder).name for folder in run.corpora.values()}
    used = [source for source in sources if source.corpus in kinds]
    losses = {loss for use in config.data.values() for loss in use.objectives}
    losses |= {"global_contrastive"} if config.arch == "clip_released" else set()
    masked = "MMM" if losses & {"mmm_image", "mmm_text"} else ""
    single = "+".join(loss.upper() for loss in ("mlm", "mim") if loss in losses)
    name = f"{column.number} {text(column.title)}"
    if column.stand_in:
        name += span("sub", f"stand-in: {text(column.stand_in)}")
    return [
        name,
        ", ".join(dict.fromkeys(text(s.facts.get("licence", DASH)) for s in used)) or DASH,
        ", ".join(text(s.facts.get("name", DASH)) for s in used) or "published weights",
        _size(used),
        _shown("yes" if "global_contrastive" in losses else ""),
        _shown("yes" if "itm" in losses else ""),
        masked or DASH,
        single or DASH,
        *(_shown("yes" if found else "") for found in _targets(comparison, column.name)),
    ]


def _size(sources: Sequence[Source]) -> str:
    totals: dict[str, int] = {}
    for source in sources:
        counts: Mapping[str, int] = source.facts.get("counts", {})
        unit = next((u for u in ("pairs", "images", "texts", "documents") if counts.get(u)), None)
        if unit:
            totals[unit] = totals.get(unit, 0) + counts[unit]
    return ", ".join(f"{count:,} {unit}" for unit, count in totals.items()) or DASH


def _targets(comparison: Comparison, column: str) -> list[bool]:
    """V, CV&L, MV&L, L: whether the column has a score there."""
    rows = [row for row in comparison.rows if comparison.cells[row.name, column].ours]
    both = {row.protocol for row in rows if row.domain == "multimodal"}
    domains = {row.domain for row in rows}
    return ["vision" in domains, "zero-shot" in both, "fine-tuning" in both, "nlp" in domains]
