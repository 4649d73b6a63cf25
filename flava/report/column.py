"""The page of one column: its configuration as a difference from its base, scores, origin."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from flava.errors import ConfigError, unknown_name
from flava.jobs import ReportSettings
from flava.report.compare import ColumnInfo, Comparison
from flava.report.html import DASH, paragraph, span, table, text
from flava.report.runs import Run
from flava.report.tables import results_table

ABOUT = ("number", "title", "paper_data")  # of the printed column, no settings
PLACES = ("study", "column", "seed", "output", "checkpoints")  # differ between any two runs


def info_of(comparison: Comparison, name: str) -> ColumnInfo:
    """The column of this name.

    Raises:
        ConfigError: there is none.
    """
    for column in comparison.columns:
        if column.name == name:
            return column
    names = [column.name for column in comparison.columns]
    raise ConfigError(unknown_name("column", name, names, "the page of a column"))


def heading(comparison: Comparison, settings: ReportSettings, name: str) -> str:
    """Title, the paper's data, whether the column's model is a stand-in."""
    column = info_of(comparison, name)
    title = f"<h1>Column {column.number}: {text(column.title)}</h1>"
    lines = []
    if name in settings.columns:
        lines.append(f"In the paper trained on {text(settings.columns[name].paper_data)}.")
    if column.stand_in:
        lines.append(f"The model is a stand-in: <b>{text(column.stand_in)}</b>.")
    if column.why_not:
        lines.append(f"Not run: {text(column.why_not)}.")
    return title + paragraph(" ".join(lines), "lead")


def configuration(settings: ReportSettings, name: str, pages: Collection[str]) -> str:
    """What the column's entry changes, key by key; all of it for a column without a base.

    Args:
        settings: of the study.
        name: of the column.
        pages: columns that have a page to link to.
    """
    own = flat(settings.columns[name].model_dump(mode="json"))
    base = settings.bases.get(name)
    if base is None:
        shown = [[f"<code>{text(k)}</code>", _value(v)] for k, v in own.items() if _setting(k)]
        return paragraph("It builds on no other column.") + table(["key", "value"], shown)
    other = flat(settings.columns[base].model_dump(mode="json"))
    changed = [
        [f"<code>{text(key)}</code>", _value(other.get(key)), _value(own.get(key))]
        for key in dict.fromkeys([*other, *own])
        if _setting(key) and other.get(key) != own.get(key)
    ]
    link = f"<code>{text(base)}</code>"
    if base in pages:
        link = f'<a href="column_{text(base)}.html">{link}</a>'
    note = f"It is column {link} with {len(changed)} of its settings changed."
    return paragraph(note) + table(["key", f"<code>{text(base)}</code>", "this column"], changed)


def run_differences(runs: Sequence[Run], settings: ReportSettings, name: str) -> str:
    """Where the resolved runs of the column and of its base differ, first seed of both.

    Args:
        runs: of the study, the seeds of a column in their order.
        settings: of the study.
        name: of the column.
    """
    first = {run.column: run for run in reversed(runs)}
    base = settings.bases.get(name)
    names = [column for column in (name, base) if column]
    if not all(column in first for column in names):
        return ""
    trees = [flat(first[column].config) for column in names]
    own = {key: value for key, value in trees[0].items() if key.split(".")[0] not in PLACES}
    parts = []
    if len(trees) == 2:
        body = [
            [f"<code>{text(key)}</code>", _value(trees[1].get(key)), _value(own.get(key))]
            for key in dict.fromkeys([*own, *trees[1]])
            if key.split(".")[0] not in PLACES and own.get(key) != trees[1].get(key)
        ]
        parts.append(paragraph("What this comes to in the resolved configuration of a run:"))
        parts.append(table(["key", f"<code>{text(base)}</code>", "this column"], body))
    whole = table(
        ["key", "value"], [[f"<code>{text(k)}</code>", _value(v)] for k, v in own.items()]
    )
    parts.append(f"<details><summary>All {len(own)} settings of a run</summary>{whole}</details>")
    return "".join(parts)


def scores(comparison: Comparison, settings: ReportSettings, name: str) -> str:
    """All rows of the column, beside its base's."""
    names = [n for n in (settings.bases.get(name), name) if n]
    columns = tuple(column for n in names for column in comparison.columns if column.name == n)
    return results_table(comparison, columns)


def runs_of(runs: Sequence[Run], name: str) -> tuple[Run, ...]:
    """The runs of one column."""
    return tuple(run for run in runs if run.column == name)


def origin(runs: Sequence[Run]) -> str:
    """Where each run came from, as its record says."""
    body = []
    for run in runs:
        record = run.record
        commit = record.git_commit[:12] + (" with changes" if record.git_dirty else "")
        body.append(
            [
                text(run.name),
                text(record.started),
                f"<code>{text(commit)}</code>",
                f"<code>{text(record.config_sha256[:12])}</code>",
                text(", ".join(f"{k} {v}" for k, v in record.packages.items() if k == "torch")),
            ]
        )
    return table(["run", "started", "code", "configuration", "software"], body)


def flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Dotted key -> value, of all leaves."""
    return dict(_leaves(tree, prefix))


def _leaves(tree: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _setting(key: str) -> bool:
    return key.split(".")[0] not in ABOUT


def _value(value: Any) -> str:
    if value is None or value in ({}, []):
        return span("none", DASH)
    return text(", ".join(map(str, value)) if isinstance(value, list) else value)
