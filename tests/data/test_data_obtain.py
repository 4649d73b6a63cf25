"""How to obtain the data: every source of the paper's study, from the page in docs/."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from flava.data.adapters import KINDS
from flava.data.obtain import how_to_obtain, sections
from flava.errors import ConfigError
from flava.studies import load_study


def test_every_source_of_the_paper_has_a_section(root: Path) -> None:
    """... that names the adapter which the study uses."""
    data = load_study(root / "params", "paper").config.data
    sources = (*data.pairs, *data.images, *data.texts)
    for source in sources:
        assert f"`{source.adapter}`" in how_to_obtain(source.name), source.name
        assert "Obtain:" in how_to_obtain(source.name)
    assert len(sections()) == len(sources) == 12


def test_every_adapter_is_documented(root: Path) -> None:
    page = (root / "docs" / "data.md").read_text()
    for names in KINDS.values():
        for name in names:
            assert f"| `{name}` |" in page, name


def test_names_and_prefixes() -> None:
    assert how_to_obtain("sbu").startswith("### SBU Captions\n")
    assert how_to_obtain("Conceptual Captions").count("### ") == 1
    assert how_to_obtain("conceptual").count("### ") == 2
    assert how_to_obtain("all").count("### ") == 12
    assert "YFCC100M" in how_to_obtain("")
    with pytest.raises(ConfigError, match=r"unknown data set 'SBUU'\. .*Allowed: BookCorpus"):
        how_to_obtain("SBUU")


def test_command() -> None:
    command = [sys.executable, "-m", "flava.data.sources", "--how"]
    done = subprocess.run([*command, "SBU"], capture_output=True, text=True, check=True)
    assert "img2dataset --url_list" in done.stdout
    wrong = subprocess.run([*command, "nothing"], capture_output=True, text=True, check=False)
    assert (wrong.returncode, wrong.stderr[:7]) == (2, "error: ")
