"""The paper's statements about its numbers against the numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from flava.config import (
    StatedLines,
    StatedRatio,
    StatementConfig,
    TaskConfig,
)
from flava.errors import ConfigError, DataError, unknown_name
from flava.jobs import parse
from flava.params import read_yaml
from flava.report.audit.cross import alike
from flava.report.audit.finding import Finding
from flava.report.audit.printed import Grid, Printed, parse_size
from flava.report.audit.stated_columns import STATEMENTS, difference, higher
from flava.report.methods import TITLE as TABLE_5
from flava.report.methods import pair_mean
from flava.report.printed_tables import read_table

Wrong = tuple[str, str] | None  # arithmetic, and what to use instead


@dataclass(frozen=True)
class Tables:
    """What statements are held against.

    Attributes:
        grid: Table C.1, whose models are named as this project's columns.
        tasks: cards, which name each task's metric.
        sizes: method of Table 1 -> millions of pairs.
        folder: of the paper's tables.
    """

    grid: Grid
    tasks: Mapping[str, TaskConfig]
    sizes: Mapping[str, Printed]
    folder: Path


def load_statements(folder: Path) -> dict[str, StatementConfig]:
    """Reads `statements.yaml` of the folder of the paper's tables.

    Raises:
        ConfigError: the file is missing or malformed.
    """
    path = folder / STATEMENTS
    return {
        key: parse(StatementConfig, tree, f"{path}: {key}") for key, tree in read_yaml(path).items()
    }


def statement_findings(statements: Mapping[str, StatementConfig], tables: Tables) -> list[Finding]:
    """Statements that the tables or the tasks' definitions contradict.

    Raises:
        ConfigError: a statement names a column, row, method or task that does not exist.
        DataError: Table 5 is missing or malformed, or a statement's number is none.
    """
    found = []
    for statement in statements.values():
        wrong = _wrong(statement, tables)
        if wrong is not None:
            problem = f"{statement.says}."
            found.append(Finding("statement", statement.source, problem, *wrong))
    return found


def _wrong(statement: StatementConfig, tables: Tables) -> Wrong:
    if statement.difference is not None:
        return difference(statement.difference, tables.grid)
    if statement.higher is not None:
        return higher(statement.higher, tables.grid)
    if statement.ratio is not None:
        return _ratio(statement.ratio, tables.sizes)
    if statement.sizes is not None:
        return _sizes(statement.sizes, tables.sizes)
    if statement.table_5 is not None:
        return _lines(statement.table_5, tables.folder)
    assert statement.metrics is not None
    return _metrics(statement.metrics, tables.tasks)


def _size(name: str, sizes: Mapping[str, Printed]) -> Printed:
    if name not in sizes:
        raise ConfigError(unknown_name("method of Table 1", name, list(sizes), STATEMENTS))
    return sizes[name]


def _ratio(stated: StatedRatio, sizes: Mapping[str, Printed]) -> Wrong:
    small = _size(stated.small, sizes).value
    ratios = {name: _size(name, sizes).value / small for name in stated.large}
    text = ", ".join(f"{name} {ratio:.1f} times" for name, ratio in ratios.items())
    if stated.orders is not None:
        orders = max(math.log10(ratio) for ratio in ratios.values())
        right = orders >= stated.orders
        text += f": at most {orders:.1f} powers of ten"
    else:
        assert stated.times is not None
        right = all(round(ratio) == round(stated.times) for ratio in ratios.values())
    return None if right else (f"{text}.", f"{text}.")


def _sizes(stated: Mapping[str, str], sizes: Mapping[str, Printed]) -> Wrong:
    wrong = {
        name: size
        for name, size in stated.items()
        if not alike(parse_size(size, STATEMENTS), _size(name, sizes))
    }
    if not wrong:
        return None
    told = ", ".join(f"{name}: {size} is stated, Table 1 has {sizes[name]}M"
                     for name, size in wrong.items())  # fmt: skip
    return f"{told}.", "Neither without a look at the data."


def _lines(stated: StatedLines, folder: Path) -> Wrong:
    lines = {int(line["row"]): line for line in read_table(folder, "table_5")}
    for number in (stated.line, *stated.over):
        if number not in lines:
            raise DataError(f"{STATEMENTS}: {TABLE_5} has no line {number}. Name another.")
    mine, total, lower = lines[stated.line], 0, list[str]()
    for heading in stated.headings:
        if heading not in mine:
            raise ConfigError(unknown_name("heading of Table 5", heading, list(mine), STATEMENTS))
        own = pair_mean(mine[heading], TABLE_5)
        for number in stated.over:
            other = pair_mean(lines[number][heading], TABLE_5)
            if own is None or other is None:
                continue
            total += 1
            if own.value <= other.value:
                theirs = f"{lines[number]['method']} {lines[number][heading]}"
                lower.append(f"{heading} {mine[heading]}, {theirs}")
    if total and not lower:
        return None
    return (
        f"{mine['method']} is not higher in {len(lower)} of {total} pairs of numbers: "
        f"{'; '.join(lower)}.",
        f"It is higher in {total - len(lower)} of {total} pairs of numbers.",
    )


def _metrics(stated: Mapping[str, str], tasks: Mapping[str, TaskConfig]) -> Wrong:
    wrong = {}
    for name, metric in stated.items():
        if name not in tasks:
            raise ConfigError(unknown_name("task", name, list(tasks), STATEMENTS))
        if tasks[name].metric != metric:
            wrong[name] = metric
    if not wrong:
        return None
    told = ", ".join(f"{tasks[name].title}: {metric} is stated" for name, metric in wrong.items())
    right = ", ".join(f"{tasks[name].title}: {tasks[name].metric}" for name in wrong)
    return f"{told}; the tasks are defined with {right}.", f"{right}."
