"""Time and signals of a launcher that waits; tests have their own."""

from __future__ import annotations

import signal
import time
from types import FrameType


class Clock:
    """Waits until a time has passed or a signal arrives, which it keeps."""

    def __init__(self) -> None:
        self.pending: int | None = None
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.pending = self.pending or number

    def now(self) -> float:
        """Seconds since 1970."""
        return time.time()

    def pause(self, seconds: float) -> None:
        """Waits, but not longer than until a signal."""
        end = time.monotonic() + seconds
        while self.pending is None and (left := end - time.monotonic()) > 0:
            time.sleep(min(0.2, left))
