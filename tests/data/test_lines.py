"""Lines of text files: one reader for corpora and tasks."""

from __future__ import annotations

import bz2
import gzip
from pathlib import Path

import pytest

from flava.data.lines import json_lines, numbered_lines, parse_json, read_json
from flava.errors import DataError

TEXT = '{"a": 1}\r\n\n{"a": "x\u2028y"}\n   \n{"a": 3}'
PACK = {"": lambda raw: raw, ".gz": gzip.compress, ".bz2": bz2.compress}


@pytest.mark.parametrize("suffix", PACK)
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_json_lines_plain_and_packed_with_and_without_a_byte_order_mark(tmp_path, suffix, mark):
    path = tmp_path / f"x.jsonl{suffix}"
    path.write_bytes(PACK[suffix]((mark + TEXT).encode()))
    assert list(json_lines(path)) == [
        (f"{path}, line 1", {"a": 1}),
        (f"{path}, line 3", {"a": "x\u2028y"}),
        (f"{path}, line 5", {"a": 3}),
    ]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"a": ', r"x\.jsonl, line 2: not valid JSON \(Expecting value\)\."),
        ("[1]", r"x\.jsonl, line 2: expected a JSON object\."),
        ("1" * 5000, r"x\.jsonl, line 2: not valid JSON \(Exceeds the limit"),
        ("[" * 100_000, r"x\.jsonl, line 2: not valid JSON \(.*recursion"),
    ],
)
def test_a_bad_line_is_named(tmp_path, line, message):
    path = tmp_path / "x.jsonl"
    path.write_text('{"a": 1}\n' + line + "\n")
    with pytest.raises(DataError, match=message):
        list(json_lines(path))


def test_a_missing_file_says_how_to_get_it(tmp_path):
    with pytest.raises(DataError, match=r"x\.jsonl is missing\. Check the 'path' and 'split'"):
        list(json_lines(tmp_path / "x.jsonl"))
    with pytest.raises(DataError, match=r"x\.jsonl is missing\. Get it from example\.org\."):
        list(json_lines(tmp_path / "x.jsonl", "Get it from example.org."))


def test_a_cut_off_or_foreign_file_names_its_last_good_line(tmp_path: Path):
    path = tmp_path / "x.txt"
    path.write_bytes(b"one\ntwo\n\xff\xfe\n")
    with pytest.raises(DataError, match=r"x\.txt cannot be read after line \d"):
        list(numbered_lines(path))
    packed = tmp_path / "x.txt.gz"
    packed.write_bytes(gzip.compress(b"one\n" * 1000)[:-12])
    with pytest.raises(DataError, match=r"x\.txt\.gz cannot be read after line"):
        list(numbered_lines(packed))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (r'"dog \ud83d"', "dog \ufffd"),
        (r'"\uDE00\ud83d"', "\ufffd\ufffd"),
        (r'["\ud83dx", "\ud83d\ude00"]', ["\ufffdx", "\U0001f600"]),
        (r'{"\ud83d": "\\ud83d"}', {"\ufffd": "\\ud83d"}),
    ],
)
def test_half_of_a_surrogate_pair_is_a_replacement_character(text, value):
    assert parse_json(text, "x") == value


@pytest.mark.parametrize("suffix", PACK)
def test_a_json_file_plain_and_packed(tmp_path, suffix):
    path = tmp_path / f"x.json{suffix}"
    path.write_bytes(PACK[suffix]('\ufeff[1,\r\n"é"]'.encode()))
    assert read_json(path) == [1, "é"]
    path.write_bytes(PACK[suffix](b"[1,\n\xff]"))
    with pytest.raises(DataError, match=r"cannot be read .* get it again"):
        read_json(path)
