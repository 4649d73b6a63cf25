"""The GPUs of this machine, dealt to its jobs as a scheduler would: each is one job's at a time.

A GPU has a file, the same for all users and clones; whoever uses it holds a lock on that, which the
kernel lets go of when the process ends, however that happens.
"""

from __future__ import annotations

import fcntl
import os
import sys
import tempfile
import time
from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from pathlib import Path

from flava.errors import ConfigError
from workflow.modules import ON_GPU
from workflow.resources import Request

PLACE = "/tmp"  # noqa: S108 (one for all users and jobs, which TMPDIR is not)
FOLDER = "flava-gpus"  # in it
LOCKS = "FLAVA_GPU_LOCKS"  # names another place, where /tmp is not the same for all
VISIBLE = "CUDA_VISIBLE_DEVICES"
TAKEN = "FLAVA_GPUS"  # what a job's ranks may see; submitit's local executor hides all from them
POLL_SECONDS = 2.0

_held: list[int] = []  # open as long as the process lives


def visible() -> list[str]:
    """Names or numbers of the GPUs that a process of this one would see."""
    given = os.environ.get(VISIBLE)
    if given is not None:
        return [part.strip() for part in given.split(",") if part.strip()]
    folder = Path("/proc/driver/nvidia/gpus")
    present = list(folder.iterdir()) if folder.is_dir() else list(Path("/dev").glob("nvidia[0-9]*"))
    return [str(number) for number in range(len(present))]


def take(step: str, request: Request) -> None:
    """Waits for a free GPU for each rank, and hides all others from this process and its children.

    Nothing is taken on a machine without GPUs, by a step that uses none, or a second time: a job
    that is started again keeps its GPUs.

    Raises:
        ConfigError: there are more ranks than GPUs.
    """
    present = visible()
    if step not in ON_GPU or not present or _held:
        return
    if request.ranks > len(present):
        raise ConfigError(
            f"{step}: {request.ranks} ranks, but this machine shows {len(present)} GPUs "
            f"({', '.join(present)}). Ask for at most as many ranks, or hide the GPUs "
            f"({VISIBLE}= in front of the command)."
        )
    told = False
    while (numbers := _lock(present, request.ranks)) is None:
        if not told:
            wanted = f"waiting for {request.ranks} of the GPUs {', '.join(present)}"
            print(wanted, file=sys.stderr, flush=True)
            told = True
        time.sleep(POLL_SECONDS)
    os.environ[VISIBLE] = os.environ[TAKEN] = ",".join(numbers)


def keep() -> None:
    """In a rank: shows it the job's GPUs, and holds them for as long as it lives.

    The launcher may be killed while its ranks go on.
    """
    if TAKEN in os.environ:
        os.environ[VISIBLE] = os.environ[TAKEN]
        for name in os.environ[TAKEN].split(","):
            number = _open(name)
            fcntl.flock(number, fcntl.LOCK_SH)
            _held.append(number)
        _keep_folder()


def _lock(names: Iterable[str], count: int) -> list[str] | None:
    """The first `count` free ones, locked; None, and none locked, if there are fewer.

    One process deals at a time: a lock that becomes a shared one is let go of for a moment.
    """
    dealing = _open("dealing")
    try:
        fcntl.flock(dealing, fcntl.LOCK_EX)
        return _lock_free(names, count)
    finally:
        os.close(dealing)


def _lock_free(names: Iterable[str], count: int) -> list[str] | None:
    found: dict[str, int] = {}
    for name in names:
        number = _open(name)
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(number)
            continue
        found[name] = number
        if len(found) == count:
            for each in found.values():
                fcntl.flock(each, fcntl.LOCK_SH)  # the ranks share it
            _held.extend(found.values())
            _keep_folder()
            return list(found)
    for each in found.values():
        os.close(each)
    return None


def _keep_folder() -> None:
    """What removes old temporary files leaves a folder that is locked (tmpfiles.d(5))."""
    number = os.open(_folder(), os.O_RDONLY)
    fcntl.flock(number, fcntl.LOCK_SH)
    _held.append(number)


def _open(name: str) -> int:
    """A file of all users, to be locked. Nobody writes it: Linux forbids opening others' files for
    that in such a folder where they might be created (fs.protected_regular)."""
    path = _folder() / name.replace("/", "_")
    if not path.exists():
        # Linked, so that nobody sees it before all may read it.
        number, made = tempfile.mkstemp(prefix=".", dir=path.parent)
        os.fchmod(number, 0o644)
        os.close(number)
        with suppress(FileExistsError):
            os.link(made, path)
        Path(made).unlink()
    return os.open(path, os.O_RDONLY)


def _folder() -> Path:
    """Where every user may make files, and nobody remove another's."""
    folder = _place() / FOLDER
    if not folder.is_dir():
        made = Path(tempfile.mkdtemp(prefix=f".{FOLDER}-", dir=folder.parent))
        made.chmod(0o1777)
        try:
            made.rename(folder)
        except OSError:  # another process was faster
            made.rmdir()
    return folder


def _place() -> Path:
    """The folder of all jobs of this machine.

    Raises:
        ConfigError: the one that was named is none.
    """
    if given := os.environ.get(LOCKS):
        if not Path(given).is_dir():
            raise ConfigError(f"{LOCKS}={given} is no folder. Make it, for all users: mode 1777.")
        return Path(given)
    if (Path(PLACE) / FOLDER).is_dir() or os.access(PLACE, os.W_OK | os.X_OK):
        return Path(PLACE)
    other = tempfile.gettempdir()
    _warn(
        f"warning: {PLACE} cannot be written: the GPUs' locks are in {other}. Jobs that have "
        f"theirs elsewhere may take the same GPUs: give all of them one folder, {LOCKS}=<folder>."
    )
    return Path(other)


@cache
def _warn(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
