"""CSV files with a header line, with file and line in every error."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

from flava.errors import DataError


def table(
    path: Path, columns: Sequence[str], how_to_get: str, delimiter: str = ","
) -> Iterator[tuple[str, list[str]]]:
    """Where (file and line) and the cells of `columns` of each row; other columns are ignored.

    Raises:
        DataError: the file is missing or no text, lacks a column, or a row has another length.
    """
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, delimiter=delimiter, strict=True)
            header = [name.strip() for name in next(reader, [])]
            missing = [name for name in columns if name not in header]
            if missing:
                raise DataError(f"{path}, line 1: column '{missing[0]}' is missing. {how_to_get}")
            places = [header.index(name) for name in columns]
            for cells in reader:
                where = f"{path}, line {reader.line_num}"
                if len(cells) != len(header):
                    raise DataError(
                        f"{where}: expected {len(header)} cells split by '{delimiter}', "
                        f"got {len(cells)}. Get the file anew."
                    )
                yield where, [cells[i].strip() for i in places]
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(f"{path} is missing. {how_to_get}") from None
    except (UnicodeDecodeError, csv.Error, OSError) as error:
        raise DataError(f"{path} is not a readable CSV file ({error}).") from None


def number(cell: str, where: str, what: str) -> int:
    """A cell as a whole number.

    Raises:
        DataError: it is none; `where` names file and line.
    """
    try:
        return int(cell)
    except ValueError:
        raise DataError(f"{where}: {what} '{cell}' is not a whole number.") from None
