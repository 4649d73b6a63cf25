"""Adapters of text sources. A document is a string; its lines are sentences or paragraphs."""

from __future__ import annotations

import csv
import html
import re
from collections.abc import Iterator
from pathlib import Path

from flava.config import SourceConfig
from flava.data.archive import first_existing
from flava.data.lines import all_lines
from flava.data.paths import expand
from flava.errors import DataError

_HEADING = re.compile(r"^ = [^=].* = $")
_START = re.compile(r"^\*\*\* ?START OF (?:THE|THIS) PROJECT GUTENBERG", re.IGNORECASE)
_END = re.compile(r"^\*\*\* ?END OF (?:THE|THIS) PROJECT GUTENBERG", re.IGNORECASE)


def text_lines(source: SourceConfig) -> Iterator[str]:
    """Plain text: a line is a sentence, blank lines separate documents.

    A file without any blank line has one document a line. `path` is a file, or a folder whose
    *.txt are read in the order of their names.
    """
    for path in _files(expand(source.path), "*.txt"):
        blank = any(not line.strip() for _, line in all_lines(path))
        document: list[str] = []
        for _, line in all_lines(path):
            if line.strip():
                document.append(line.strip())
            if document and (not blank or not line.strip()):
                yield "\n".join(document)
                document = []
        if document:
            yield "\n".join(document)


def wikitext(source: SourceConfig) -> Iterator[str]:
    """WikiText (word level): one document an article, one line a paragraph.

    @-@ marks are joined again; <unk> becomes [UNK], WordPiece's unknown token.
    """
    path = expand(source.path)
    if path.is_dir():
        names = (f"{source.split}.txt", f"wiki.{source.split}.tokens")
        path = first_existing(path, names, "text file")
    article: list[str] = []
    for _, line in all_lines(path):
        if _HEADING.match(line) and article:
            yield "\n".join(article)
            article = []
        if line.strip():
            joined = re.sub(r" @([-,.])@ ", r"\1", line.strip())
            article.append(joined.replace("<unk>", "[UNK]"))
    if article:
        yield "\n".join(article)


def ag_news_csv(source: SourceConfig) -> Iterator[str]:
    """AG's News <split>.csv (class, title, description): title and description are two lines.

    Raises:
        DataError: a row has not three fields (file and line are named).
    """
    path = expand(source.path)
    if path.is_dir():
        path = first_existing(path, [f"{source.split}.csv"], "text file")
    reader = csv.reader((f"{line}\n" for _, line in all_lines(path)), strict=True)
    try:
        for row in reader:
            if len(row) != 3:
                raise DataError(f"{path}, line {reader.line_num}: {len(row)} fields, expected 3.")
            yield "\n".join(_news_text(field) for field in row[1:])
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: malformed CSV ({error}).") from None


def _news_text(field: str) -> str:
    """Backslashes stand for line breaks; entities have lost their '&' or not."""
    text = re.sub(r"(?<!&)#(\d+);", r"&#\1;", field.replace("\\", " "))
    return " ".join(html.unescape(text).split())


def gutenberg(source: SourceConfig) -> Iterator[str]:
    """Project Gutenberg books, header and licence removed: one document a book, a line a paragraph.

    Raises:
        DataError: the START or END line of the book is missing.
    """
    for path in _files(expand(source.path), "*.txt"):
        lines = [line for _, line in all_lines(path)]
        start = next((i for i, line in enumerate(lines) if _START.match(line)), None)
        end = next((i for i, line in enumerate(lines) if _END.match(line)), None)
        if start is None or end is None:
            raise DataError(f"{path}: no '*** START OF' and '*** END OF' line of Gutenberg.")
        paragraphs = re.split(r"\n\s*\n", "\n".join(lines[start + 1 : end]))
        joined = (" ".join(paragraph.split()) for paragraph in paragraphs)
        yield "\n".join(paragraph for paragraph in joined if paragraph)


def _files(path: Path, pattern: str) -> list[Path]:
    files = sorted(path.glob(pattern)) if path.is_dir() else [path]
    if not files:
        raise DataError(f"{path} has no {pattern} file.")
    return files
