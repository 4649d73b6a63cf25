"""The audit of the paper: everything that its tables, captions and text contradict each other in.

python -m flava.report.audit.run [--params params]
"""

from __future__ import annotations

import argparse
from pathlib import Path

from flava.errors import run_cli
from flava.report.audit.cross import counterparts, cross_findings
from flava.report.audit.finding import Finding
from flava.report.audit.macros import macro_findings
from flava.report.audit.methods import table_5_findings
from flava.report.audit.printed import read_grid
from flava.report.audit.statements import Tables, load_statements, statement_findings
from flava.report.audit.summaries import summary_findings
from flava.report.audit.sums import average_findings, mend_shifts
from flava.report.audit.totals import load_sizes, table_1_findings, table_2_findings
from flava.studies import load_tasks

KINDS = {
    "average": "Averages that do not follow from their cells",
    "macro": "Macro averages of another rule",
    "heading": "Numbers under another heading",
    "difference": "Differences that do not follow from their lines",
    "another number": "The same model with another number",
    "last digit": "Last digits",
    "total": "Totals",
    "statement": "Statements of text and captions",
}


def audit(params: Path) -> list[Finding]:
    """All findings, in the order of `KINDS`.

    Args:
        params: folder with `paper/` and `tasks.yaml`.

    Raises:
        DataError: a table is missing or malformed.
        ConfigError: a statement is malformed or names what does not exist.
    """
    paper = params / "paper"
    table_c1 = read_grid(paper / "table_c1.csv", "Table C.1", lead=3)
    table_4 = read_grid(paper / "table_4.csv", "Table 4", lead=1)
    mended = mend_shifts(table_c1)
    tables = Tables(mended, load_tasks(params / "tasks.yaml"), load_sizes(paper), paper)
    found = [
        *average_findings(table_c1, counterparts(table_c1, table_4)),
        *average_findings(table_4, counterparts(table_4, mended)),
        *macro_findings([table_c1, table_4]),
        *summary_findings(paper, "table_3", table_c1),
        *summary_findings(paper, "table_d1", table_c1),
        *cross_findings(table_4, mended),
        *table_5_findings(paper, mended),
        *table_1_findings(paper),
        *table_2_findings(paper / "table_2.csv"),
        *statement_findings(load_statements(paper), tables),
    ]
    return sorted(found, key=lambda item: list(KINDS).index(item.kind))


def markdown(findings: list[Finding]) -> str:
    """The findings as a page."""
    lines = ["# Audit of the printed tables", ""]
    for kind, title in KINDS.items():
        items = [item for item in findings if item.kind == kind]
        if items:
            lines += [f"## {title}", ""]
        for item in items:
            lines += [f"**{item.where}.** {item.problem} {item.arithmetic}", ""]
            lines += [f"Use instead: {item.instead}", ""]
    return "\n".join(lines)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--params", type=Path, default=Path("params"))
    print(markdown(audit(parser.parse_args().params)))


if __name__ == "__main__":
    run_cli(main)
