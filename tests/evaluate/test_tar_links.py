"""Links within tars: GNU tar writes a second name of one file as a hard link."""

from __future__ import annotations

import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from flava.errors import DataError
from flava.evaluate.images import ImageSource
from tests.evaluate.fakes import noise_png


def add_link(path: Path, name: str, to: str, kind: bytes) -> None:
    with tarfile.open(path, "a") as tar:
        member = tarfile.TarInfo(name)
        member.type, member.linkname = kind, to
        tar.addfile(member)


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    """A tar of a/1.png, b/2.png, and c/3.png, which is the first one's file."""
    for seed, name in enumerate(("a/1.png", "b/2.png")):
        (tmp_path / "set" / name).parent.mkdir(parents=True)
        (tmp_path / "set" / name).write_bytes(noise_png(seed))
    (tmp_path / "set" / "c").mkdir()
    os.link(tmp_path / "set/a/1.png", tmp_path / "set/c/3.png")
    command = ["tar", "cf", tmp_path / "set.tar", "-C", tmp_path / "set", "--sort=name", "."]
    subprocess.run(command, check=True)
    return tmp_path / "set.tar"


def test_hard_links_have_the_bytes_of_their_file(packed: Path) -> None:
    with tarfile.open(packed) as tar:
        assert tar.getmember("./c/3.png").islnk()
    source = ImageSource(packed)
    assert source.names == ["a/1.png", "b/2.png", "c/3.png"]
    assert [source.read(name) for name in source.names] == [noise_png(seed) for seed in (0, 1, 0)]


def test_a_symbolic_link_is_refused_by_name(packed: Path) -> None:
    add_link(packed, "d/4.png", "../a/1.png", tarfile.SYMTYPE)
    with pytest.raises(DataError, match=r"set\.tar: 'd/4\.png' is a symbolic link.*Unpack the tar"):
        ImageSource(packed)


@pytest.mark.parametrize("to", ["nothing.png", "4.png"])
def test_a_hard_link_to_nothing_is_refused_by_name(packed: Path, to: str) -> None:
    add_link(packed, "4.png", to, tarfile.LNKTYPE)
    with pytest.raises(DataError, match=rf"set\.tar is neither.*'4\.png' is a link to '{to}'"):
        ImageSource(packed)
