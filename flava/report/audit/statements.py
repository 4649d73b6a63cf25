"""The paper's statements about its numbers against the numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from flava.config import StatedDifference, StatedRatio, StatedRows, StatementConfig, TaskConfig
from flava.errors import ConfigError, unknown_name
from flava.jobs import parse
from flava.params import read_yaml
from flava.report.audit.finding import Finding
from flava.report.audit.printed import Grid
from flava.report.audit.printed import parse as parse_cell
from flava.report.published import DOMAINS, MACRO

FILE = "statements.yaml"


def load_statements(folder: Path) -> dict[str, StatementConfig]:
    """Reads `statements.yaml` of the folder of the paper's tables.

    Raises:
        ConfigError: the file is missing or malformed.
    """
    path = folder / FILE
    return {
        key: parse(StatementConfig, tree, f"{path}: {key}") for key, tree in read_yaml(path).items()
    }


def statement_findings(
    statements: Mapping[str, StatementConfig], grid: Grid, tasks: Mapping[str, TaskConfig]
) -> list[Finding]:
    """Statements that the tables or the tasks' definitions contradict.

    Args:
        statements: by key.
        grid: Table C.1, whose models are named as this project's columns.
        tasks: cards, which name each task's metric.

    Raises:
        ConfigError: a statement names a column or task that does not exist.
    """
    found = []
    for statement in statements.values():
        wrong = None
        if statement.difference is not None:
            wrong = _difference(statement.difference, grid)
        elif statement.every_row is not None:
            wrong = _every_row(statement.every_row, grid)
        elif statement.ratio is not None:
            wrong = _ratio(statement.ratio)
        elif statement.metrics is not None:
            wrong = _metrics(statement.metrics, tasks)
        if wrong is not None:
            problem, instead = f"{statement.says}.", wrong[1]
            found.append(Finding("statement", statement.source, problem, wrong[0], instead))
    return found


def _position(name: str, grid: Grid) -> int:
    names = [model.partition(":")[2] for model in grid.models]
    if name not in names:
        raise ConfigError(unknown_name("column", name, names, FILE))
    return names.index(name)


def _difference(stated: StatedDifference, grid: Grid) -> tuple[str, str] | None:
    at = [_position(name, grid) for name in (stated.first, stated.second)]
    domains = DOMAINS if stated.average == MACRO else (stated.average,)
    values, steps = [], 0.0
    for position in at:
        cells = [grid.averages[domain][position] for domain in domains]
        known = [cell for cell in cells if cell is not None]
        if len(known) < len(domains):
            return "An average is not printed.", "Nothing."
        values.append(sum(cell.value for cell in known) / len(known))
        steps += sum(cell.step for cell in known) / len(known) / 2
    difference = values[0] - values[1]
    text = f"{values[1]:.2f} to {values[0]:.2f}: {difference:+.2f}"
    if stated.average == MACRO:
        macros = [grid.averages[MACRO][position] for position in at]
        text = f"By the mean of three domains {text}"
        if macros[0] is not None and macros[1] is not None:
            own = macros[0].value - macros[1].value
            text += f"; by the macro averages that {grid.title} prints {own:+.2f}"
    if stated.sign is not None:
        right = difference * stated.sign > 0
    else:
        points = parse_cell(stated.points or "", FILE)
        assert points is not None
        right = abs(difference - points.value) <= points.step / 2 + steps + 1e-9
    return None if right else (f"{text}.", f"{difference:+.2f}.")


def _every_row(stated: StatedRows, grid: Grid) -> tuple[str, str] | None:
    first, second = (_position(name, grid) for name in (stated.first, stated.second))
    lower = []
    for row, cells in grid.cells.items():
        a, b = cells[first], cells[second]
        if a is not None and b is not None and a.value <= b.value:
            lower.append(f"{row} {b} to {a}")
    total = sum(cells[first] is not None for cells in grid.cells.values())
    if not lower:
        return None
    return (
        f"{len(lower)} of {total} rows do not rise: {', '.join(lower)}.",
        f"{total - len(lower)} of {total} rows rise.",
    )


def _ratio(stated: StatedRatio) -> tuple[str, str] | None:
    ratios = {name: large / stated.small for name, large in stated.large.items()}
    text = ", ".join(f"{name} {ratio:.1f} times" for name, ratio in ratios.items())
    if stated.orders is not None:
        orders = max(math.log10(ratio) for ratio in ratios.values())
        right = orders >= stated.orders
        text += f": at most {orders:.1f} powers of ten"
    else:
        assert stated.times is not None
        right = all(round(ratio) == round(stated.times) for ratio in ratios.values())
    return None if right else (f"{text}.", f"{text}.")


def _metrics(stated: Mapping[str, str], tasks: Mapping[str, TaskConfig]) -> tuple[str, str] | None:
    wrong = {}
    for name, metric in stated.items():
        if name not in tasks:
            raise ConfigError(unknown_name("task", name, list(tasks), FILE))
        if tasks[name].metric != metric:
            wrong[name] = metric
    if not wrong:
        return None
    told = ", ".join(f"{tasks[name].title}: {metric} is stated" for name, metric in wrong.items())
    right = ", ".join(f"{tasks[name].title}: {tasks[name].metric}" for name in wrong)
    return f"{told}; the tasks are defined with {right}.", f"{right}."
