"""Checkpoints: written beside and renamed, hashed, and refused when they are of another run.

A checkpoint is two files: `update-<n>.pt` (tensors and plain numbers, read with
`weights_only=True`) and then `update-<n>.json` (its sha256, the hashes of the configuration and
the data). The JSON file is the mark of a whole checkpoint: without it the other is ignored.
"""

from __future__ import annotations

import fcntl
import os
import pickle
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import NonNegativeInt, ValidationError

from flava.config import Strict
from flava.errors import CheckpointError, DataError
from flava.io import canonical_json, read_json, sha256_file

NAME = re.compile(r"update-(\d{9})\.json")


class Mark(Strict):
    """Content of `update-<n>.json`."""

    format: int = 1
    update: NonNegativeInt
    sha256: str
    config_sha256: str
    data_sha256: str


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoint folder of one run.

    Attributes:
        folder: where the checkpoints are.
        config_sha256: hash of the resolved configuration.
        data_sha256: hash of the manifests, tokenizer and image tokens that are read.
        keep: how many of the newest stay.
    """

    folder: Path
    config_sha256: str
    data_sha256: str
    keep: int

    def save(self, update: int, state: dict[str, Any]) -> None:
        """Writes the state after `update` updates; then removes what is too old."""
        self.folder.mkdir(parents=True, exist_ok=True)
        tensors, mark = self._paths(update)
        mark.unlink(missing_ok=True)  # a damaged one of the same update
        write_synced(tensors, lambda path: torch.save(state, path))
        content = Mark(
            update=update,
            sha256=sha256_file(tensors),
            config_sha256=self.config_sha256,
            data_sha256=self.data_sha256,
        )
        text = canonical_json(content.model_dump(mode="json"))
        write_synced(mark, lambda path: path.write_text(text, encoding="utf-8"))
        self.clean()

    def load_newest(self, warn: bool = True) -> tuple[int, dict[str, Any]] | None:
        """(updates done, state) of the newest whole checkpoint; None where there is none.

        A damaged checkpoint is passed over for the next older one, with a warning on stderr that
        names it. If all are damaged, training does not silently begin anew.

        Raises:
            CheckpointError: a checkpoint is of another configuration or other data, or no
                checkpoint is readable.
        """
        updates = self._updates()
        for update in updates:
            try:
                return update, self._load(update)
            except _DamagedError as error:
                if warn:
                    print(f"warning: passed over a damaged checkpoint: {error}", file=sys.stderr)
        if updates:
            raise CheckpointError(
                f"None of the {len(updates)} checkpoints in {self.folder} can be read. "
                f"Restore one, or delete the folder to train from the beginning."
            )
        return None

    def clean(self) -> None:
        """Removes checkpoints beyond `keep` and what killed processes left half written."""
        kept = self._updates()[: self.keep]
        for update in self._updates()[self.keep :]:
            tensors, mark = self._paths(update)
            mark.unlink(missing_ok=True)  # first the mark: half removed is then "not there"
            tensors.unlink(missing_ok=True)
        names = {self._paths(update)[0].name for update in kept}
        for path in [*self.folder.glob("update-*.pt"), *self.folder.glob(".update-*.tmp")]:
            if path.name not in names:
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

    def _paths(self, update: int) -> tuple[Path, Path]:
        stem = f"update-{update:09d}"
        return self.folder / f"{stem}.pt", self.folder / f"{stem}.json"

    def _load(self, update: int) -> dict[str, Any]:
        tensors, path = self._paths(update)
        mark = _read_mark(path)
        self._check_identity(mark, path)
        try:
            digest = sha256_file(tensors)
        except FileNotFoundError:
            raise _DamagedError(f"{tensors} is missing") from None
        if mark.update != update or digest != mark.sha256:
            raise _DamagedError(f"{tensors} does not have the sha256 that {path.name} states")
        try:
            state: dict[str, Any] = torch.load(tensors, map_location="cpu", weights_only=True)
        except (RuntimeError, pickle.UnpicklingError) as error:
            raise _DamagedError(f"{tensors}: {str(error).splitlines()[0]}") from None
        return state

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
        return Mark.model_validate(read_json(path))
    except (DataError, ValidationError) as error:
        raise _DamagedError(f"{path}: {str(error).splitlines()[0]}") from None


def write_synced(path: Path, write: Callable[[Path], object]) -> None:
    """Writes through a temporary file that reaches the disk before it is renamed."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
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
