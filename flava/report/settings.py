"""Tables A.1 and A.2: the paper's settings beside this study's, every deviation marked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from flava.config import SamplingConfig
from flava.jobs import ReportSettings
from flava.report.compare import Comparison
from flava.report.html import DASH, SORTABLE, paragraph, span, table, text
from flava.report.marked import own
from flava.report.printed_tables import read_table
from flava.report.runs import Run
from flava.report.tables import NOT_RUN, column_title

ABSENT = "not in this study"
SAME = "as in the paper"
DIFFERS = "differs"
NOT_PRETRAINED = "not pretrained: published weights"
PLANNED = "did not run: shares as this study would have them"
TITLES = {
    "table_a1": "Table A.1",
    "table_a2": "Table A.2",
    "section_b1": "Section B.1",
    "recipes": "Recipes",
}
STUDY = "this study"  # column of a setting
CORPUS_OF = {"pair_images": "pairs", "pair_texts": "pairs"}


def settings_table(study: Mapping[str, Any], folder: Path | str, name: str) -> str:
    """One line a printed setting, with a count of those that differ.

    Args:
        study: the resolved study (`ReportSettings.study`).
        folder: of the paper's tables.
        name: of the CSV file, whose `key` says where in the study the setting is.
    """
    lines = read_table(folder, name)
    body = [_line(study, line, TITLES[name]) for line in lines]
    counts = {word: sum(word in row[-1] for row in body) for word in (SAME, DIFFERS, ABSENT)}
    said = ", ".join(f"{count} {_said(word)}" for word, count in counts.items() if count)
    note = f"{len(lines)} settings: {said}."
    return paragraph(note) + table(["setting", "paper", STUDY, "key", ""], body, SORTABLE)


def lookup(study: Mapping[str, Any], key: str) -> Any:
    """The value at a dotted key; None where a part of it is absent."""
    value: Any = study
    for part in key.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def same(value: object, printed: str) -> bool:
    """Whether a setting is what the table prints: a number, 'N x N', or a schedule's name."""
    if isinstance(value, str):
        return printed.removeprefix("warmup_") == value
    if not isinstance(value, int | float):
        return False
    try:
        return float(value) == float(printed.split(" x ")[0])
    except ValueError:
        return False


def _said(word: str) -> str:
    return {SAME: "as in the paper", DIFFERS: "differ", ABSENT: "not in this study"}[word]


def setting_name(line: Mapping[str, str]) -> str:
    """Row of a printed setting, for `workflow.trace`."""
    what = line.get("hyperparameter") or line.get("quantity") or line.get("dataset") or line["key"]
    return ", ".join(part for part in (line.get("part") or line.get("recipe"), what) if part)


def _line(study: Mapping[str, Any], line: Mapping[str, str], name: str) -> list[str]:
    value, printed = lookup(study, line["key"]), line["value"]
    what = line.get("hyperparameter") or line.get("quantity") or line.get("dataset") or line["key"]
    group = line.get("part") or line.get("recipe")
    title = text(what) + (span("of wrap", text(group)) if group else "")
    if value is None:
        word = span("none", ABSENT)
    else:
        word = SAME if same(value, printed) else f"<b>\N{NOT EQUAL TO} {DIFFERS}</b>"
    shown = ""
    if value is not None:
        shown = own(name, STUDY, setting_name(line), text(shown_setting(value, printed)))
    return [title, text(printed), shown, f"<code>{text(line['key'])}</code>", word]


def shown_setting(value: object, printed: str) -> str:
    """Ours in the form of print: 'N x N' for the side of a square."""
    plain = f"{value:g}" if isinstance(value, float) else str(value)
    return f"{plain} x {plain}" if " x " in printed else plain


def sampling_table(settings: ReportSettings, comparison: Comparison, runs: Sequence[Run]) -> str:
    """Share of the updates of each kind of corpus, by column: Table A.2 over what a column uses."""
    corpora, ran, body = list(SamplingConfig.model_fields), {run.column for run in runs}, []
    for column in comparison.columns:
        found, known = sampling_shares(settings, column.name, runs), column.name in ran
        shares = [_share(column.name, corpus, found, known) for corpus in corpora]
        if not found:
            published = column.in_study and (known or not column.stand_in)
            why = NOT_PRETRAINED if published else NOT_RUN
            shares[0] = span("none", why, column.why_not)
        title = column_title(column)
        if found and not known:
            title += span("of wrap", PLANNED, column.why_not)
        body.append([title, *shares])
    return table(["column", *corpora], body)


def _share(column: str, corpus: str, found: Mapping[str, tuple[str, str]], known: bool) -> str:
    """A cell; grey where the column did not run."""
    if corpus not in found:
        return DASH
    share, kind = found[corpus]
    shown = f"{own(TITLES['table_a2'], column, corpus, share)} {kind}"
    return shown if known else span("none", f"would be {shown}")


def sampling_shares(
    settings: ReportSettings, column: str, runs: Sequence[Run]
) -> dict[str, tuple[str, str]]:
    """Corpus -> (share of a column's updates as shown, kind of data as HTML), where it is read.

    A column that ran has the shares of its run, which may be of other data than its entry names:
    those of a stand-in. Another has what the study would give it. None without pretraining.
    """
    run = next((run for run in runs if run.column == column), None)
    if run is not None:
        weights = {kind: float(value) for kind, value in run.config.get("sampling", {}).items()}
    else:
        kinds = settings.columns[column].data if column in settings.columns else {}
        given = settings.study["sampling"]
        weights = {kind: float(given[CORPUS_OF.get(kind, kind)]) for kind in kinds}
    total = sum(weights.values())
    found = {}
    for kind, weight in weights.items():
        corpus = CORPUS_OF.get(kind, kind)
        folder = Path(run.corpora[corpus]).name if run else corpus
        other = "" if folder == corpus else span("of", f"of the corpus {text(folder)}")
        found[corpus] = f"{weight / total:.2f}", f"{text(kind)}{other}"
    return found
