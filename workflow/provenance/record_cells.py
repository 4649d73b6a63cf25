"""Cells that are read from records, manifests and configurations: Tables 1, 2, A.1, A.2, cost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from flava.evaluate.leak_result import load_leaks
from flava.io import read_json
from flava.report.column import entry, origin_line, run_settings, shown_keys, shown_value
from flava.report.corpora import TITLE as TABLE_2
from flava.report.corpora import WORDS, pair_lines
from flava.report.html import quantity
from flava.report.leaks import image_counts, leak_row, text_counts
from flava.report.printed_tables import read_table
from flava.report.runs import Source, load_earlier
from flava.report.sections import cost_line, source_cells
from flava.report.settings import (
    STUDY,
    TITLES,
    lookup,
    sampling_shares,
    setting_name,
    shown_setting,
)
from flava.report.signs import TITLE as TABLE_1
from flava.report.signs import Sign, study_signs
from workflow.provenance.cells import Cell, Ours


def table_1(ours: Ours) -> Iterator[Cell]:
    """The columns' data, losses and modalities that have a score."""
    signs = study_signs(ours.comparison, ours.settings, ours.runs)
    for column, cells in signs.items():
        first = next(run.name for run in ours.runs if run.column == column)
        for key, sign in cells.items():
            if sign.shown:
                yield _sign(ours, column, key, sign, ours.record(first))


def _sign(ours: Ours, column: str, key: str, sign: Sign, record: str) -> Cell:
    name = (TABLE_1, column, key, sign.shown)
    if sign.rows:
        formula = f"there are scores on {quantity(len(sign.rows), 'row')} of that kind"
        return Cell(*name, formula, scores=ours.lines(sign.rows, [column]))
    if sign.sources:
        return Cell(*name, "of the manifests' sources", manifests=_manifests(sign.sources))
    return Cell(*name, "of the run's configuration", records=(record,))


def table_2(ours: Ours) -> Iterator[Cell]:
    """Pairs and mean words a caption."""
    for line in pair_lines(ours.sources, ours.job.published):
        for column, shown in line.cells.items():
            names = ", ".join(source.name for source in line.sources)
            what = "mean_words of captions" if column == WORDS else "counts.pairs, summed"
            formula = f"{what} over the manifest's sources: {names}"
            manifests = _manifests(line.sources)
            yield Cell(TABLE_2, column, line.name, shown, formula, manifests=manifests)


def corpora(ours: Ours) -> Iterator[Cell]:
    """What the manifests say of each source."""
    for source in ours.sources:
        for unit, shown in source_cells(source).items():
            place, formula = ("Corpora", source.corpus, f"{source.name}, {unit}"), "of the manifest"
            yield Cell(*place, shown, formula, manifests=(source.manifest,))


def _manifests(sources: Sequence[Source]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(source.manifest for source in sources))


def cost(ours: Ours) -> Iterator[Cell]:
    """Time, memory and hardware of the runs and of what they start from."""
    for name, record in load_earlier(ours.job).items():
        yield from _of_record("Cost", name, cost_line(record), (ours.job.earlier[name],))
    for run in ours.runs:
        line = cost_line(run.record, run.evaluate_seconds)
        evaluation = {"evaluation": line.pop("evaluation")}
        yield from _of_record("Cost", run.name, line, (ours.record(run.name),))
        files = ours.comparison.records.get(run.name) or (ours.record(run.name),)
        yield from _of_record("Cost", run.name, evaluation, files)


def origin(ours: Ours) -> Iterator[Cell]:
    """What a column's page says of its runs' records."""
    for run in ours.runs:
        yield from _of_record("Origin", run.name, origin_line(run.record), (ours.record(run.name),))


def _of_record(
    table: str, column: str, line: Mapping[str, str], records: tuple[str, ...]
) -> Iterator[Cell]:
    for what, shown in line.items():
        if shown:
            yield Cell(table, column, what, shown, "of the record", records=records)


def leaks(ours: Ours) -> Iterator[Cell]:
    """Counts of the leak check."""
    if ours.job.leaks is None:
        return
    found, _ = load_leaks(ours.job.leaks)
    counted = [(each.corpus, each.task, image_counts(each)) for each in found.images]
    counted += [(each.corpus, each.task, text_counts(each)) for each in found.texts]
    for corpus, task, counts in counted:
        for what, shown in counts.items():
            place, formula = ("Leaks", corpus, leak_row(task, what)), "of the leak check's result"
            yield Cell(*place, shown, formula, records=(ours.job.leaks,))


def settings(ours: Ours) -> Iterator[Cell]:
    """Settings of each column's first run."""
    for column in ours.job.columns:
        for key, value in (run_settings(ours.runs, column) or {}).items():
            if shown := shown_value(value):
                formula, records = "of the run's configuration", _first_run(ours, column)
                yield Cell("Settings", column, key, shown, formula, records=records)


def columns(ours: Ours) -> Iterator[Cell]:
    """Settings of a column's entry, and of its base's, as resolved from params/columns.yaml."""
    for page in ours.job.columns:
        for column in filter(None, (page, ours.settings.bases.get(page))):
            tree, records = entry(ours.settings, column), _first_run(ours, column)
            for key in shown_keys(ours.settings, page):
                if shown := shown_value(tree.get(key)):
                    formula = "of the column's entry in params/columns.yaml"
                    yield Cell("Columns", column, key, shown, formula, records=records,
                               settings=ours.job.settings)  # fmt: skip


def printed_settings(name: str, ours: Ours) -> Iterator[Cell]:
    """The settings of Table A.1, A.2, Section B.1 or the recipes that this study has.

    Args:
        name: of the file of the paper's settings.
        ours: the study.
    """
    for line in read_table(ours.job.published, name):
        key, value = line["key"], lookup(ours.settings.study, line["key"])
        if value is not None:
            records, notes = _users(ours, key, value)
            shown, place = shown_setting(value, line["value"]), (STUDY, setting_name(line))
            formula = f"{key} of the resolved study"
            yield Cell(TITLES[name], *place, shown, formula, records=records,
                       settings=ours.job.settings, notes=notes)  # fmt: skip


def table_a2(ours: Ours) -> Iterator[Cell]:
    """The study's sampling, and each column's share of it."""
    yield from printed_settings("table_a2", ours)
    for column in ours.comparison.columns:
        records = _first_run(ours, column.name)
        for corpus, (shown, _) in sampling_shares(ours.settings, column.name, ours.runs).items():
            formula = f"sampling of {corpus} over what the column reads"
            yield Cell(TITLES["table_a2"], column.name, corpus, shown, formula, records=records,
                       settings=ours.job.settings)  # fmt: skip


def _first_run(ours: Ours, column: str) -> tuple[str, ...]:
    """The record of the column's run of the first seed; none where it did not run."""
    run = f"{column}-s{ours.job.seeds[0]}"
    return (ours.record(run),) if run in ours.job.runs else ()


def _users(ours: Ours, key: str, value: Any) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(records of the steps that ran with this setting, what else is to be said of it)."""
    same: list[tuple[str, str, Any]] = []
    other: list[tuple[str, str, Any]] = []
    for record, config, own_key in _readers(ours, key):
        found = lookup(read_json(config), own_key) if Path(config).is_file() else None
        if found is not None:
            (same if found == value else other).append((record, config, found))
    notes = [f"{config} has {found}" for _, config, found in other]
    if not same:
        notes.append("no step that ran has this value: it is the study's alone")
    return tuple(record for record, _, _ in same), tuple(notes)


def _readers(ours: Ours, key: str) -> Iterator[tuple[str, str, str]]:
    """(record, configuration, key there) of steps that may read a setting of the study."""
    first, _, rest = key.partition(".")
    if first == "inits":
        kind, _, own_key = rest.partition(".")
        for name, record in ours.job.earlier.items():
            if name.startswith(f"init {kind}-"):
                yield record, str(Path(record).with_name("config.json")), own_key
    elif first == "tasks":
        for files in ours.comparison.records.values():
            for file in files:
                yield file, file.removesuffix(".json") + ".config.json", key
    elif first != "sampling":  # what a run has of it is normalised: the columns' shares
        for run in ours.job.runs:
            yield ours.record(run), f"{ours.job.runs[run]}/config.json", key
