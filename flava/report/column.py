"""The page of one column: its configuration as a difference from its base, scores, origin."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from flava.errors import ConfigError, unknown_name
from flava.jobs import ReportSettings
from flava.records import Record
from flava.report.compare import ColumnInfo, Comparison, only
from flava.report.html import DASH, paragraph, span, table, text
from flava.report.marked import own
from flava.report.runs import Run
from flava.report.tables import results_table

ABOUT = ("number", "title", "paper_data")  # of the printed column, no settings
ORIGIN = ("started", "code", "configuration", "software")
STANDS_IN = (
    "This entry is that of the paper's column. The model that stands in for it was made with other "
    "settings, which are those below."
)
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
    if name not in {printed.name for printed in comparison.published.columns}:
        lines.append("Not a column of the paper: no number of it is printed.")
    elif name in settings.columns:
        lines.append(f"In the paper trained on {text(settings.columns[name].paper_data)}.")
    if column.stand_in:
        lines.append(f"The model is a stand-in: <b>{text(column.stand_in)}</b>.")
    if column.why_not:
        lines.append(f"Not run: {text(column.why_not)}.")
    return title + paragraph(" ".join(lines), "lead")


def entry(settings: ReportSettings, name: str) -> dict[str, Any]:
    """Dotted key -> value of a column's entry in params/columns.yaml, resolved."""
    tree = flat(settings.columns[name].model_dump(mode="json"))
    return {key: value for key, value in tree.items() if key.split(".")[0] not in ABOUT}


def shown_keys(settings: ReportSettings, name: str) -> list[str]:
    """Keys of a column's entry that its page shows: those changed, all where it has no base."""
    mine, base = entry(settings, name), settings.bases.get(name)
    if base is None:
        return list(mine)
    other = entry(settings, base)
    return [key for key in dict.fromkeys([*other, *mine]) if _differ(other, mine, key)]


def configuration(settings: ReportSettings, name: str, pages: Collection[str]) -> str:
    """What the column's entry changes, key by key; all of it for a column without a base.

    Args:
        settings: of the study.
        name: of the column.
        pages: columns that have a page to link to.
    """
    mine, base = entry(settings, name), settings.bases.get(name)
    keys = shown_keys(settings, name)
    if base is None:
        shown = [[f"<code>{text(key)}</code>", _cell("Columns", name, key, mine)] for key in keys]
        return paragraph("It builds on no other column.") + table(["key", "value"], shown)
    other = entry(settings, base)
    changed = [
        [f"<code>{text(key)}</code>", *_pair("Columns", (base, other), (name, mine), key)]
        for key in keys
    ]
    link = f"<code>{text(base)}</code>"
    if base in pages:
        link = f'<a href="column_{text(base)}.html">{link}</a>'
    note = f"It is column {link} with {len(changed)} of its settings changed."
    return paragraph(note) + table(["key", f"<code>{text(base)}</code>", "this column"], changed)


def run_settings(runs: Sequence[Run], name: str) -> dict[str, Any] | None:
    """Dotted key -> value of the column's resolved run, first seed; None without a run.

    Args:
        runs: of the study, the seeds of a column in their order.
        name: of the column.
    """
    config = next((run.config for run in runs if run.column == name), None)
    if config is None:
        return None
    return {key: v for key, v in flat(config).items() if key.split(".")[0] not in PLACES}


def run_differences(
    runs: Sequence[Run], settings: ReportSettings, name: str, stands_in: bool
) -> str:
    """Where the resolved runs of the column and of its base differ, first seed of both.

    Args:
        runs: of the study.
        settings: of the study.
        name: of the column.
        stands_in: its model takes the place of the paper's, which its entry describes.
    """
    base = settings.bases.get(name)
    mine, other = run_settings(runs, name), run_settings(runs, base) if base else None
    if mine is None:
        return ""
    parts = []
    if base and other is not None:
        body = [
            [f"<code>{text(key)}</code>", *_pair("Settings", (base, other), (name, mine), key)]
            for key in dict.fromkeys([*mine, *other])
            if _differ(other, mine, key)
        ]
        if body:
            parts.append(paragraph("What this comes to in the resolved configuration of a run:"))
            parts.append(table(["key", f"<code>{text(base)}</code>", "this column"], body))
        else:
            parts.append(paragraph("The resolved configurations of both runs are the same."))
    body = [[f"<code>{text(key)}</code>", _cell("Settings", name, key, mine)] for key in mine]
    whole = table(["key", "value"], body)
    if stands_in:
        parts.append(paragraph(STANDS_IN))
    fold = "details open" if stands_in else "details"
    parts.append(f"<{fold}><summary>All {len(mine)} settings of a run</summary>{whole}</details>")
    return "".join(parts)


def _differ(base: Mapping[str, Any], column: Mapping[str, Any], key: str) -> bool:
    """Whether the two are shown as different: an empty setting is one that is not there."""
    return shown_value(base.get(key)) != shown_value(column.get(key))


def _pair(
    of: str, base: tuple[str, Mapping[str, Any]], column: tuple[str, Mapping[str, Any]], key: str
) -> list[str]:
    return [_cell(of, name, key, tree) for name, tree in (base, column)]


def _cell(of: str, column: str, key: str, tree: Mapping[str, Any]) -> str:
    shown = shown_value(tree.get(key))
    return own(of, column, key, text(shown)) if shown else span("none", DASH)


def scores(comparison: Comparison, settings: ReportSettings, name: str) -> str:
    """All rows of the column, beside its base's."""
    return results_table(comparison, shown_part(comparison, settings, name).columns)


def shown_part(comparison: Comparison, settings: ReportSettings, name: str) -> Comparison:
    """The column and its base alone."""
    return only(comparison, [n for n in (settings.bases.get(name), name) if n])


def runs_of(runs: Sequence[Run], name: str) -> tuple[Run, ...]:
    """The runs of one column."""
    return tuple(run for run in runs if run.column == name)


def origin(runs: Sequence[Run]) -> str:
    """Where each run came from, as its record says."""
    body = []
    for run in runs:
        shown = origin_line(run.record)
        cells = [own("Origin", run.name, what, text(value)) for what, value in shown.items()]
        body.append([text(run.name), *cells])
    return table(["run", *ORIGIN], body)


def origin_line(record: Record) -> dict[str, str]:
    """`ORIGIN` of a record, as shown."""
    commit = record.git_commit[:12] + (" with changes" if record.git_dirty else "")
    if record.earlier_commits:
        commit += ", before it " + ", ".join(name[:12] for name in record.earlier_commits)
    last = record.packages.get("torch")
    software = DASH if last is None else f"torch {last}"
    before = dict.fromkeys(each.packages.get("torch", DASH) for each in record.known_before)
    if others := [version for version in before if version != last]:
        software += ", before it " + ", ".join(others)
    values = (record.started, commit, record.config_sha256[:12], software)
    return dict(zip(ORIGIN, values, strict=True))


def flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Dotted key -> value, of all leaves."""
    return dict(_leaves(tree, prefix))


def _leaves(tree: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def shown_value(value: Any) -> str:
    """A setting as plain text; empty for none."""
    if value is None or value in ({}, []):
        return ""
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
