"""Sizes of corpora: the sums of Table 2, and Table 1 against them."""

from __future__ import annotations

from pathlib import Path

from flava.report.audit.cross import alike
from flava.report.audit.finding import Finding
from flava.report.audit.printed import Printed, parse, parse_size, read_lines
from flava.report.audit.sums import SLACK
from flava.report.printed_tables import read_table

OF_TABLE_2 = "Tbl. 2"  # a corpus of Table 1 whose parts are Table 2


def load_sizes(folder: Path) -> dict[str, Printed]:
    """Method of Table 1 -> millions of pairs; those without a size are left out.

    Raises:
        DataError: the table is missing or malformed.
    """
    lines = [line for line in read_table(folder, "table_1") if line["size"]]
    return {
        line["method"]: parse_size(line["size"], f"table_1.csv, {line['method']}") for line in lines
    }


def table_1_findings(folder: Path) -> list[Finding]:
    """Sizes in Table 1 of the corpus that Table 2 sums up."""
    sizes = load_sizes(folder)
    lines = read_lines(folder / "table_2.csv")
    total = next(parse(line[1], "table_2.csv") for line in lines if line[0] == "Total")
    return [
        Finding(
            "total",
            f"Table 1, size of the data of {line['method']}",
            f"{line['size']} pairs are printed, {total}M in Table 2.",
            "The total of Table 2, which Table 1 refers to.",
            f"{total}M.",
        )
        for line in read_table(folder, "table_1")
        if OF_TABLE_2 in line["dataset"] and not alike(sizes.get(line["method"]), total)
    ]


def table_2_findings(path: Path) -> list[Finding]:
    """Total and weighted mean text length of the parts of Table 2."""
    _, *lines = read_lines(path)
    parts = [
        (parse(line[1], str(path)), parse(line[2], str(path)))
        for line in lines
        if line[0] != "Total"
    ]
    total = next(line for line in lines if line[0] == "Total")
    pairs, words = parse(total[1], str(path)), parse(total[2], str(path))
    known = [(a, b) for a, b in parts if a is not None and b is not None]
    sizes = sum(size.value for size, _ in known)
    mean = sum(size.value * length.value for size, length in known) / sizes
    found = []
    off = sum(size.step for size, _ in known) / 2
    if pairs is not None and abs(sizes - pairs.value) > off + pairs.step / 2 + SLACK:
        found.append(_total(pairs, sizes))
    if words is not None and round(mean, 1) != words.value:
        found.append(
            Finding(
                "total",
                "Table 2, mean text length of all pairs",
                f"{words} words are printed, the parts give {mean:.2f}.",
                f"Sum of pairs times words over {sizes:.1f}M pairs.",
                f"{mean:.1f}, unless the mean was taken before the parts were rounded.",
            )
        )
    return found


def _total(pairs: Printed, sizes: float) -> Finding:
    return Finding(
        "total",
        "Table 2, total of pairs",
        f"{pairs}M are printed, the parts sum to {sizes:.1f}M.",
        "Sum of the nine sources.",
        f"{sizes:.1f}M.",
    )
