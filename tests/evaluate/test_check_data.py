"""The check of a study's evaluation data: what is there, whole, and the official set."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys

import pytest

from flava.errors import ConfigError
from flava.evaluate.check_data import check_task, checksum, report, tasks_of_rows
from flava.studies import load_study
from tests.evaluate.fakes import colour_folder, data_config, task_config, write

ARCHIVE = "official.zip"
COUNTS = {"train": 40, "test": 20}


def card(checksums, counts=COUNTS):
    return task_config("linear_probe", counts=counts, checksums=checksums)


@pytest.fixture
def sets(tmp_path):
    return colour_folder(tmp_path / "set" / ARCHIVE)


def digest(path, kind):
    return f"{kind}:{hashlib.new(kind, path.read_bytes()).hexdigest()}"


@pytest.mark.parametrize("kind", ["md5", "sha256"])
def test_a_whole_official_set(sets, kind):
    task = card({ARCHIVE: digest(sets, kind), "labels.zip": f"{kind}:0"})
    found = check_task("mnist", task, data_config("image_folder", sets, train_limit=3))
    assert (found.state, found.problems) == ("ok", [])
    assert found.cells()[1:4] == ("ok", "train 40, test 20", "1 equal, 1 not here")


def test_official_files_lie_in_the_folder_or_one_below(sets):
    wanted = {"list.txt": "md5:" + hashlib.md5(b"a").hexdigest()}
    data = data_config("image_folder", sets.parent)
    for folder in (sets.parent / "below", sets.parent):
        write(folder / "list.txt", "a")
        assert check_task("mnist", card(wanted), data).equal == ["list.txt"]
        (folder / "list.txt").unlink()
    write(sets.parent / "far" / "below" / "list.txt", "a")
    assert check_task("mnist", card(wanted), data).absent == ["list.txt"]


def test_a_damaged_archive_is_told_by_its_checksum(sets):
    task = card({ARCHIVE: digest(sets, "md5")})
    sets.write_bytes(sets.read_bytes() + b"x")
    found = check_task("mnist", task, data_config("image_folder", sets))
    assert found.cells()[1:4] == ("wrong", "train 40, test 20", "1 DIFFERENT")
    (problem,) = found.problems
    assert f"{sets}: its md5 is {hashlib.md5(sets.read_bytes()).hexdigest()}" in problem
    assert "get it anew from example.org" in problem


def test_another_number_than_the_card_s(sets):
    found = check_task("mnist", card({}, {"train": 41, "test": 20}), data_config(
        "image_folder", sets))  # fmt: skip
    assert found.state == "wrong" and "train: 40 found, 41 expected" in found.problems[0]
    assert found.cells()[3] == "none published"


def test_a_stand_in_is_compared_with_nothing(sets):
    data = data_config("image_folder", sets, stand_in="made up", test_limit=2)
    found = check_task("mnist", card({ARCHIVE: "md5:0"}, {"train": 60_000, "test": 20}), data)
    assert (found.state, found.problems) == ("stand-in", [])
    assert found.cells()[2:4] == ("train 40 (60,000), test 20", "not compared")


@pytest.mark.parametrize("path", ["/nowhere/set", "$FLAVA_NOT_SET/set"])
def test_a_missing_set_says_what_to_do(path):
    found = check_task("mnist", card({ARCHIVE: "md5:0"}), data_config("image_folder", path))
    assert found.cells() == ("mnist", "missing", "-", "1 not here", path)
    text = report([found])
    wanted = "Get it from example.org" if path[0] == "/" else "FLAVA_NOT_SET, which is not set"
    assert text.splitlines()[0].startswith("task") and wanted in text


def test_a_missing_stand_in_does_not_ask_for_the_real_set():
    data = data_config("image_folder", "/nowhere/set", stand_in="made up")
    text = report([check_task("mnist", card({ARCHIVE: "md5:0"}), data)])
    assert "/nowhere/set is missing: 'made up', which stands in for" in text
    assert "example.org" not in text


def test_a_card_with_another_kind_of_checksum(sets):
    with pytest.raises(ConfigError, match=r"unknown checksum 'md6'\. Did you mean 'md5'"):
        checksum(sets, "md6")


def test_rows_are_named_as_in_the_table_or_by_task(root):
    study = load_study(root / "params", "paper")
    assert tasks_of_rows(study, ["COCO TR R@1", "MNIST", "coco"]) == ["coco", "mnist"]
    assert len(tasks_of_rows(study, [])) == 36
    with pytest.raises(ConfigError, match=r"unknown row 'MNST'\. Did you mean 'MNIST"):
        tasks_of_rows(study, ["MNST"])


def test_every_checksum_of_the_cards_can_be_compared(root):
    for task in load_study(root / "params", "paper").tasks.values():
        for name, published in task.checksums.items():
            kind, _, hexadecimal = published.partition(":")
            assert len(hexadecimal) == {"md5": 32, "sha256": 64}[kind], name
            assert set(hexadecimal) <= set("0123456789abcdef"), name


def run(root, data, *arguments):
    environment = os.environ | {"FLAVA_DATA": str(data)}
    command = [sys.executable, "-m", "flava.evaluate.check_data", *arguments]
    return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True)


def test_mini_is_in_order_and_is_not_the_official_mnist(root, real_data):
    done = run(root, real_data, "--study", "mini")
    assert done.returncode == 0, done.stdout
    assert len(done.stdout.splitlines()) == 1 + 25
    assert "train 6,000 (60,000), test 1,300 (10,000)" in done.stdout
    done = run(root, real_data, "--study", "paper", "--row", "MNIST", "EuroSAT")
    assert done.returncode == 1
    assert "4 DIFFERENT" in done.stdout
    assert "train: 6000 found, 60000 expected" in done.stdout
    assert "github.com/phelber/EuroSAT" in done.stdout
