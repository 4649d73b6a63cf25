"""One Snakemake at a time in a folder, also after `kill -9`.

Snakemake's own locks outlive a killed process and ask for `--unlock`; the default profile turns
them off. The kernel lets go of this one when its process ends, however that happens.
"""

from __future__ import annotations

import fcntl
import os
import sys
from pathlib import Path

from flava.errors import FlavaError, permitted

_held: list[int] = []  # open as long as the process lives


class BusyError(FlavaError):
    """Another Snakemake is at work."""


@permitted()
def hold(path: str, study: str) -> None:
    """Takes the lock for the rest of this process, and tells others which study it runs.

    Raises:
        BusyError: another process holds it.
        ForbiddenError: it is another user's alone.
    """
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    number = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(number)
        raise BusyError(
            f"Another Snakemake is at work in this folder: it holds {path}. "
            "Wait for it, or stop it."
        ) from None
    except OSError as error:  # a file system without locks
        print(f"warning: {path} cannot be locked ({error})", file=sys.stderr)
    os.truncate(number, 0)
    os.write(number, study.encode())
    _held.append(number)


@permitted()
def holder(path: str) -> str | None:
    """The study that another process runs under the lock; None: nobody does.

    Raises:
        ForbiddenError: it is another user's alone.
    """
    if _held or not Path(path).is_file():
        return None
    number = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(number, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return os.read(number, 1000).decode()
    except OSError:  # a file system without locks
        return None
    finally:
        os.close(number)
    return None
