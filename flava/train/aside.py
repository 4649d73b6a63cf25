"""Finished checkpoints of other code or other data: set aside, and taken back when they fit again.

A run that is planned again because code or data were edited is to be trained again: its last
checkpoint must not be exported once more as if the edited code had made it. Nothing is deleted:
`<folder>/aside-<hash of data and code>/` keeps what was there, and a run finds it again when the
edit is undone. An unfinished run goes on, whatever code it began with; its record names both.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from flava.io import sha256_json
from flava.train.checkpoint import NAME, Checkpoints, Mark


def settle(checkpoints: Checkpoints, total: int) -> None:
    """Leaves in the folder only what a run of `total` updates may continue or export.

    One process calls it, which holds the folder. Killed within, it goes on with the next call.
    """
    folder = checkpoints.folder
    ours = _aside(checkpoints, checkpoints.data_sha256, checkpoints.code_sha256)
    newest = checkpoints.newest_mark()
    differs = _differs(checkpoints, newest)
    if newest is not None and differs and (newest.update == total or ours.is_dir()):
        theirs = _aside(checkpoints, newest.data_sha256, newest.code_sha256)
        _move(folder, theirs, newest_mark="last")
        print(_message(folder, theirs, differs), file=sys.stderr, flush=True)
        newest, differs = None, ""
    if ours.is_dir() and not differs:
        _move(ours, folder, newest_mark="first")
        ours.rmdir()
        if newest is None:
            print(f"took back what this code left with these data from {ours}", file=sys.stderr)


def _differs(checkpoints: Checkpoints, mark: Mark | None) -> str:
    """What a checkpoint was made of that is other now; of another configuration it is refused."""
    if mark is None or mark.config_sha256 != checkpoints.config_sha256:
        return ""
    parts = {
        "data": mark.data_sha256 != checkpoints.data_sha256,
        "code": mark.code_sha256 != checkpoints.code_sha256,
    }
    return " and ".join(f"other {name}" for name, other in parts.items() if other)


def _aside(checkpoints: Checkpoints, data_sha256: str, code_sha256: str) -> Path:
    return checkpoints.folder / f"aside-{sha256_json([data_sha256, code_sha256])[:12]}"


def _move(source: Path, target: Path, newest_mark: Literal["first", "last"]) -> None:
    """Marks move after all else; the newest one decides what a killed process left."""
    target.mkdir(exist_ok=True)
    paths = [path for path in source.iterdir() if not _stays(path)]
    marks = [path for path in paths if NAME.fullmatch(path.name)]
    _rename([path for path in paths if path not in marks], target)
    _rename(sorted(marks, reverse=newest_mark == "first"), target)


def _stays(path: Path) -> bool:
    return path.name == "lock" or path.name.startswith("aside-")


def _rename(paths: Iterable[Path], target: Path) -> None:
    for path in paths:
        other = target / path.name
        if other.is_dir():
            shutil.rmtree(other)
        path.replace(other)


def _message(folder: Path, aside: Path, differs: str) -> str:
    return (
        f"The checkpoints in {folder} are of {differs}: they are kept in {aside.name}, and this "
        "run does not go on from them. Undo the change to have them back; delete that folder if "
        "nobody wants them."
    )
