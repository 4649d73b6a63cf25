"""Whether a study's evaluation data are there, undamaged, and the official ones.

    python -m flava.evaluate.check_data --study mini
    python -m flava.evaluate.check_data --study paper --row MNIST "COCO TR R@1"

Every set is read by its own adapter; no image is decoded. Exit code 1 if anything is wrong.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from flava.config import TaskConfig, TaskData
from flava.data.paths import expand
from flava.errors import ConfigError, DataError, FlavaError, run_cli, unknown_name
from flava.evaluate.datasets import load_task, official_counts
from flava.studies import Study, load_study
from flava.text_table import aligned

HEADER = ("task", "state", "examples (official)", "checksums", "path")


@dataclass
class Finding:
    """What is known of one task's data.

    Attributes:
        state: "ok", "stand-in" (ok, but not the official set), "missing" or "wrong".
        counts: examples of each split as read, before the study's limits.
        published: official files that have a published checksum.
        equal, absent: those of them whose checksum fits, and those that are not here.
        problems: sentences; empty where all is well.
    """

    name: str
    path: str
    state: str
    official: dict[str, int]
    counts: dict[str, int] = field(default_factory=dict)
    published: list[str] = field(default_factory=list)
    equal: list[str] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def cells(self) -> tuple[str, ...]:
        """The finding as a row of the table."""
        counts = ", ".join(
            f"{part} {n:,}" + ("" if self.official.get(part) == n else f" ({self._official(part)})")
            for part, n in self.counts.items()
        )
        return self.name, self.state, counts or "-", self._checksums(), self.path

    def _official(self, part: str) -> str:
        return f"{self.official[part]:,}" if part in self.official else "none"

    def _checksums(self) -> str:
        if self.state == "stand-in":
            return "not compared"
        if not self.published:
            return "none published"
        different = len(self.published) - len(self.equal) - len(self.absent)
        parts = {"equal": len(self.equal), "DIFFERENT": different, "not here": len(self.absent)}
        return ", ".join(f"{n} {what}" for what, n in parts.items() if n)


def check_task(name: str, task: TaskConfig, data: TaskData) -> Finding:
    """Reads the task's data; for an official set compares counts and published checksums.

    A published file that is not here is no problem: archives may go once they are unpacked.
    """
    found = Finding(name, data.path, "missing", official_counts(task, data.split))
    found.published = found.absent = list(task.checksums)
    try:
        path = expand(data.path)
        if path.exists():
            found.state = "stand-in" if data.stand_in else "ok"
        if found.state == "ok":
            _compare_checksums(found, task, path)
        whole = data.model_copy(update={"train_limit": None, "test_limit": None})
        found.counts = load_task(name, task, whole).counts
    except FlavaError as error:
        found.problems.append(str(error))
    if found.problems and found.state != "missing":
        found.state = "wrong"
    return found


def _compare_checksums(found: Finding, task: TaskConfig, path: Path) -> None:
    found.absent = []
    for name, published in task.checksums.items():
        files = [file for file in _places(path, name) if file.is_file()]
        if not files:
            found.absent.append(name)
            continue
        kind, _, digest = published.partition(":")
        actual = checksum(files[0], kind)
        if actual == digest:
            found.equal.append(name)
        else:
            found.problems.append(
                f"{files[0]}: its {kind} is {actual}, the published one {digest}. It is damaged "
                f"or another release: get it anew from {task.obtain}."
            )


def _places(path: Path, name: str) -> list[Path]:
    """Where an official file may lie: the path itself, in it, or one folder below."""
    if not path.is_dir():
        return [path] if path.name == name else []
    return [path / name, *sorted(path.glob(f"*/{name}"))]


def checksum(path: Path, kind: str) -> str:
    """Hexadecimal digest of a file's bytes.

    Raises:
        ConfigError: `kind` is neither md5 nor sha256.
        DataError: the file cannot be read.
    """
    if kind not in ("md5", "sha256"):
        raise ConfigError(unknown_name("checksum", kind, ["md5", "sha256"], "tasks.yaml"))
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, kind).hexdigest()
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error}). Get it anew.") from None


def tasks_of_rows(study: Study, rows: Sequence[str]) -> list[str]:
    """Tasks that the study evaluates and that fill any of `rows` (or are so called); all if empty.

    Raises:
        ConfigError: a row is none of the study's.
    """
    tasks = [task for tasks in study.config.evaluate_jobs.values() for task in tasks]
    of_row = {row: task for task in tasks for row in [*study.tasks[task].rows, task]}
    for row in rows:
        if row not in of_row:
            where = f"study '{study.config.name}'"
            raise ConfigError(unknown_name("row", row, list(of_row), where))
    return list(dict.fromkeys(of_row[row] for row in rows)) if rows else tasks


def report(findings: Sequence[Finding]) -> str:
    """The table, and below it what is wrong."""
    lines = aligned([HEADER, *(finding.cells() for finding in findings)])
    for finding in findings:
        lines += [f"\n{finding.name}: {problem}" for problem in finding.problems]
    return "\n".join(lines)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Check a study's evaluation data.")
    parser.add_argument("--study", default="toy")
    parser.add_argument("--budget", help="one of the study's budgets")
    parser.add_argument("--row", nargs="+", default=[], help="rows of Table C.1, or tasks")
    given = parser.parse_args()
    study = load_study(Path("params"), given.study, given.budget)
    findings = []
    for name in tasks_of_rows(study, given.row):
        print(f"{name} …", file=sys.stderr, flush=True)
        findings.append(check_task(name, study.tasks[name], study.config.tasks[name]))
    print(report(findings))
    if any(finding.problems for finding in findings):
        raise SystemExit(1)


if __name__ == "__main__":
    run_cli(main)
