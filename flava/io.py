"""Small file helpers: every file is written beside its final place and renamed."""

from __future__ import annotations

import fcntl
import glob
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from flava.errors import DataError


@contextmanager
def atomic_path(path: Path | str) -> Iterator[Path]:
    """Yields a temporary path beside `path`; renames it into place only on success."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_directory(path: Path | str) -> Iterator[Path]:
    """Yields a temporary directory beside `path` that replaces `path` as a whole on success."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.urandom(4).hex()}.tmp")
    temporary.mkdir()  # as the umask and the folder say: a group may share the checkout
    try:
        yield temporary
        for weights in temporary.rglob("*.safetensors"):  # which the library lets nobody else read
            weights.chmod(temporary.stat().st_mode & 0o666)
        if path.exists():
            shutil.rmtree(path)
        temporary.replace(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def without_leftovers(path: Path | str) -> Iterator[None]:
    """Removes what killed processes left of `atomic_directory(path)`, before it is used within.

    Who writes holds a shared lock beside `path`, on whatever machine, and only who is alone
    removes. On a file system without locks nothing is removed, which is said.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path.with_name(f".{path.name}.lock"), "a+", encoding="utf-8") as file:
        try:
            with suppress(BlockingIOError):  # another process is writing
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _remove_leftovers(path)
            fcntl.flock(file, fcntl.LOCK_SH)
        except OSError as error:
            print(f"warning: {file.name} cannot be locked ({error})", file=sys.stderr)
        yield


def _remove_leftovers(path: Path) -> None:
    for left in path.parent.glob(f".{glob.escape(path.name)}.{'[0-9a-f]' * 8}.tmp"):
        print(f"{left} was left by a process that was killed: removing it.", file=sys.stderr)
        shutil.rmtree(left, ignore_errors=True)


def canonical_json(value: Any) -> str:
    """JSON text with sorted keys: equal values give equal text."""
    return json.dumps(value, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def write_json(path: Path | str, value: Any) -> None:
    """Writes `value` as canonical JSON; leaves an equal file untouched, its mtime too."""
    path, text = Path(path), canonical_json(value)
    if path.is_file() and path.read_text(encoding="utf-8") == text:
        return
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def read_json(path: Path | str) -> Any:
    """Reads a JSON file.

    Raises:
        DataError: the file is missing or is not JSON.
    """
    path = Path(path)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{path} is missing. Run the step that makes it first.") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(
            f"{path} is not valid JSON ({error}). Delete it and make it anew."
        ) from None


def sha256_file(path: Path | str) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_parts(parts: Iterable[bytes]) -> str:
    """SHA-256 of byte strings in their order, in hexadecimal; where each ends counts too."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.hexdigest()


def sha256_json(value: Any) -> str:
    """SHA-256 of a value's canonical JSON, in hexadecimal."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()
