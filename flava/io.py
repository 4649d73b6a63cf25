"""Small file helpers: every file is written beside its final place and renamed."""

from __future__ import annotations

import fcntl
import glob
import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from flava.errors import DataError, FlavaError, forbidden

PROBE_BYTES = 1 << 20


@contextmanager
def room_for(path: Path) -> Iterator[None]:
    """Within it, an error while `path` is written is one sentence if its disk takes no more.

    The disk is asked, as libraries hide its answer: PyTorch says "unexpected pos 832 vs 726".

    Raises:
        ForbiddenError: names the path.
    """
    try:
        yield
    except FlavaError:
        raise
    except Exception as error:
        try:
            with tempfile.TemporaryFile(dir=path.parent) as file:
                file.write(bytes(PROBE_BYTES))
                file.flush()
                os.fsync(file.fileno())
        except OSError as found:
            if refusal := forbidden(found, path):
                raise refusal from error
        raise


@contextmanager
def atomic_path(path: Path | str) -> Iterator[Path]:
    """Yields a temporary path beside `path`; renames it into place only on success."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with room_for(path):
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
        with room_for(path):
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
    """Reads a JSON file of the project's own, as `canonical_json` writes it.

    Raises:
        DataError: the file is missing, is a folder, or is not JSON; NaN and infinity are none.
    """
    path = Path(path)
    try:
        return json.loads(path.read_text(encoding="utf-8"), parse_constant=_no_number)
    except FileNotFoundError:
        raise DataError(f"{path} is missing. Run the step that makes it first.") from None
    except IsADirectoryError:
        raise DataError(f"{path} is a folder. Name a JSON file.") from None
    # No UTF-8, no JSON, a number of thousands of digits, deep nesting.
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"{path} is not valid JSON ({error}). Delete it and make it anew."
        ) from None


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no number")


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
