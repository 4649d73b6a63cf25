"""A folder that replaces another one is the group's where the folder around it is."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from flava.errors import DataError
from flava.io import atomic_directory, read_json


@pytest.mark.parametrize("umask", [0o002, 0o022, 0o077])
def test_a_replaced_folder_has_the_modes_of_the_umask(tmp_path: Path, umask: int) -> None:
    tmp_path.chmod(0o2770)  # new folders in it belong to its group
    before = os.umask(umask)
    try:
        for number in range(2):
            with atomic_directory(tmp_path / "model") as folder:
                (folder / "number").write_text(str(number))
                save_file({"a": torch.zeros(1)}, folder / "model.safetensors")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "model").stat().st_mode) == 0o2777 & ~umask
    for path in (tmp_path / "model").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask
    assert (tmp_path / "model/number").read_text() == "1"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_folder_that_fails_leaves_the_old_one(tmp_path: Path) -> None:
    with atomic_directory(tmp_path / "model") as folder:
        (folder / "number").write_text("1")
    with pytest.raises(ZeroDivisionError), atomic_directory(tmp_path / "model"):
        raise ZeroDivisionError
    assert (tmp_path / "model/number").read_text() == "1"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@pytest.mark.parametrize(
    "text", ["{", "NaN", '{"a": -Infinity}', "1" * 5000, "[" * 100_000, '"\xe9"'], ids=range(6)
)
def test_a_damaged_file_of_the_project_is_one_sentence(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError, match=r"x\.json is not valid JSON \(.*Delete it"):
        read_json(tmp_path / "x.json")


def test_a_folder_is_no_json_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"is a folder\. Name a JSON file"):
        read_json(tmp_path)
