"""Checkpoints: written beside and renamed, hashed, and refused when they are of another run.

A checkpoint is two files: `update-<n>.pt` (tensors and plain numbers, read with
`weights_only=True`) and then `update-<n>.json` (its sha256, the hashes of the configuration and
the data). The JSON file is the mark of a whole checkpoint: without it the others are ignored.
Where FSDP2 shards the weights, `update-<n>.shards/` has them, one file a rank, whose sha256 are in
the mark too; `update-<n>.pt` then has the rest.
"""

from __future__ import annotations

import fcntl
import os
import pickle
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from pydantic import Field, NonNegativeInt
from torch import Tensor

from flava.config import Strict
from flava.errors import CheckpointError, ConfigError, DataError, TrainingError
from flava.io import canonical_json, read_json, room_for, sha256_file
from flava.jobs import parse
from flava.objectives.gather import world
from flava.train.distributed import gather_objects
from flava.train.shards import Shards

NAME = re.compile(r"update-(\d{9})\.json")


class Mark(Strict):
    """Content of `update-<n>.json`."""

    format: Literal[3] = 3
    update: NonNegativeInt
    sha256: str
    shards: dict[str, str] = Field(default_factory=dict, description="file -> sha256")
    config_sha256: str
    data_sha256: str
    code_sha256: str = Field(description="of what trained last")


class Found(NamedTuple):
    """A checkpoint as read: plain data and whole tensors; the sharded ones are still to be read."""

    update: int
    state: dict[str, Any]
    shards: Shards | None
    code_sha256: str


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoint folder of one run.

    Attributes:
        folder: where the checkpoints are.
        config_sha256: hash of the resolved configuration.
        data_sha256: hash of the manifests, tokenizer and image tokens that are read.
        code_sha256: hash of the code that trains now. An unfinished run may be continued by other
            code; what becomes of a finished one is said in `flava.train.aside`.
        keep: how many of the newest stay.
    """

    folder: Path
    config_sha256: str
    data_sha256: str
    code_sha256: str
    keep: int

    def save(
        self,
        update: int,
        state: dict[str, Any],
        sharded: Mapping[str, Tensor] | None = None,
        first: bool = True,
    ) -> None:
        """Writes the state after `update` updates; then removes what is too old.

        Args:
            update: updates done.
            state: tensors and plain data.
            sharded: further tensors, of which each rank holds a part. With them all ranks must
                call this, without them the first one alone needs to.
            first: whether this is the rank that writes `state`.
        """
        tensors, mark, shards = self._paths(update)
        if first:
            self.folder.mkdir(parents=True, exist_ok=True)
            mark.unlink(missing_ok=True)  # a damaged one of the same update
        hashes = self._save_shards(shards, sharded, first) if sharded else {}
        if not first:
            return
        write_synced(tensors, lambda path: torch.save(state, path))
        content = Mark(
            update=update,
            sha256=sha256_file(tensors),
            shards=hashes,
            config_sha256=self.config_sha256,
            data_sha256=self.data_sha256,
            code_sha256=self.code_sha256,
        )
        text = canonical_json(content.model_dump(mode="json"))
        write_synced(mark, lambda path: path.write_text(text, encoding="utf-8"))
        self.clean()

    def load_newest(self, warn: bool = True) -> Found | None:
        """The newest whole checkpoint, the same one on every rank; None where there is none.

        A damaged checkpoint is passed over for the next older one, with a warning on stderr that
        names it. If all are damaged, training does not silently begin anew. All ranks call it, and
        each checks its part of the shards.

        Raises:
            CheckpointError: a checkpoint is of another configuration or other data, or no
                checkpoint is readable.
            TrainingError: the ranks do not see the same files.
        """
        updates = self._updates()
        seen = gather_objects(updates)
        if any(other != updates for other in seen):
            raise TrainingError(
                f"The ranks see different checkpoints in {self.folder} (updates {seen}). The "
                "folder must be on a file system that all nodes share."
            )
        for update in updates:
            found, error = self._try(update)
            errors = [each for each in gather_objects(error) if each is not None]
            if found is not None and not errors:
                return found
            if warn:
                print(f"warning: passed over a damaged checkpoint: {errors[0]}", file=sys.stderr)
        if updates:
            raise CheckpointError(
                f"None of the {len(updates)} checkpoints in {self.folder} can be read. "
                f"Restore one, or delete the folder to train from the beginning."
            )
        return None

    def present(self) -> bool:
        """Whether there is any checkpoint, so that `load_newest` gives one or raises."""
        return bool(self._updates())

    def newest_mark(self) -> Mark | None:
        """What the newest checkpoint says of itself; None where there is none, or a damaged one."""
        for update in self._updates()[:1]:
            with suppress(_DamagedError):
                return _read_mark(self._paths(update)[1])
        return None

    def clean(self) -> None:
        """Removes checkpoints beyond `keep` and what killed processes left half written."""
        kept = self._updates()[: self.keep]
        for update in self._updates()[self.keep :]:
            # First the mark: half removed is then "not there".
            self._paths(update)[1].unlink(missing_ok=True)
        names = {path.name for update in kept for path in self._paths(update)}
        for path in [*self.folder.glob("update-*"), *self.folder.glob(".update-*.tmp")]:
            if path.name in names:
                continue
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)

    @contextmanager
    def locked(self, writer: bool) -> Iterator[None]:
        """Holds the folder, so that no second process trains the same run; `writer`: rank 0.

        Raises:
            CheckpointError: another living process holds it.
        """
        if not writer:
            yield
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        with open(self.folder / "lock", "a", encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise CheckpointError(
                    f"Another process is training this run: it holds {self.folder / 'lock'}. "
                    "Wait for it or stop it, then run the same command again."
                ) from None
            except OSError as error:
                print(f"warning: {self.folder} cannot be locked ({error})", file=sys.stderr)
            yield

    def _updates(self) -> list[int]:
        found = [NAME.fullmatch(path.name) for path in self.folder.glob("update-*.json")]
        return sorted((int(match[1]) for match in found if match), reverse=True)

    def _paths(self, update: int) -> tuple[Path, Path, Path]:
        """(whole tensors and plain data, mark, folder of shards)."""
        stem = self.folder / f"update-{update:09d}"
        return stem.with_suffix(".pt"), stem.with_suffix(".json"), stem.with_suffix(".shards")

    @staticmethod
    def _save_shards(folder: Path, sharded: Mapping[str, Tensor], first: bool) -> dict[str, str]:
        if first:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
        gather_objects(None)  # no rank writes into the folder before it is empty
        with room_for(folder):
            hashes = Shards(folder).write(sharded)
        if first:
            for name in hashes:
                _sync(folder / name)
            _sync(folder)
        return hashes

    def _try(self, update: int) -> tuple[Found | None, str | None]:
        """A checkpoint, or why it cannot be used."""
        try:
            return self._load(update), None
        except _DamagedError as error:
            return None, str(error)

    def _load(self, update: int) -> Found:
        tensors, path, folder = self._paths(update)
        mark = _read_mark(path)
        self._check_identity(mark, path)
        rank, ranks = world()
        files = {tensors: mark.sha256}
        files |= {folder / name: mark.shards[name] for name in sorted(mark.shards)[rank::ranks]}
        for file, sha256 in files.items():
            if not file.is_file():
                raise _DamagedError(f"{file} is missing")
            if mark.update != update or sha256_file(file) != sha256:
                raise _DamagedError(f"{file} does not have the sha256 that {path.name} states")
        try:
            state: dict[str, Any] = torch.load(tensors, map_location="cpu", weights_only=True)
        except (RuntimeError, pickle.UnpicklingError) as error:
            raise _DamagedError(f"{tensors}: {str(error).splitlines()[0]}") from None
        return Found(update, state, Shards(folder) if mark.shards else None, mark.code_sha256)

    def _check_identity(self, mark: Mark, path: Path) -> None:
        for what, theirs, ours in (
            ("another configuration", mark.config_sha256, self.config_sha256),
            ("other data", mark.data_sha256, self.data_sha256),
        ):
            if theirs != ours:
                raise CheckpointError(
                    f"{path} is a checkpoint of {what} (sha256 {theirs[:12]}…, this run has "
                    f"{ours[:12]}…). Delete {self.folder} to train anew, or undo the change to "
                    "continue it."
                )


class _DamagedError(Exception):
    pass


def _read_mark(path: Path) -> Mark:
    try:
        return parse(Mark, read_json(path), str(path))
    except (DataError, ConfigError) as error:
        raise _DamagedError(str(error)) from None


def write_synced(path: Path, write: Callable[[Path], object]) -> None:
    """Writes through a temporary file that reaches the disk before it is renamed.

    Raises:
        ForbiddenError: the disk is full; names `path`.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with room_for(path):
            write(temporary)
            _sync(temporary)
        temporary.replace(path)
        _sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
