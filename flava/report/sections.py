"""The parts of a page around its table: banner, stand-ins, what did not run, cost, data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from flava.jobs import ReportJob
from flava.processes import Hardware
from flava.records import Record
from flava.report.compare import Comparison, RowInfo
from flava.report.html import (
    DASH,
    SORTABLE,
    duration,
    number,
    paragraph,
    quantity,
    table,
    text,
)
from flava.report.marked import own
from flava.report.runs import Run, Source, is_published
from flava.report.tables import (
    DOMAIN_TITLES,
    extra_table,
    imported_columns,
    scale_line,
    stand_in_rows,
)

FACTS = ("test examples", "chance, %")  # of a row whose test set is a stand-in
COST = ("training", "evaluation", "GPU hours", "peak memory", "ranks", "hardware")
WORDS = "words a text"
UNTRAINED = (
    "Nothing was trained here: all models are published ones. Settings of training on these pages "
    "are the study's, but no run had them."
)


def banner(job: ReportJob, comparison: Comparison) -> str:
    """Study, scale and what the numbers can support.

    Args:
        job: the study.
        comparison: of what the page shows (`compare.only`).
    """
    head = f"<b>{text(job.title)}</b> (study <code>{text(job.study)}</code>): {text(job.scale)}."
    lines = [head.replace("..", "."), f"{scale_line(comparison)}.", can_support(comparison)]
    lines += [UNTRAINED] if job.trains_nothing else []
    return f'<div class="banner">{"".join(paragraph(line) for line in lines)}</div>'


def can_support(comparison: Comparison) -> str:
    """What a reader may conclude, from how much of it is stand-in and how many seeds ran."""
    ran = comparison.rows_ran()
    standing = stand_in_rows(ran)
    if not ran:
        return "Nothing that is shown here was run: no claim can be checked."
    if len(standing) == len(ran):
        first = "Every row is a stand-in, so <b>no score here reproduces a number of the paper</b>."
        if len(comparison.ran()) > 1:
            first += (
                " What can be checked is whether one column beats another as it does in the paper."
            )
    elif standing:
        first = (
            f"{quantity(len(standing), 'row')} of {len(ran)} are stand-ins and cannot be held "
            "against the paper's numbers; on all rows, columns can be compared with one another."
        )
        other = sum(row.other_split is not None for row in ran)
        first += f" {other} more are not surely of the paper's split." if other else ""
    else:
        first = _own_test_sets(comparison)
    if len(comparison.seeds) > 1:
        return f"{first} {_spread(comparison)}"
    return f"{first} One seed ran, so small differences between columns mean nothing."


def _spread(comparison: Comparison) -> str:
    """What standard errors are of, where several seeds ran."""
    over, imported = f"over {len(comparison.seeds)} seeds", imported_columns(comparison)
    if not imported:
        return f"Standard errors are {over}."
    if imported == comparison.ran():
        return (
            "Each column is one published model, whatever the seeds: standard errors are the test "
            "sets', and small differences mean nothing."
        )
    numbers = ", ".join(str(column.number) for column in imported)
    return (
        f"Standard errors are {over}. Published weights (column {numbers}) are one model, whatever "
        "the seeds: theirs are the test sets', and that of a difference to them is the other "
        "column's alone."
    )


def stand_ins(comparison: Comparison) -> str:
    """Column by column and row by row, what takes its model's or its test set's place."""
    models, rows = _models(comparison), stand_in_rows(comparison.rows + comparison.extra_rows)
    if not rows:
        return models + paragraph(_own_test_sets(comparison)) + _splits(comparison)
    body = [
        [
            text(row.name),
            text(row.stand_in),
            *(
                own("Stand-ins", fact, row.name, shown) if shown else DASH
                for fact, shown in row_facts(row).items()
            ),
        ]
        for row in rows
    ]
    return models + table(["row", "stand-in", *FACTS], body, SORTABLE) + _splits(comparison)


def _own_test_sets(comparison: Comparison) -> str:
    """Said where no row is a stand-in."""
    ran = comparison.rows_ran()
    if not ran:
        return "No row ran."
    other = sum(row.other_split is not None for row in ran)
    if not other:
        return "Every row that ran uses the paper's own test set."
    return (
        f"Every row that ran uses the paper's data sets; {other} of {len(ran)} are not, or not "
        "surely, scored on its split, and cannot be held against its numbers to the last point."
    )


def _splits(comparison: Comparison) -> str:
    """The rows of real sets whose split is not, or not surely, the paper's; empty without any."""
    found = [(row.other_split, row.name) for row in comparison.rows_ran() if row.other_split]
    note = "Not, or not surely, the paper's split:"
    return paragraph(note) + _by_label(found) if found else ""


def _by_label(rows: Iterable[tuple[str | None, str]]) -> str:
    """A line a label, with all rows that have it."""
    found: dict[str | None, list[str]] = {}
    for label, name in rows:
        found.setdefault(label, []).append(name)
    lines = (f"{text(', '.join(names))}: {text(label)}" for label, names in found.items())
    return f'<ul class="named">{"".join(f"<li>{line}</li>" for line in lines)}</ul>'


def _models(comparison: Comparison) -> str:
    return "".join(
        paragraph(
            f"Column {column.number}, {text(column.title)}: the model is a stand-in, "
            f"<b>{text(column.stand_in)}</b>."
        )
        for column in comparison.ran()
        if column.stand_in
    )


def stand_in_list(comparison: Comparison) -> str:
    """The same in short, a line a test set; unfolded, so that it is printed too."""
    rows = comparison.rows_ran()
    standing = [(row.stand_in, row.name) for row in stand_in_rows(rows)]
    if not standing:
        return _models(comparison) + paragraph(_own_test_sets(comparison)) + _splits(comparison)
    title = f"{len(standing)} of the {quantity(len(rows), 'row')} that ran: what takes the place of"
    return _models(comparison) + (
        f"<details open><summary>{title} the paper's test set</summary>"
        f"{_by_label(standing)}</details>{_splits(comparison)}"
    )


def footnotes(comparison: Comparison) -> str:
    """What marks and hints of a table of scores mean, in text: a phone and paper have no hints.

    Args:
        comparison: of the columns and rows that the table has (`compare.only`).
    """
    return (
        f"<h2>Stand-ins</h2>{stand_in_list(comparison)}"
        f"<h2>What did not run, and why</h2>{not_run(comparison)}"
    )


def row_facts(row: RowInfo) -> dict[str, str]:
    """`FACTS` of a row that ran, as shown; empty where it has none."""
    chance = "" if row.chance is None else number(row.chance, 1)
    return dict(zip(FACTS, (f"{row.n_examples:,}", chance), strict=True))


def not_run(comparison: Comparison) -> str:
    """Columns with their reasons, rows by domain, single cells, and seeds of single rows."""
    parts = []
    columns = [column for column in comparison.columns if not column.in_study]
    if columns:
        head = ["column", "", "why it did not run"]
        body = [[str(c.number), text(c.title), text(c.why_not)] for c in columns]
        parts.append(table(head, body))
    rows = [row for row in comparison.rows if not row.task]
    if rows:
        parts.append(paragraph(f"{quantity(len(rows), 'row')} not in this study:"))
        items = ""
        for domain, title in DOMAIN_TITLES.items():
            names = [text(row.name) for row in rows if row.domain == domain]
            items += f"<li>{title}: {', '.join(names)}.</li>" if names else ""
        parts.append(f"<ul>{items}</ul>")
    parts += [paragraph(line) for line in _missing_cells(comparison) + _missing_seeds(comparison)]
    columns_and_rows = (
        f"All {quantity(len(comparison.columns), 'column')} and all "
        f"{quantity(len(comparison.rows), 'row')} ran."
    )
    return "".join(parts) or paragraph(columns_and_rows)


def _missing_cells(comparison: Comparison) -> list[str]:
    lines = []
    ran_rows = [row.name for row in comparison.rows if row.task]
    for column in comparison.columns:
        missing = [r for r in ran_rows if comparison.cells[r, column.name].ours is None]
        if column.in_study and missing:
            paper = [r for r in missing if comparison.cells[r, column.name].paper is None]
            note = "; the paper has none either" if len(paper) == len(missing) else ""
            rows = ", ".join(text(name) for name in missing)
            lines.append(f"Column {column.number}, {text(column.title)}: no score on {rows}{note}.")
    return lines


def _missing_seeds(comparison: Comparison) -> list[str]:
    """Columns of which single rows lack seeds that others have, and what follows."""
    lines = []
    for column in comparison.columns:
        ours = {row.name: comparison.cells[row.name, column.name].ours for row in comparison.rows}
        seeds = {name: set(found.by_seed) for name, found in ours.items() if found}
        lacking = {
            seed: [name for name, found in seeds.items() if seed not in found]
            for seed in sorted(set().union(*seeds.values()))
        }
        lines += [
            f"Column {column.number}, {text(column.title)}: no score of seed {seed} on "
            f"{text(', '.join(names))}."
            for seed, names in lacking.items()
            if names
        ]
    if lines:
        lines.append("An average has no standard error where its rows ran with different seeds.")
    return lines


def cost(runs: Sequence[Run], earlier: Mapping[str, Record]) -> str:
    """Wall time, hardware and memory of each run and of what runs start from, with the sum."""
    lines = {name: cost_line(record) for name, record in earlier.items()}
    lines |= {run.name: cost_line(run.record, run.evaluate_seconds) for run in runs}
    body = [
        [text(name), *(own("Cost", name, what, text(v)) if v else DASH for what, v in line.items())]
        for name, line in lines.items()
    ]
    head = ["run", *COST]
    if any(run.imported for run in runs):
        head[1] += " or import"
    if any(is_published(record) for record in earlier.values()):
        head[1] += " or image tokens"
    return paragraph(total_cost(runs, earlier)) + table(head, body, SORTABLE)


def cost_line(record: Record, evaluate_seconds: float | None = None) -> dict[str, str]:
    """`COST` of a training as shown; empty where there is none.

    Args:
        record: of the training.
        evaluate_seconds: wall time of its evaluations, where it has some.
    """
    values = (
        duration(record.wall_seconds),
        "" if evaluate_seconds is None else duration(evaluate_seconds),
        f"{record.gpu_hours:.2f}" if record.hardware.gpus or record.gpu_hours else "",
        f"{record.peak_memory_bytes / 2**30:.1f} GiB",
        _with_earlier(str(record.ranks), [str(each.ranks) for each in record.known_before]),
        hardware(record),
    )
    return dict(zip(COST, values, strict=True))


def total_cost(runs: Sequence[Run], earlier: Mapping[str, Record]) -> str:
    """One sentence on the sum of all runs and what they start from."""
    imports = [run.record for run in runs if run.imported]
    before = list(earlier.values())
    encoding = [record for record in before if is_published(record)]
    trained = [record for record in before if not is_published(record)]
    trained += [run.record for run in runs if not run.imported]
    evaluate = sum(run.evaluate_seconds for run in runs)
    scored = [record for run in runs for record in run.evaluations.values()]
    gpu = sum(record.gpu_hours for record in [*trained, *encoding, *imports, *scored])
    parts = [
        f"{duration(sum(record.wall_seconds for record in records))} of {what}"
        for what, records in (
            ("training", trained),
            ("making image tokens with published weights", encoding),
            ("importing published weights", imports),
        )
        if records
    ]
    parts.append(f"{duration(evaluate)} of evaluation")
    shown = f"{', '.join(parts[:-1])} and {parts[-1]}" if len(parts) > 1 else parts[0]
    line = f"{quantity(len(runs), 'run')}: {shown}, wall time added up"
    return f"{line}; {gpu:.1f} GPU hours." if gpu else f"{line}; no GPU."


def hardware(record: Record) -> str:
    """The record's GPUs, or its processor, and those that it was begun on."""
    before = [_machine(each.hardware) for each in record.known_before]
    return _with_earlier(_machine(record.hardware), before)


def _with_earlier(last: str, before: Sequence[str]) -> str:
    others = ", ".join(each for each in dict.fromkeys(before) if each != last)
    return f"{last}, before it {others}" if others else last


def _machine(machine: Hardware) -> str:
    if machine.gpus:
        return f"{len(machine.gpus)} x {machine.gpus[0]}"
    return f"{machine.cpu}, {quantity(machine.cores, 'core')}"


def data(sources: Sequence[Source]) -> str:
    """Sources of the corpora, from their manifests."""
    head = ["corpus", "source", "stands in for", "counts", WORDS, "licence"]
    body = []
    for source in sources:
        shown = {
            unit: own("Corpora", source.corpus, f"{source.name}, {unit}", value)
            for unit, value in source_cells(source).items()
        }
        body.append(
            [
                text(source.corpus),
                text(source.name),
                text(source.facts.get("stand_in_for") or DASH),
                ", ".join(f"{shown[unit]} {text(_spoken(unit))}" for unit in source.counts) or DASH,
                shown.get(WORDS, DASH),
                text(source.facts.get("licence", DASH)),
            ]
        )
    return table(head, body, SORTABLE)


def source_cells(source: Source) -> dict[str, str]:
    """Unit, or `WORDS` -> the manifest's number of it as shown."""
    shown = {unit: f"{count:,}" for unit, count in source.counts.items()}
    return shown | ({} if source.mean_words is None else {WORDS: number(source.mean_words, 1)})


def _spoken(unit: str) -> str:
    return unit.replace("_", " ")


def extra_rows(comparison: Comparison) -> str:
    """Rows that were scored but are not in the paper's table, under a heading; else nothing."""
    rows = extra_table(comparison)
    return f"<h2>Scores beyond the paper's table</h2>{rows}" if rows else ""
