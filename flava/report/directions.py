"""Which of the paper's directions hold: `python -m flava.report.directions --config <report.json>`.

Writes `directions.json` beside results.parquet, with the record of how it was made; the index page
shows the same as a table.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from itertools import groupby
from pathlib import Path

from flava.errors import run_cli
from flava.io import sha256_file, write_json
from flava.jobs import ReportJob, load_job
from flava.records import make_record
from flava.report.claim_file import FILE, load_claims
from flava.report.claims import (
    HOLDS,
    NOT_RUN,
    REVERSED,
    UNDECIDED,
    Direction,
    claimed,
    judge_all,
)
from flava.report.compare import ColumnInfo, Comparison, load_comparison
from flava.report.html import DASH, number, quantity, signed, span, table, text
from flava.report.marked import average_name, difference_name, error_span, fewer_span, own
from flava.report.published import DOMAINS, MACRO
from flava.report.tables import DOMAIN_TITLES, imported_columns

CSS = {HOLDS: "good", REVERSED: "bad"}
SIDES = {1: "higher", -1: "lower"}
VERBS = {
    HOLDS: "hold",
    REVERSED: "are reversed",
    UNDECIDED: "are undecided",
    NOT_RUN: "did not run",
}
RULE = (
    "The direction is the sign that the paper's text claims for an average, whatever its tables "
    "say. It holds (or is reversed) where our mean difference over seeds has that sign (or the "
    "other) and exceeds, in size, t times its paired standard error: t is the two-sided 95 % "
    "quantile of Student's t with one degree of freedom fewer than seeds. Otherwise, and always "
    "with one seed or between two published models, it is undecided. Averages of which the "
    "text says nothing are not claimed, and get no verdict."
)


def main() -> None:
    """Writes the directions of a study."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", required=True, help="resolved report configuration (JSON)")
    parser.add_argument("--output", required=True, help="directions.json")
    arguments = parser.parse_args()
    write_directions(load_job(ReportJob, arguments.config), Path(arguments.output))


def load_directions(job: ReportJob, comparison: Comparison) -> tuple[Direction, ...]:
    """All directions of a study."""
    return judge_all(comparison, load_claims(job.published))


def write_directions(job: ReportJob, output: Path) -> None:
    """Writes study, seeds, rule, directions and record as JSON.

    Raises:
        DataError: results, a run's record or the paper's table is missing or damaged.
        ConfigError: the file of claims is malformed.
    """
    started = time.time()
    directions = load_directions(job, load_comparison(job))
    facts = {
        "results_sha256": sha256_file(job.results),
        "claims_sha256": sha256_file(Path(job.published) / FILE),
    }
    parents = [f"{folder}/record.json" for folder in job.runs.values()]
    value = {
        "study": job.study,
        "seeds": list(job.seeds),
        "rule": RULE,
        "directions": [asdict(direction) for direction in directions],
        "record": make_record("directions", job, started, parents=parents, extra=facts),
    }
    write_json(output, value)


def support(directions: Sequence[Direction]) -> str:
    """What the study decides of the claims, and how often its sign is the claimed one, in words."""
    stated = claimed(directions)
    looked_at = [direction for direction in stated if direction.word != NOT_RUN]
    if not looked_at:
        return "None of the paper's claims could be looked at."
    words = Counter(direction.word for direction in stated)
    about = "differences between columns that the paper's text claims"
    if any(direction.quantile is not None for direction in looked_at):
        parts = ", ".join(f"{words[word]} {VERBS[word]}" for word in VERBS if words[word])
        first = f"Of the {len(stated)} {about}, {parts}."
    else:
        few = any(len(direction.by_seed) == 1 for direction in looked_at)
        why = "one seed ran" if few else "each column is one published model"
        first = (
            f"No claim is decided: {why}, and a verdict takes two or more. Of the "
            f"{len(stated)} {about}, {len(looked_at)} ran."
        )
    sign = f"{agreement(looked_at)} have the claimed sign; by chance alone about half would"
    return f"{first} {sign}."


def agreement(directions: Sequence[Direction]) -> str:
    """'5 of 8': how many differences have the claimed sign, whatever their error."""
    found = [direction.agrees for direction in directions if direction.agrees is not None]
    return f"{sum(found)} of {len(found)}" if found else DASH


def note(comparison: Comparison, directions: Sequence[Direction]) -> str:
    """How to read the table, with the rule of the verdicts."""
    lines = [
        "Differences between two columns, percentage points, over the rows that both ran here; "
        "under ours, the paper's over the same rows and, where they are fewer, over all of its "
        f"rows. {RULE}"
    ]
    imported = imported_columns(comparison)
    if imported and imported == comparison.ran():
        lines.append(
            "Each column is one published model: no verdict. \N{PLUS-MINUS SIGN} (in italics): "
            "standard error of the two test sets alone, taken as independent."
        )
    elif len(comparison.seeds) > 1:
        tested = sum(direction.quantile is not None for direction in claimed(directions))
        lines.append(
            f"\N{PLUS-MINUS SIGN}: standard error of the paired difference over "
            f"{len(comparison.seeds)} seeds. {quantity(tested, 'claimed difference')} looked at: "
            "where there is none in truth, one in twenty still gets a verdict by chance. The paper "
            "gives one run a column and no errors."
        )
    else:
        lines.append(
            "One seed ran: no verdict. \N{PLUS-MINUS SIGN} (in italics): standard error of the two "
            "test sets alone, taken as independent."
        )
    lines.append("\N{DAGGER}: over all of its rows, the paper's difference has the other sign.")
    return " ".join(lines)


def directions_table(comparison: Comparison, directions: Sequence[Direction]) -> str:
    """One line a pair of columns, one cell a domain."""
    known = {column.name: column for column in comparison.columns}
    body = []
    for _, group in groupby(directions, key=lambda d: (d.key, d.column, d.baseline)):
        cells = {direction.domain: direction for direction in group}
        first = next(iter(cells.values()))
        columns = [known[name] for name in (first.column, first.baseline)]
        pair = " against ".join(f"{column.number} {column.title}" for column in columns)
        title = f"<b>{text(pair)}</b>" + span("of wrap", text(first.claim))
        title += "".join(span("of wrap", line) for line in models_that_stand_in(columns))
        seeds = len(comparison.seeds)
        body.append([title, *(_cell(cells.get(domain), seeds) for domain in (*DOMAINS, MACRO))])
    head = ["columns", *(DOMAIN_TITLES[domain] for domain in DOMAINS), "Macro"]
    return table(head, body, "plain cards claims sort")


def models_that_stand_in(columns: Iterable[ColumnInfo]) -> list[str]:
    """A line of ready HTML for each of the columns whose model is a stand-in."""
    return [
        f"column {column.number} is a stand-in: {text(column.stand_in)}"
        for column in columns
        if column.stand_in
    ]


def contradiction(direction: Direction) -> str:
    """'the paper's own averages: -0.57' where they contradict its claim; else empty."""
    if not direction.cells_contradict or direction.paper_all is None:
        return ""
    return f"against the claim, the paper's own averages: {signed(direction.paper_all)}"


def _cell(direction: Direction | None, seeds: int) -> str:
    if direction is None:
        return span("none", DASH, "neither the paper nor this study has this difference")
    every = DASH if direction.paper_all is None else signed(direction.paper_all)
    if direction.ours is None:
        return span("none", NOT_RUN) + span("of", f"paper {every}") + _claim(direction)
    pair = difference_name(direction.column, direction.baseline)
    ours = own("Directions", pair, average_name(direction.domain, False), signed(direction.ours))
    ours += error_span(direction.std_error, direction.error_source)
    ours += fewer_span(len(direction.by_seed), seeds)
    shown = span("of", _verdict(direction)) + span("of", _paper(direction, every))
    return ours + shown + _claim(direction)


def _claim(direction: Direction) -> str:
    """The sign that the text claims, and that the paper's averages contradict it where they do."""
    if direction.sign is None:
        return ""
    against = contradiction(direction)
    shown = span("of", f"claimed: {SIDES[direction.sign]}")
    return shown + (span("of wrap", against) if against else "")


def _verdict(direction: Direction) -> str:
    word = direction.word
    if word == UNDECIDED and direction.quantile is None:
        word += ": one seed" if len(direction.by_seed) == 1 else ": one model each"
    return span(f"verdict {CSS.get(direction.word, 'open')}", word, _seeds(direction))


def _seeds(direction: Direction) -> str:
    each = ", ".join(f"seed {seed}: {signed(v)}" for seed, v in sorted(direction.by_seed.items()))
    if direction.quantile is None:
        return each
    return f"{each}; t = {number(direction.quantile)}"


def _paper(direction: Direction, every: str) -> str:
    if len(direction.rows) == direction.n_rows_paper:
        return f"paper {every}, all {direction.n_rows_paper} rows"
    same = DASH if direction.paper_same is None else signed(direction.paper_same)
    mark = "\N{DAGGER}" if direction.other_sign else ""
    return f"paper {same}{mark}, {len(direction.rows)} rows; {every}, {direction.n_rows_paper} rows"


if __name__ == "__main__":
    run_cli(main)
