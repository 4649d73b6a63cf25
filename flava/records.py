"""Records: the JSON beside every result that says where it came from (git, data, software).

What is in one and how it is checked: docs/records.md.
"""

from __future__ import annotations

import os
import resource
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    Field,
    NonNegativeInt,
    PositiveInt,
    StringConstraints,
    ValidationError,
    model_validator,
)

from flava import checkout
from flava.checkout import Code
from flava.config import NonNegativeFloat, Strict
from flava.errors import DataError
from flava.io import read_json, sha256_file, sha256_json
from flava.processes import Hardware, Process, Work, added, other_versions, this_process

Sha256 = Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")]
Commit = Annotated[str, StringConstraints(pattern="^([0-9a-f]{40}|[0-9a-f]{64}|unknown)$")]


class DataUse(Strict):
    """Data that a step read: a prepared corpus by its manifest, a task by its examples."""

    sha256: Sha256
    counts: dict[str, int] = Field(description="the manifest's totals, the task's examples")


class Record(Strict):
    """Where a result came from; written last, so its presence means the step finished."""

    format: Literal[4] = 4
    step: str
    command: str | None = Field(description="as the process was started; None: by a launcher")
    git_commit: Commit = Field(description="as the process started; 'unknown' outside a checkout")
    git_dirty: bool | None = Field(description="files differed from it, or changed meanwhile")
    earlier_commits: list[Commit] = Field(description="others, of processes that were continued")
    config_sha256: Sha256
    seed: NonNegativeInt | None
    manifests: dict[str, DataUse] = Field(description="path of a corpus's manifest -> what it was")
    tasks: dict[str, DataUse] = Field(description="task -> its examples, images included")
    parents: dict[str, Sha256] = Field(description="path of a record -> its sha256")
    python: str
    packages: dict[str, str]
    hardware: Hardware
    started: str = Field(description="UTC, ISO 8601")
    wall_seconds: NonNegativeFloat
    gpu_hours: NonNegativeFloat = Field(description="ranks x hours of all processes with a GPU")
    earlier_work: list[Work] = Field(
        description="of processes that were continued and ran on other ranks, machines or versions"
    )
    peak_memory_bytes: NonNegativeInt = Field(description="largest resident set of rank 0")
    ranks: PositiveInt
    jobs: list[str] = Field(description="the scheduler's ids: FLAVA_JOB_IDS, SLURM_JOB_ID")
    requeues: NonNegativeInt = Field(description="SLURM_RESTART_COUNT")
    extra: dict[str, Any] = Field(description="what only this step knows")

    @property
    def known_before(self) -> list[Process]:
        """What the processes of `earlier_work` ran on, where a checkpoint says so."""
        return [each.process for each in self.earlier_work if each.process is not None]

    @model_validator(mode="before")
    @classmethod
    def _third_format(cls, value: Any) -> Any:
        """Format 3 had no earlier work."""
        if isinstance(value, dict) and value.get("format") == 3 and "earlier_work" not in value:
            return {**value, "format": 4, "earlier_work": []}
        return value


@dataclass
class Earlier:
    """What processes before this one did of a result, as the checkpoint says that continues them.

    Attributes:
        code: that they ran.
        jobs: the scheduler's ids of them.
        work: theirs up to the checkpoint; what they did after it was lost.
        now: what this process runs on, as it began.
    """

    code: list[Code] = field(default_factory=list)
    jobs: list[str] = field(default_factory=list)
    work: list[Work] = field(default_factory=list)
    now: Process = field(default_factory=this_process)

    @property
    def seconds(self) -> float:
        """Of their work."""
        return sum(each.seconds for each in self.work)

    @property
    def gpu_seconds(self) -> float:
        """Of their work; that of unknown processes is counted as if on what this one runs on."""
        return sum((each.process or self.now).gpu_seconds(each.seconds) for each in self.work)

    def add(self, seconds: float, account: Mapping[str, Any]) -> None:
        """Takes over what a checkpoint holds; says so if they had other versions of something.

        Args:
            seconds: of work up to the checkpoint.
            account: from `account`.
        """
        code, work = [Code(*each) for each in account["code"]], _work(seconds, account)
        self.join(Earlier(code, account["jobs"], work, self.now))
        changed = other_versions(work, self.now)
        if changed and os.environ.get("RANK", "0") == "0":
            print(f"continuing with {changed}; the record will name all", file=sys.stderr)

    def join(self, other: Earlier) -> None:
        """Takes over what another checkpoint gave."""
        self.code = list(dict.fromkeys([*self.code, *other.code]))
        self.jobs = list(dict.fromkeys([*self.jobs, *other.jobs]))
        self.work = added(self.work, other.work)

    def account(self) -> dict[str, Any]:
        """Plain data for a checkpoint: code, jobs and work of these processes, and this one.

        This one's seconds are what the checkpoint's own have beyond those of `work`.
        """
        code = dict.fromkeys([*self.code, checkout.AT_START])
        return {
            "code": [list(each) for each in code],
            "jobs": _jobs(self),
            "work": [each.model_dump(mode="json") for each in self.work],
            "process": self.now.model_dump(mode="json"),
        }


def _work(seconds: float, account: Mapping[str, Any]) -> list[Work]:
    """Of the processes before a checkpoint and of the one that wrote it."""
    before = [Work.model_validate(each) for each in account.get("work", [])]
    rest = max(0.0, seconds - sum(each.seconds for each in before))
    return added(before, [Work(seconds=rest, process=account.get("process"))])


def make_record(
    step: str,
    config: BaseModel | Mapping[str, Any],
    started: float,
    parents: Sequence[Path | str] = (),
    manifests: Sequence[Path | str] = (),
    extra: Mapping[str, Any] | None = None,
    earlier: Earlier | None = None,
    tasks: Mapping[str, DataUse] | None = None,
) -> dict[str, Any]:
    """The record of a step that is about to write its last file.

    Args:
        step: name of the step, e.g. "pretrain".
        config: the resolved configuration (a job of `flava.jobs`, or plain data).
        started: `time.time()` at the start of this process's work.
        parents: records of the steps whose outputs were read.
        manifests: manifests of the corpora that were read.
        extra: plain JSON data that only this step knows.
        earlier: work of processes that this one continued.
        tasks: task -> its examples, where tasks were read.

    Raises:
        DataError: a parent or manifest is missing or not JSON, or the scheduler's count of
            requeues is no number.
    """
    plain = config.model_dump(mode="json") if isinstance(config, BaseModel) else dict(config)
    earlier = earlier or Earlier()
    code, now = checkout.code_run(), earlier.now
    seconds = max(0.0, time.time() - started)
    record = Record(
        step=step,
        command=_command(),
        git_commit=code.commit,
        git_dirty=any(each.dirty for each in earlier.code) or code.dirty,
        earlier_commits=_others(earlier.code, code.commit),
        config_sha256=sha256_json(plain),
        seed=plain.get("seed"),
        manifests={str(path): _manifest(Path(path)) for path in manifests},
        tasks=dict(tasks or {}),
        parents={str(path): _parent(Path(path)) for path in parents},
        python=now.python,
        packages=now.packages,
        hardware=now.hardware,
        started=datetime.fromtimestamp(started, UTC).isoformat(timespec="seconds"),
        wall_seconds=round(seconds + earlier.seconds, 3),
        gpu_hours=round((now.gpu_seconds(seconds) + earlier.gpu_seconds) / 3600, 4),
        earlier_work=[each for each in earlier.work if each.process != now],
        peak_memory_bytes=_peak_memory(),
        ranks=now.ranks,
        jobs=_jobs(earlier),
        requeues=_requeues(),
        extra=dict(extra or {}),
    )
    return record.model_dump(mode="json")


def parse_record(value: object, where: str) -> Record:
    """Validates plain data as a record.

    Raises:
        DataError: it is not a record; names `where` and the first thing that is wrong.
    """
    try:
        return Record.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "the whole file"
        raise DataError(
            f"{where} is not a valid record: {key}: {first['msg']}. "
            "Delete it and run the step that makes it again."
        ) from None


def load_record(path: Path | str) -> Record:
    """Reads and validates a record.

    Raises:
        DataError: the file is missing, is not JSON or is not a record.
    """
    return parse_record(read_json(path), str(path))


def _command() -> str | None:
    """The process's command line, interpreter by name alone; None where a launcher started it."""
    given = os.environ.get("FLAVA_COMMAND")
    if given:
        return given
    if "SUBMITIT_EXECUTOR" in os.environ:
        return None
    return shlex.join(["python", *sys.orig_argv[1:]])


def _others(code: Sequence[Code], commit: str) -> list[str]:
    return [name for name in dict.fromkeys(each.commit for each in code) if name != commit]


def _jobs(earlier: Earlier) -> list[str]:
    told = os.environ.get("FLAVA_JOB_IDS", "").split(",")
    names = [*earlier.jobs, *told, os.environ.get("SLURM_JOB_ID", "")]
    return list(dict.fromkeys(name.strip() for name in names if name.strip()))


def _requeues() -> int:
    text = os.environ.get("SLURM_RESTART_COUNT", "0")
    if not text.isdecimal():
        raise DataError(
            f"SLURM_RESTART_COUNT is '{text}', not a number of requeues. Unset it or correct it."
        )
    return int(text)


def _manifest(path: Path) -> DataUse:
    value = read_json(path)
    counts = value.get("counts", value) if isinstance(value, dict) else {}
    whole = {k: v for k, v in counts.items() if isinstance(v, int) and not isinstance(v, bool)}
    return DataUse(sha256=sha256_file(path), counts=whole)


def _parent(path: Path) -> str:
    load_record(path)
    return sha256_file(path)


def _peak_memory() -> int:
    unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss: bytes on macOS, KiB on Linux
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
