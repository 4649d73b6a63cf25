"""From a number of ours back to what it was made of.

    python -m workflow.trace "Table C.1" flava_dino VQAv2 --study toy
    python -m workflow.trace --all --study toy

Prints metric, evaluation, model, configurations, data, commits and commands, verifies the hash of
each link and says which are broken (docs/records.md). Exit code 1 where one is.
"""

from __future__ import annotations

import argparse
import json
import signal

from flava.errors import ConfigError, DataError, run_cli
from flava.report.html import quantity
from workflow.choice import read_choice
from workflow.provenance.cells import Cell, Ours
from workflow.provenance.chain import Chain
from workflow.provenance.pages import page_problems
from workflow.provenance.score import trace_cell
from workflow.provenance.show import as_plain, as_text
from workflow.provenance.tables import TABLES, cells, find

BROKEN = 1  # exit code


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        prog="python -m workflow.trace",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("table", nargs="?", help=f"one of {', '.join(TABLES)}")
    parser.add_argument("column", nargs="?", help="name or number; of Directions: '<a> - <b>'")
    parser.add_argument("row", nargs="?", help="row of the table, or average, e.g. 'NLP Avg.'")
    parser.add_argument(
        "--study", help="name of a finished study, with its budget; that of params.yaml by default"
    )
    parser.add_argument("--seed", type=int, help="this seed's scores alone; default: all")
    parser.add_argument("--all", action="store_true", help="every cell of every page")
    parser.add_argument(
        "--data", action="store_true", help="hash corpora, read tasks' examples again"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    given = parser.parse_args()
    named = [given.table, given.column, given.row]
    if given.all == any(named) or (not given.all and None in named):
        raise ConfigError('workflow.trace: give a table, a column and a row ("Table C.1" '
                          "flava_dino VQAv2), or --all alone.")  # fmt: skip
    study = given.study or read_choice().name
    ours, chain = Ours.load(study), Chain(deep=given.data)
    if given.all:
        raise SystemExit(check_all(study, ours, chain, given.json))
    cell = find(ours, given.table, given.column, given.row)
    if given.seed is not None:
        cell = cell.of_seed(given.seed)
    raise SystemExit(show(study, cell, chain, given.json))


def show(study: str, cell: Cell, chain: Chain, as_json: bool) -> int:
    """Prints one cell's chain; the exit code."""
    traced = trace_cell(chain, cell)
    if as_json:
        print(json.dumps(as_plain(study, cell, traced), indent=1, ensure_ascii=False))
    else:
        print(as_text(study, cell, traced))
    return BROKEN if traced.broken() else 0


def check_all(study: str, ours: Ours, chain: Chain, as_json: bool) -> int:
    """Prints how many cells of each table resolve, and every broken link; the exit code."""
    affected: dict[str, int] = {}
    made: dict[str, list[Cell] | None] = {}
    counts = {}
    for table in TABLES:
        try:
            made[table] = found = cells(ours, table)
        except DataError as error:  # one damaged file must not hide the other tables
            made[table], found = None, []
            affected.setdefault(str(error), 0)
        whole = 0
        for cell in found:
            broken = trace_cell(chain, cell).broken()
            whole += not broken
            for problem in broken:
                affected[problem] = affected.get(problem, 0) + 1
        counts[table] = {"cells": len(found), "resolve": whole}
    pages = page_problems(ours, made)
    empty = not counts["Table C.1"]["cells"]
    if as_json:
        print(json.dumps({"study": study, "tables": counts, "broken": affected, "pages": pages},
                         indent=1, ensure_ascii=False))  # fmt: skip
    else:
        _print_all(study, counts, affected, pages)
    return BROKEN if affected or pages or empty else 0


def _print_all(
    study: str, counts: dict[str, dict[str, int]], affected: dict[str, int], pages: list[str]
) -> None:
    for table, each in counts.items():
        print(f"{table}, study {study}: {each['resolve']:,} of {each['cells']:,} cells resolve")
    resolve, total = (sum(each[key] for each in counts.values()) for key in ("resolve", "cells"))
    print(f"in all: {resolve:,} of {total:,} cells resolve")
    if affected:
        print(f"BROKEN: {quantity(len(affected), 'link')}")
    for problem, number in affected.items():
        of = quantity(number, "cell") if number else "a whole table cannot be made"
        print(f"  {problem} ({of})")
    if pages:
        print(f"PAGES: {quantity(len(pages), 'problem')}")
    for problem in pages:
        print(f"  {problem}")


if __name__ == "__main__":
    if hasattr(signal, "SIGPIPE"):  # `| head` ends it without a traceback
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    run_cli(main)
