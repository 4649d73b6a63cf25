"""The paper's tables as grids of printed numbers: each value with the step of its last digit."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal, InvalidOperation
from pathlib import Path

from flava.errors import ConfigError, DataError, unknown_name
from flava.report.published import AVERAGE_ROWS, DOMAINS, MACRO

Row = tuple[str, str]  # domain, name
UNITS = {"M": 1.0, "B": 1000.0}  # in millions


@dataclass(frozen=True)
class Printed:
    """A printed number: the true one lies within half a `step` of `value`."""

    value: float
    step: float

    def __str__(self) -> str:
        return f"{self.value:.{max(0, -Decimal(str(self.step)).adjusted())}f}"


Cell = Printed | None


@dataclass(frozen=True)
class Grid:
    """A table of models by rows.

    Attributes:
        title: as the paper calls it.
        models: column headings in print order.
        domains: domain -> its metric rows in print order.
        cells: row name -> values by position of `models`; averages under `averages`.
        averages: domain or `macro` -> printed averages by position of `models`.
        leads: row name -> domain and protocol, where the table's file has them.
    """

    title: str
    models: tuple[str, ...]
    domains: Mapping[str, tuple[str, ...]]
    cells: Mapping[str, tuple[Cell, ...]]
    averages: Mapping[str, tuple[Cell, ...]]
    leads: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def position(self, column: str, where: str) -> int:
        """Of the model with this project's name, in a table whose headings are "number:name".

        Raises:
            ConfigError: there is none; `where` names who asked.
        """
        names = [model.partition(":")[2] for model in self.models]
        if column not in names:
            raise ConfigError(unknown_name("column", column, names, where))
        return names.index(column)

    def with_cell(self, row: str, position: int, cell: Cell) -> Grid:
        """The grid with another cell."""
        changed = list(self.cells[row])
        changed[position] = cell
        return replace(self, cells={**self.cells, row: tuple(changed)})


def parse(text: str, where: str) -> Cell:
    """A cell; None for a dash (empty).

    Raises:
        DataError: the text is no finite number.
    """
    if not text.strip():
        return None
    try:
        number = Decimal(text)
    except InvalidOperation:
        number = Decimal("nan")
    exponent = number.as_tuple().exponent
    if not isinstance(exponent, int):
        raise DataError(f"{where}: '{text}' is not a number. Leave dashes empty.")
    return Printed(float(number), 10.0**exponent)


def parse_size(text: str, where: str) -> Printed:
    """A number of pairs, '400M' or '1.8B', in millions.

    Raises:
        DataError: the text is no such number.
    """
    unit = UNITS.get(text[-1:])
    number = parse(text[:-1], where) if unit else None
    if number is None or unit is None:
        raise DataError(f"{where}: '{text}' is not a number of pairs. Write it like 400M or 1.8B.")
    return Printed(number.value * unit, number.step * unit)


def read_lines(path: Path) -> list[list[str]]:
    """The lines of a CSV file, all of one length.

    Raises:
        DataError: the file is missing, empty, not UTF-8 or ragged.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            lines = list(csv.reader(file))
    except FileNotFoundError:
        raise DataError(f"{path} is missing. It holds the paper's numbers; restore it.") from None
    except UnicodeDecodeError:
        raise DataError(f"{path} is not UTF-8. Restore it.") from None
    if len(lines) < 2:
        raise DataError(f"{path} is empty or holds no row. Restore it.")
    for number, line in enumerate(lines, start=1):
        if len(line) != len(lines[0]):
            raise DataError(f"{path}, line {number}: {len(line)} fields, expected {len(lines[0])}.")
    return lines


def read_grid(path: Path, title: str, lead: int) -> Grid:
    """A table whose first `lead` fields of a line name the row; domains end with their average.

    Raises:
        DataError: see `read_lines`; or a row comes twice or has an unknown domain.
    """
    header, *lines = read_lines(path)
    cells: dict[str, tuple[Cell, ...]] = {}
    averages: dict[str, tuple[Cell, ...]] = {}
    domains: dict[str, tuple[str, ...]] = {}
    leads: dict[str, tuple[str, ...]] = {}
    waiting: list[str] = []
    for number, line in enumerate(lines, start=2):
        found = tuple(parse(text, f"{path}, line {number}") for text in line[lead:])
        if line[0] not in AVERAGE_ROWS:
            if line[0] in cells:
                raise DataError(f"{path}: the row '{line[0]}' comes twice. Keep one.")
            cells[line[0]] = found
            if lead > 1:
                leads[line[0]] = _lead(line[1:lead], f"{path}, line {number}")
            waiting.append(line[0])
            continue
        domain = AVERAGE_ROWS[line[0]]
        averages[domain] = found
        if domain != MACRO:
            domains[domain], waiting = tuple(waiting), []
    return Grid(title, tuple(header[lead:]), domains, cells, averages, leads)


def _lead(fields: list[str], where: str) -> tuple[str, ...]:
    if fields[0] not in DOMAINS:
        raise DataError(f"{where}: unknown domain '{fields[0]}'. Allowed: {', '.join(DOMAINS)}.")
    return tuple(fields)
