"""CLIP's notebook is read for its two lists and never run."""

from __future__ import annotations

import json

import pytest

from flava.errors import DataError
from flava.evaluate.imagenet_prompts import write_prompts

NAMES = [f"name {i}" for i in range(1000)]
TEMPLATES = [f"photo {i} of a {{}}." for i in range(80)]


def notebook(path, *cells):
    kinds = [
        {"cell_type": "code", "source": [line + "\n" for line in c.split("\n")]} for c in cells
    ]
    path.write_text(json.dumps({"cells": [{"cell_type": "markdown", "source": ["#"]}, *kinds]}))
    return path


def test_both_lists_are_written_and_no_cell_is_run(tmp_path):
    harm = tmp_path / "run"
    path = notebook(
        tmp_path / "n.ipynb",
        "! pip install ftfy",
        "nul = '\x00'",
        "imagenet_templates = {[]}",
        f"open({str(harm)!r}, 'w'); device = open('gpu')",
        "imagenet_classes = ['an older list']",
        f"imagenet_classes = {NAMES}",
        f"imagenet_templates = [\n    {', '.join(map(repr, TEMPLATES))},\n]\n\nprint(1)",
    )
    assert write_prompts(path, tmp_path / "vocab") == {
        "imagenet_classnames.json": 1000, "imagenet_templates.json": 80,
    }  # fmt: skip
    for kind, texts in (("classnames", NAMES), ("templates", TEMPLATES)):
        assert json.loads((tmp_path / "vocab" / f"imagenet_{kind}.json").read_text()) == texts
    assert not harm.exists()


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        (f"imagenet_classes = {NAMES}", "sets no list of texts 'imagenet_templates'"),
        (
            f"imagenet_classes = {NAMES[1:]}\nimagenet_templates = {TEMPLATES}",
            "has 999 texts, 1000",
        ),
        (f"imagenet_classes = {NAMES}\nimagenet_templates = [1]", "sets no list of texts"),
        (
            f"imagenet_classes = {NAMES}\nimagenet_templates = {[*TEMPLATES[:-1], '{} and {}']}",
            "template '{} and {}' must have exactly one",
        ),
        (None, "is not a Jupyter notebook"),
    ],
)
def test_another_file_is_refused_and_nothing_written(tmp_path, cell, message):
    path = tmp_path / "n.ipynb"
    if cell is None:
        path.write_text("[]")
    else:
        notebook(path, cell)
    with pytest.raises(DataError, match=message):
        write_prompts(path, tmp_path / "vocab")
    assert not (tmp_path / "vocab").exists()


def test_a_missing_notebook_says_where_to_get_it(tmp_path):
    with pytest.raises(DataError, match=r"github\.com/openai/CLIP"):
        write_prompts(tmp_path / "n.ipynb", tmp_path)


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    path = notebook(
        tmp_path / "n.ipynb", f"imagenet_classes = {NAMES}\nimagenet_templates = {TEMPLATES}"
    )
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match=r"cannot be written .* Name another --output"):
        write_prompts(path, tmp_path / "file")
