"""Files that no reader may fall over: a sentence says what is wrong and where."""

from __future__ import annotations

import os
import struct
import zipfile

import numpy as np
import pytest

from flava.data.archive import Archive
from flava.data.lines import read_json
from flava.errors import DataError
from flava.evaluate.datasets import load_task
from flava.evaluate.images import EncodedImages, ImageSource
from tests.evaluate.fakes import data_config, noise_png, task_config, write, write_zip


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{\n,", r"x\.json, line 2: not valid JSON \(Expecting property name"),
        ("1" * 5000, r"x\.json: not valid JSON \(Exceeds the limit"),
        ("[" * 100_000, r"x\.json: not valid JSON \(.*recursion"),
    ],
)
def test_json_files(tmp_path, text, message):
    with pytest.raises(DataError, match=message):
        read_json(write(tmp_path / "x.json", text), "Get it anew.")


def test_a_folder_in_the_place_of_a_file(tmp_path):
    (tmp_path / "x.json").mkdir()
    with pytest.raises(DataError, match=r"x\.json is missing\. Get it anew\."):
        read_json(tmp_path / "x.json", "Get it anew.")


@pytest.mark.parametrize("name", ["", ".", "/", ".."])
def test_an_image_without_a_name(tmp_path, name):
    write_zip(tmp_path / "images.zip", {"1.png": noise_png(0)})
    row = f'{{"img": "{name}", "label": 1, "text": "x"}}\n'
    for part in ("train", "dev_unseen", "test_unseen"):
        write(tmp_path / f"{part}.jsonl", row)
    with pytest.raises(DataError, match=r"train\.jsonl, line 1: .*image '.*' is not there"):
        load_task(
            "hateful_memes", task_config("multimodal"), data_config("hateful_memes", tmp_path)
        )


@pytest.mark.parametrize("name", [b"caf\xe9/1.png", b"cafe/\xe9.png"])
def test_a_file_name_that_is_not_utf_8(tmp_path, name):
    path = tmp_path / os.fsdecode(name)
    path.parent.mkdir()
    path.write_bytes(noise_png(0))
    with pytest.raises(DataError, match=r"file name '.*\\udce9.*' is not UTF-8\. Rename it"):
        ImageSource(tmp_path)


def packed(path, method=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("1.png", noise_png(0, 64) * 3)
    return path, bytearray(path.read_bytes())


def test_a_damaged_member_of_a_zip(tmp_path):
    path, raw = packed(tmp_path / "images.zip")
    start = raw.index(b"1.png") + len("1.png")
    raw[start : start + 400] = bytes(np.random.default_rng(0).integers(0, 256, 400, np.uint8))
    path.write_bytes(raw)
    with pytest.raises(DataError, match=r"images\.zip: '1\.png' cannot be read"):
        ImageSource(path).read("1.png")


def test_a_damaged_member_of_a_zip_of_pairs(tmp_path):
    path, raw = packed(tmp_path / "images.zip")
    start = raw.index(b"1.png") + len("1.png")
    raw[start : start + 400] = bytes(np.random.default_rng(0).integers(0, 256, 400, np.uint8))
    path.write_bytes(raw)
    with pytest.raises(DataError, match=r"images\.zip: '1\.png' cannot be read"):
        Archive(path).read("1.png")


def test_a_zip_of_a_later_version(tmp_path):
    path, raw = packed(tmp_path / "images.zip")
    raw[raw.index(b"PK\x01\x02") + 6] = 64  # version needed to extract: 6.4
    path.write_bytes(raw)
    with pytest.raises(DataError, match=r"images\.zip is neither .* readable zip archive .*6\.4"):
        ImageSource(path)


def test_a_folder_that_cannot_be_walked(tmp_path):
    (tmp_path / "1.png").symlink_to("1.png")
    with pytest.raises(DataError, match=r"1\.png is a link to 1\.png.*Too many levels.*Mend"):
        ImageSource(tmp_path)


def test_a_member_that_cannot_be_read_is_named_once(tmp_path):
    path = write_zip(tmp_path / "a.zip", dict.fromkeys(("train/a/1.png", "test/a/2.png"), b"x"))
    images = EncodedImages(ImageSource(path), ["no.png"])
    with pytest.raises(DataError, match=r"^\S+a\.zip: 'no\.png' cannot be read .*Get it anew\.$"):
        images.pixels(np.array([0]), 8)


def test_an_encrypted_member_of_a_zip(tmp_path):
    path, raw = packed(tmp_path / "images.zip")
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):  # the general purpose flags
        at = raw.index(mark) + offset
        (flags,) = struct.unpack("<H", raw[at : at + 2])
        raw[at : at + 2] = struct.pack("<H", flags | 1)
    path.write_bytes(raw)
    with pytest.raises(DataError, match=r"images\.zip: '1\.png' cannot be read .*encrypted"):
        ImageSource(path).read("1.png")
