"""Adapters of the paper's text corpora: CCNews, BookCorpus, and text files in general."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from flava.config import SourceConfig
from flava.data.lines import json_lines, numbered_lines, read_json
from flava.data.paths import expand
from flava.data.walk import files_in_order
from flava.errors import DataError

BOOK_LINES = 10_000
TEXT_KEYS = ("maintext", "text")


def text_files(source: SourceConfig) -> Iterator[str]:
    """Every *.txt below `path` is a document, in the order of their names.

    Raises:
        DataError: there is none, or one is no UTF-8 text.
    """
    for path in _below(expand(source.path), ".txt", ".txt.gz"):
        yield "\n".join(line for _, line in numbered_lines(path))


def news_articles(source: SourceConfig) -> Iterator[str]:
    """CCNews as news-please writes it: a JSON object an article, with `maintext` (or `text`).

    `path` is a file, or a folder with *.json (one article each) and *.jsonl (one a line), plain
    or .gz, at any depth. Articles whose `language` is given and is not English are left out, as
    RoBERTa's CC-News is the English part. The title is not used. What is no text is an empty
    document.

    Raises:
        DataError: nothing is there, or a file is malformed (file and line are named).
    """
    for path in _below(expand(source.path), ".json", ".json.gz", ".jsonl", ".jsonl.gz"):
        for where, article in _articles(path):
            language = str(article.get("language") or "en")
            if not any(key in article for key in TEXT_KEYS):
                raise DataError(f"{where}: no article: it has none of {', '.join(TEXT_KEYS)}.")
            text = next((article[key] for key in TEXT_KEYS if article.get(key)), "")
            if language.lower().startswith("en"):
                yield text if isinstance(text, str) else ""


def _articles(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    if ".jsonl" in path.name:
        yield from json_lines(path)
        return
    value = read_json(path)
    if not isinstance(value, dict):
        raise DataError(f"{path}: expected a JSON object, one article a file.")
    yield str(path), value


def bookcorpus(source: SourceConfig) -> Iterator[str]:
    """BookCorpus: books_large_p1.txt and _p2.txt with a sentence a line, else *.txt, a book each.

    The two large files do not mark where a book begins: 10,000 lines are taken as a document.

    Raises:
        DataError: there is none, or one is no UTF-8 text.
    """
    path = expand(source.path)
    large = sorted(path.glob("books_large_p*.txt")) if path.is_dir() else []
    if not large and not path.name.startswith("books_large"):
        yield from text_files(source)
        return
    for file in large or [path]:
        lines = (line for _, line in numbered_lines(file))
        while block := list(islice(lines, BOOK_LINES)):
            yield "\n".join(block)


def _below(path: Path, *endings: str) -> Iterator[Path]:
    if path.is_file():
        yield path
        return
    found = False
    for file in files_in_order(path) if path.is_dir() else ():
        if file.name.endswith(endings):
            found = True
            yield file
    if not found:
        raise DataError(f"{path} has no file {' or '.join('*' + end for end in endings)}.")
