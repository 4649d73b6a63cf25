"""Ctrl-C and SIGTERM end a command-line run at once."""

from __future__ import annotations

import os
import signal
from types import FrameType


def exit_on_signals(message: str) -> None:
    """From now on SIGINT and SIGTERM print `message` and end the process with 128 + their number.

    Only for the command line: a launcher that calls `pretrain` in its own process (submitit)
    handles signals itself. Nothing is saved on the way out: checkpoints are written regularly and
    atomically, so that a kill that cannot be caught is no worse.
    """

    def leave(number: int, frame: FrameType | None) -> None:
        text = f"\n{signal.Signals(number).name}: {message}; run the same command to continue\n"
        os.write(2, text.encode())
        os._exit(128 + number)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, leave)
