"""CCNews and BookCorpus in the forms they circulate in."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from data_helpers import source

from flava.data import source_articles
from flava.data.sources import read_texts
from flava.errors import DataError

ARTICLE = {
    "authors": [], "date_publish": "2017-01-01 00:00:00", "language": "en", "title": "Title",
    "maintext": "First paragraph.\nSecond paragraph.", "url": "http://a", "source_domain": "a",
}  # fmt: skip


def test_news_please(tmp_path: Path) -> None:
    """An article a file by domain, one a line, gzipped; other languages are left out."""
    (tmp_path / "a.com").mkdir()
    (tmp_path / "a.com" / "1.json").write_text(json.dumps(ARTICLE))
    german = {**ARTICLE, "language": "de", "maintext": "Absatz."}
    (tmp_path / "a.com" / "2.json").write_text(json.dumps(german))
    lines = [{"text": "Third."}, german, {**ARTICLE, "maintext": None, "text": ""}]
    packed = gzip.compress("".join(json.dumps(line) + "\n" for line in lines).encode())
    (tmp_path / "b.jsonl.gz").write_bytes(packed)
    documents = list(read_texts(source("news_articles", tmp_path)))
    assert documents == ["First paragraph.\nSecond paragraph.", "Third.", ""]


def test_files_are_read_in_the_order_of_their_sorted_paths(tmp_path: Path) -> None:
    names = ["a-b/1.txt", "a/2.txt", "a/b/3.txt", "a/b.txt", "a.txt", "B/4.txt", "a b/5.txt"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    expected = [path.relative_to(tmp_path).as_posix() for path in sorted(tmp_path.rglob("*.txt"))]
    assert list(read_texts(source("text_files", tmp_path))) == expected
    assert sorted(expected) != expected


PEAKS = """
import sys, tracemalloc
from data_helpers import source
from flava.data.sources import read_texts
for folder in sys.argv[1:]:  # the first reading pays for what is imported late
    tracemalloc.start()
    print(sum(1 for _ in read_texts(source("news_articles", folder))), end=" ")
    print(tracemalloc.get_traced_memory()[1])
    tracemalloc.stop()
"""


def test_many_files_are_not_listed_before_the_first_is_read(tmp_path: Path) -> None:
    """Memory does not grow with them; a list of them takes some 400 bytes each.

    In a process of its own: what other tests left in this one allocates at times too.
    """
    counts = (50, 500, 3_000)
    for count in counts:
        for number in range(count):
            file = tmp_path / str(count) / f"{number // 50}.com" / f"{number}.json"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text('{"text": "a"}')
    folders = [str(tmp_path / str(count)) for count in counts]
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    printed = subprocess.run(
        [sys.executable, "-c", PEAKS, *folders],
        env={**os.environ, "PYTHONPATH": path},
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    found, peaks = zip(*(map(int, line.split()) for line in printed.splitlines()), strict=True)
    assert found == counts
    assert peaks[2] - peaks[1] < 50 * 2_500


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("1.json", "{", r"1\.json: not valid JSON"),
        ("1.json", "[]", r"1\.json: expected a JSON object"),
        ("1.jsonl", '{"text": "a"}\n{"title": "b"}\n', r"1\.jsonl, line 2: no article"),
        ("1.jsonl", "nothing\n", r"1\.jsonl, line 1: not valid JSON"),
        ("1.csv", "a", r"has no file \*\.json"),
    ],
)
def test_malformed_news(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=message):
        list(read_texts(source("news_articles", tmp_path)))


def test_a_text_that_is_none_is_an_empty_document(tmp_path: Path) -> None:
    (tmp_path / "1.jsonl").write_text('{"maintext": ["a"]}\n{"maintext": 5}\n{"text": "Whole."}\n')
    assert list(read_texts(source("news_articles", tmp_path))) == ["", "", "Whole."]


def test_half_an_emoji_in_an_article_does_not_stop_the_corpus(tmp_path: Path) -> None:
    (tmp_path / "1.json").write_text('{"maintext": "A dog \\ud83d runs \\ud83d\\ude00."}')
    (tmp_path / "2.jsonl").write_text('{"maintext": "Cut \\ud83d"}\n{"maintext": "Whole."}\n')
    documents = list(read_texts(source("news_articles", tmp_path)))
    assert documents == ["A dog \ufffd runs \U0001f600.", "Cut \ufffd", "Whole."]


def test_text_files(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "b.txt").write_text("Three.\n\nFour.\n")
    (tmp_path / "a.txt").write_text("One.\nTwo.")
    assert list(read_texts(source("text_files", tmp_path))) == ["One.\nTwo.", "Three.\nFour."]


def test_bookcorpus_in_two_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of lines in order; other text files of the folder are none of the corpus."""
    monkeypatch.setattr(source_articles, "BOOK_LINES", 2)
    (tmp_path / "books_large_p1.txt").write_text("one .\ntwo .\nthree .\n")
    (tmp_path / "books_large_p2.txt").write_text("four .\n")
    (tmp_path / "url_list.txt").write_text("http://a\n")
    documents = list(read_texts(source("bookcorpus", tmp_path)))
    assert documents == ["one .\ntwo .", "three .", "four ."]
    single = list(read_texts(source("bookcorpus", tmp_path / "books_large_p1.txt")))
    assert single == documents[:2]


def test_bookcorpus_a_book_a_file(tmp_path: Path) -> None:
    (tmp_path / "Fantasy").mkdir()
    (tmp_path / "Fantasy" / "book.txt").write_text("Once.\nUpon.\n")
    assert list(read_texts(source("bookcorpus", tmp_path))) == ["Once.\nUpon."]
    (tmp_path / "Fantasy" / "book.txt").write_bytes(b"Once.\n\xff\n")
    with pytest.raises(DataError, match=r"book\.txt cannot be read"):
        list(read_texts(source("bookcorpus", tmp_path)))
