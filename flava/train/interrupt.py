"""Signals to a run: Ctrl-C and SIGTERM end it at once; a scheduler's warning lets it save first."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import torch
import torch.distributed as dist

from flava.train.distributed import Ranks


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


class SaveRequests:
    """Requests to save that reach rank 0 of a training loop between two updates or within one."""

    def __init__(self, ranks: Ranks) -> None:
        self.ranks = ranks
        self.act: Callable[[], None] | None = None

    def pending(self) -> bool:
        """Whether rank 0 was asked to save; all ranks call it, and all get the same answer."""
        asked = self.act is not None
        if self.ranks.world_size == 1:
            return asked
        flag = torch.tensor([float(asked)], device=self.ranks.device)
        dist.broadcast(flag, src=0)
        return bool(flag.item())

    def answer(self) -> None:
        """Does what was to follow the saving on rank 0; the other ranks end."""
        if not self.ranks.first:
            raise SystemExit(0)
        if self.act is not None:
            self.act()


_current: SaveRequests | None = None


@contextmanager
def save_requests(ranks: Ranks) -> Iterator[SaveRequests]:
    """While it lasts, `save_then` waits for the loop."""
    global _current
    _current = requests = SaveRequests(ranks)
    try:
        yield requests
    finally:
        _current = None


def save_then(act: Callable[[], None]) -> None:
    """Calls `act` when the running loop has saved; at once where no loop runs.

    Safe in a signal handler: it only leaves a note for the loop.
    """
    if _current is None:
        act()
    else:
        _current.act = act
