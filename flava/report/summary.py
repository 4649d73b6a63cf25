"""Average rows of the comparison: per column, ours and the paper's over the same rows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flava.report.averages import (
    TABLE_C1_MACRO_DOMAINS,
    average,
    mean,
    rows_that_ran,
)
from flava.report.compare import Cell, Comparison, Estimate, std_error_of_mean
from flava.report.published import DOMAINS, MACRO

MACRO_TABLE_C1 = "macro_table_c1"
# Cells and printed averages are rounded to two decimals: together they may be off by 0.01.
ROUNDING = 0.0101
UNEVEN = "its rows ran with different seeds"


@dataclass(frozen=True)
class AverageCell(Cell):
    """An average of one column.

    Attributes:
        derived: the paper's number is the mean of three averages that are printed.
        paper_differs: the printed average does not follow from the printed cells.
        recomputed: what the paper's own cells give.
        mended: what they give with misplaced ones put right.
    """

    derived: bool
    paper_differs: bool
    recomputed: float | None
    mended: float | None

    @property
    def in_paper(self) -> bool:
        """Whether the paper's column has this average: print gives some that no cell is of."""
        return self.paper is not None and self.recomputed is not None

    @property
    def unfounded(self) -> bool:
        """Whether even with misplaced cells put right the paper's number does not follow."""
        if self.paper is None or not self.paper_differs:
            return False
        return self.mended is None or abs(self.paper - self.mended) > ROUNDING


@dataclass(frozen=True)
class AverageRow:
    """An average over `rows` (k of `n_rows`), one cell a column."""

    key: str
    rows: Mapping[str, tuple[str, ...]]
    n_rows: int
    cells: Mapping[str, AverageCell]

    @property
    def k(self) -> int:
        """Rows averaged over."""
        return sum(len(names) for names in self.rows.values())

    @property
    def partial(self) -> bool:
        """True for an average over the rows that ran only."""
        return self.k < self.n_rows


def full_average(comparison: Comparison, key: str) -> AverageRow:
    """Average over all of the paper's rows; a missing row makes it missing.

    Args:
        key: a domain, `macro` (mean of three domains) or `macro_table_c1` (of NLP and vision).
    """
    rows = {domain: comparison.published.row_names(domain) for domain in domains_of(key)}
    return _average_row(comparison, key, rows, printed=True)


def partial_average(comparison: Comparison, key: str) -> AverageRow | None:
    """Average over the rows that every column ran; None where that is all rows or none.

    The paper's number beside it is the mean of the paper's cells over the same rows, misplaced ones
    put right.
    """
    scores = [comparison.scores(column.name) for column in comparison.ran()]
    rows = {
        domain: rows_that_ran(comparison.published.row_names(domain), scores)
        for domain in domains_of(key)
    }
    row = _average_row(comparison, key, rows, printed=False)
    return row if row.partial and all(rows.values()) else None


def domains_of(key: str) -> tuple[str, ...]:
    """The domains that an average is the mean of."""
    if key == MACRO:
        return DOMAINS
    return TABLE_C1_MACRO_DOMAINS if key == MACRO_TABLE_C1 else (key,)


def _average_row(
    comparison: Comparison, key: str, rows: Mapping[str, tuple[str, ...]], printed: bool
) -> AverageRow:
    n_rows = sum(len(comparison.published.row_names(domain)) for domain in rows)
    cells = {}
    for column in comparison.columns:
        ours = average_estimate(comparison, column.name, rows)
        table = comparison.published
        mended = _nested(table.mended(column.name), rows)
        cells_give = _nested(table.column(column.name), rows) if printed else mended
        paper = printed_average(comparison, key, column.name) if printed else cells_give
        differs = paper is not None and (cells_give is None or abs(paper - cells_give) > ROUNDING)
        cells[column.name] = AverageCell(
            ours,
            paper,
            None if ours else _why_missing(comparison, column.name, rows),
            None if paper is not None else _why_no_paper(comparison, column.name, rows),
            printed and not _is_printed(comparison, key),
            differs,
            cells_give,
            mended,
        )
    return AverageRow(key, rows, n_rows, cells)


def average_estimate(
    comparison: Comparison, column: str, rows: Mapping[str, Sequence[str]]
) -> Estimate | None:
    """Mean of the domains' means over `rows`; missing if a row is.

    The error is over seeds where every row ran with the same two or more seeds; with the same one,
    and for a published model, it is the test sets': tasks taken as independent, rows of one task as
    fully correlated (an upper bound). Of rows with different seeds there is none.
    """
    estimates = {
        row: comparison.cells[row, column].ours for names in rows.values() for row in names
    }
    present = {row: value for row, value in estimates.items() if value is not None}
    if len(present) < len(estimates) or not all(rows.values()) or not rows:
        return None
    value = _nested({row: item.mean for row, item in present.items()}, rows)
    assert value is not None
    seeds = set.intersection(*[set(item.by_seed) for item in present.values()])
    by_seed = {}
    for seed in sorted(seeds):
        of_seed = _nested({row: item.by_seed[seed] for row, item in present.items()}, rows)
        assert of_seed is not None
        by_seed[seed] = of_seed
    error = std_error_of_mean(list(by_seed.values()))
    complete = all(set(item.by_seed) == seeds for item in present.values())
    one_model = all(item.one_model for item in present.values())
    if error is not None and complete and not one_model:
        return Estimate(value, error, "seeds", by_seed)
    error = _test_error(comparison, present, rows) if complete else None
    source = "none" if error is None else "test set"
    why = None if complete else UNEVEN
    return Estimate(value, error, source, by_seed, one_model=one_model, why_no_error=why)


def _test_error(
    comparison: Comparison, present: Mapping[str, Estimate], rows: Mapping[str, Sequence[str]]
) -> float | None:
    tasks = {row.name: row.task for row in comparison.rows}
    by_task: dict[str | None, float] = {}
    for names in rows.values():
        for name in names:
            error = present[name].std_error
            if error is None:
                return None
            weight = 1 / len(names) / len(rows)
            by_task[tasks[name]] = by_task.get(tasks[name], 0.0) + weight * error
    return math.sqrt(sum(error**2 for error in by_task.values()))


def _nested(scores: Mapping[str, float | None], rows: Mapping[str, Sequence[str]]) -> float | None:
    return mean(average(scores, names) for names in rows.values())


def printed_average(comparison: Comparison, key: str, column: str) -> float | None:
    """The paper's average as printed; of three domains: the mean of the printed ones."""
    printed = comparison.published.printed_averages
    if key not in DOMAINS and _is_printed(comparison, key):
        return printed.get(MACRO, {}).get(column)
    domains = {domain: printed.get(domain, {}).get(column) for domain in DOMAINS}
    # Table C.1 does not print the mean of three; it follows from the averages it prints.
    return mean(domains.values()) if key == MACRO else domains[key]


def _is_printed(comparison: Comparison, key: str) -> bool:
    """Table C.1 alone does not print the mean of three domains."""
    return key != MACRO or comparison.published.macro_domains == DOMAINS


def _why_no_paper(comparison: Comparison, column: str, rows: Mapping[str, Sequence[str]]) -> str:
    table = comparison.published
    printed, mended = table.column(column), table.mended(column)
    names = [name for part in rows.values() for name in part]
    lost = [row for row in names if printed.get(row) is not None and mended.get(row) is None]
    if lost and all(printed.get(row) is not None for row in names):
        return f"the paper's own number of {', '.join(lost)} in this column is lost"
    return "the paper lacks some of these rows in this column"


def _why_missing(comparison: Comparison, column: str, rows: Mapping[str, Sequence[str]]) -> str:
    info = next(item for item in comparison.columns if item.name == column)
    if info.why_not:
        return f"column not run in this study: {info.why_not}"
    names = [name for part in rows.values() for name in part]
    missing = [name for name in names if comparison.cells[name, column].ours is None]
    shown = ", ".join(missing[:6]) + (f" and {len(missing) - 6} more" if len(missing) > 6 else "")
    return f"{len(missing)} of {len(names)} rows did not run: {shown}" if names else "no row ran"
