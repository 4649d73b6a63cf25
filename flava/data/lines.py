"""Lines and JSON of text files, plain, .gz or .bz2, with file and line for messages."""

from __future__ import annotations

import bz2
import gzip
import json
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from flava.errors import DataError

MAX_DIGITS = 9
CHECK_SOURCE = "Check the 'path' and 'split' of the data source."
# What json.loads raises: also for numbers of thousands of digits, and for deep nesting.
BAD_JSON = (ValueError, RecursionError)
# Half of a character beyond 16 bits, of texts that were cut in the middle of an emoji. JSON allows
# it; no tokenizer and no file can hold it.
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
# What reading a text raises that is cut off, badly compressed or not UTF-8.
BAD_TEXT = (UnicodeDecodeError, EOFError, OSError, zlib.error)


def open_text(path: Path, how_to_get: str = CHECK_SOURCE) -> IO[str]:
    """Opens a UTF-8 text file, with or without a byte-order mark, decompressing .gz and .bz2.

    Raises:
        DataError: it is missing; `how_to_get` says what to do.
    """
    if not path.is_file():
        raise DataError(f"{path} is missing. {how_to_get}")
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="\n")
    if path.suffix == ".bz2":
        return bz2.open(path, "rt", encoding="utf-8-sig", newline="\n")
    return path.open(encoding="utf-8-sig", newline="\n")


def all_lines(path: Path, how_to_get: str = CHECK_SOURCE) -> Iterator[tuple[int, str]]:
    """Numbered lines, blank ones too, without their line end; only newline ends a line.

    Raises:
        DataError: the file is missing, damaged or not UTF-8; says after which line.
    """
    number = 0
    try:
        with open_text(path, how_to_get) as file:
            for number, line in enumerate(file, 1):
                yield number, line.rstrip("\r\n")
    except BAD_TEXT as error:
        raise DataError(
            f"{path} cannot be read after line {number} ({error}). It is cut off, damaged or not "
            "UTF-8 text: get it again."
        ) from None


def numbered_lines(path: Path, how_to_get: str = CHECK_SOURCE) -> Iterator[tuple[int, str]]:
    """The lines of `all_lines` that are not blank. Raises as it."""
    return ((number, line) for number, line in all_lines(path, how_to_get) if line.strip())


def tab_fields(path: Path, allowed: tuple[int, ...]) -> Iterator[tuple[int, list[str]]]:
    """Fields of a tab-separated file whose lines have one of the `allowed` numbers of fields.

    Raises:
        DataError: another number of fields (file and line are named); as `numbered_lines`.
    """
    for number, line in numbered_lines(path):
        fields = line.split("\t")
        if len(fields) not in allowed:
            counts = " or ".join(map(str, allowed))
            raise DataError(f"{path}, line {number}: {len(fields)} fields, expected {counts}.")
        yield number, fields


def json_lines(path: Path, how_to_get: str = CHECK_SOURCE) -> Iterator[tuple[str, dict[str, Any]]]:
    """Objects of a JSON lines file, each with "<file>, line <number>".

    Raises:
        DataError: a line is no JSON object (file and line are named); as `numbered_lines`.
    """
    for number, line in numbered_lines(path, how_to_get):
        where = f"{path}, line {number}"
        value = parse_json(line, where)
        if not isinstance(value, dict):
            raise DataError(f"{where}: expected a JSON object.")
        yield where, value


def read_json(path: Path, how_to_get: str = CHECK_SOURCE) -> Any:
    """A JSON file's value: as `parse_json`.

    Raises:
        DataError: the file is missing (`how_to_get` says what to do), cut off, damaged, not UTF-8
            or not JSON; names the line.
    """
    try:
        with open_text(path, how_to_get) as file:
            text = file.read()
    except BAD_TEXT as error:
        raise DataError(
            f"{path} cannot be read ({error}). It is cut off, damaged or not UTF-8 text: get it "
            "again."
        ) from None
    return parse_json(text, str(path))


def parse_json(text: str, where: str) -> Any:
    """A JSON text's value; lone halves of surrogate pairs in it become U+FFFD.

    Raises:
        DataError: it is no JSON; with `where` it is from, and the line if there are several.
    """
    try:
        value = json.loads(text)
        if _SURROGATE.search(text):
            pairs = json.dumps(value, ensure_ascii=False).encode("utf-16", "surrogatepass")
            value = json.loads(pairs.decode("utf-16", "replace"))
        return value
    except BAD_JSON as error:
        line, reason = "", str(error)
        if isinstance(error, json.JSONDecodeError):
            line, reason = f", line {error.lineno}" if "\n" in text else "", error.msg
        raise DataError(f"{where}{line}: not valid JSON ({reason}).") from None


def text_field(value: Any, name: str, where: str) -> str:
    """Text (or integer, as text) under `name` of a JSON object.

    Raises:
        DataError: it is missing or something else.
    """
    return as_text(value.get(name) if isinstance(value, dict) else None, f"{where}: '{name}'")


def as_text(value: Any, where: str) -> str:
    """A text, or an integer as text, of a JSON file.

    Raises:
        DataError: it is null or something else, which `str` would make a caption of.
    """
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise DataError(f"{where} is missing or no text.")
    return str(value)


def whole_number(text: str) -> int | None:
    """A number of at most nine digits from 0 to 9; None for all else, such as '²' or a sign."""
    good = text.isascii() and text.isdecimal() and len(text) <= MAX_DIGITS
    return int(text) if good else None


def list_field(value: Any, name: str, where: str | Path) -> list[Any]:
    """List under `name` of a JSON object. Raises as `text_field`."""
    found = value.get(name) if isinstance(value, dict) else None
    if not isinstance(found, list):
        raise DataError(f"{where}: a list '{name}' is missing.")
    return found


def matching_files(path: Path, *patterns: str) -> list[Path]:
    """`path` itself if it is a file, else its files that match any pattern, sorted.

    Raises:
        DataError: there is none.
    """
    if path.is_file():
        return [path]
    found = sorted({file for pattern in patterns for file in path.glob(pattern)})
    if not found:
        raise DataError(f"{path} has no file {' or '.join(patterns)}.")
    return found
