"""`glue_tsv`: the eight GLUE tasks in their official TSV layout; quotes are ordinary characters."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from flava.config import TaskData
from flava.errors import DataError, unknown_name
from flava.evaluate.formats.text_files import lines
from flava.evaluate.taskdata import LabelledTask, Split, require

HOW_TO_GET = "Download the GLUE task from gluebenchmark.com/tasks and set the task's path to it."
STS_B_MAX = 5.0  # scores are divided by it, as in fairseq


@dataclass(frozen=True)
class Layout:
    """Columns of a task's files; official dev files are the scored splits (the paper's choice).

    `header` is given where the file has none. `skip_fraction` is the share of broken lines that
    is tolerated: official QQP has some, the other tasks have none. `empty`: texts may be so.
    Two questions of official QQP's train are; whether any text of MNLI or QNLI is, is not known
    here.
    """

    texts: tuple[str, ...]
    label: str
    labels: tuple[str, ...]
    dev: tuple[str, ...] = ("dev",)
    header: tuple[str, ...] | None = None
    skip_fraction: float = 0.0
    empty: bool = False


ENTAILMENT = ("entailment", "not_entailment")
LAYOUTS: dict[str, Layout] = {
    "cola": Layout(
        ("sentence",), "label", ("0", "1"), header=("source", "label", "star", "sentence")
    ),
    "sst2": Layout(("sentence",), "label", ("0", "1")),
    "mrpc": Layout(("#1 String", "#2 String"), "Quality", ("0", "1")),
    "qqp": Layout(
        ("question1", "question2"), "is_duplicate", ("0", "1"), skip_fraction=0.001, empty=True
    ),
    "stsb": Layout(("sentence1", "sentence2"), "score", ()),
    "mnli": Layout(
        ("sentence1", "sentence2"),
        "gold_label",
        ("contradiction", "neutral", "entailment"),
        dev=("dev_matched", "dev_mismatched"),
        empty=True,
    ),
    "qnli": Layout(("question", "sentence"), "label", ENTAILMENT, empty=True),
    "rte": Layout(("sentence1", "sentence2"), "label", ENTAILMENT),
}


def load(path: Path, data: TaskData, name: str) -> LabelledTask:
    """Reads train.tsv and the dev file(s) of GLUE task `name`.

    A stand-in for MNLI may lack dev_mismatched.tsv: the value is then the matched accuracy
    alone and the notes say so.

    Raises:
        DataError: the task is not in GLUE, a file is missing, a line is malformed (file and line
            number are named), a text is empty or a label is unknown.
    """
    if name not in LAYOUTS:
        raise DataError(unknown_name("GLUE task", name, list(LAYOUTS), "adapter 'glue_tsv'"))
    layout = LAYOUTS[name]
    dev = list(layout.dev)
    notes: dict[str, str | int] = {}
    if data.stand_in and len(dev) > 1 and not (path / f"{dev[1]}.tsv").exists():
        notes["scored split"] = f"{dev.pop()} is absent from the stand-in"
    train, skipped = read_split(path / "train.tsv", layout)
    tests = {}
    for file in dev:
        tests[file], bad = read_split(path / f"{file}.tsv", layout)
        skipped += bad
    if skipped:
        notes["broken lines skipped"] = skipped
    return LabelledTask(
        train=train,
        tests=tests,
        classes=list(layout.labels),
        notes=notes,
    )


def read_split(path: Path, layout: Layout) -> tuple[Split, int]:
    """Examples of one TSV file and the number of broken lines that were skipped."""
    texts: list[tuple[str, str | None]] = []
    targets: list[float] = []
    broken: list[str] = []
    for where, cells in _rows(path, layout):
        if isinstance(cells, str):
            broken.append(f"{where}: {cells}")
            continue
        values = [_text(cells, column, layout, where) for column in layout.texts]
        texts.append((values[0], values[1] if len(values) > 1 else None))
        targets.append(_target(cells[layout.label], layout, where))
    if len(broken) > layout.skip_fraction * (len(texts) + len(broken)):
        raise DataError(broken[0])
    require(bool(texts), f"{path} has no examples. {HOW_TO_GET}")
    values_N = np.asarray(targets, np.float64)
    classes = bool(layout.labels)
    return Split(values_N.astype(np.int64) if classes else values_N, texts=texts), len(broken)


def _rows(path: Path, layout: Layout) -> Iterator[tuple[str, dict[str, str] | str]]:
    """(file and line, cells by column), or what is wrong with the line."""
    numbered = lines(path, HOW_TO_GET)
    header = layout.header or tuple(next(numbered, (0, ""))[1].split("\t"))
    for column in (*layout.texts, layout.label):
        if column not in header:
            raise DataError(f"{path}, line 1: column '{column}' is missing from {list(header)}.")
    for number, line in numbered:
        cells = line.split("\t")
        where = f"{path}, line {number}"
        if len(cells) != len(header):
            yield where, f"{len(cells)} columns, expected {len(header)}."
        else:
            yield where, dict(zip(header, cells, strict=True))


def _text(cells: dict[str, str], column: str, layout: Layout, where: str) -> str:
    text = cells[column]
    require(layout.empty or bool(text.strip()), f"{where}: '{column}' is empty. {HOW_TO_GET}")
    return text


def _target(text: str, layout: Layout, where: str) -> float:
    if layout.labels:
        if text not in layout.labels:
            raise DataError(f"{where}: label '{text}' is not one of {list(layout.labels)}.")
        return layout.labels.index(text)
    try:
        score = float(text)
    except ValueError:
        raise DataError(f"{where}: score '{text}' is not a number.") from None
    require(0 <= score <= STS_B_MAX, f"{where}: score {text} is out of range (0 to {STS_B_MAX}).")
    return score / STS_B_MAX
