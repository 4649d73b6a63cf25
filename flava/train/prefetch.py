"""Reading the next batches while the accelerator works on this one."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

BatchT = TypeVar("BatchT")
MOST_THREADS = 16  # each holds a whole update of one rank


def reading_threads(ranks_here: int) -> int:
    """Threads to read with: the processors that this process may use, shared by its node's ranks.

    SLURM binds a task to its own processors; other launchers leave all of them to every rank, so
    `ranks_here` divides them where the process may use them all.
    """
    usable, present = len(os.sched_getaffinity(0)), os.cpu_count() or 1
    own = usable // ranks_here if usable == present else usable
    return max(1, min(own - 1, MOST_THREADS))  # one processor feeds the accelerator


def prefetched(
    batch: Callable[[int, int], BatchT], updates: Iterable[int], accumulate: int, ahead: int
) -> Iterator[tuple[int, list[BatchT]]]:
    """(update, its micro-batches) in order; `ahead` updates are read in as many other threads.

    A batch is a pure function of (update, micro-batch), so reading ahead changes no content and
    needs no state in a checkpoint. Decoding and resizing images leaves Python's lock to others.
    With `ahead` 0 everything happens in the calling thread.
    """

    def read(update: int) -> list[BatchT]:
        return [batch(update, micro) for micro in range(accumulate)]

    if ahead == 0:
        for update in updates:
            yield update, read(update)
        return
    waiting: deque[tuple[int, Future[list[BatchT]]]] = deque()
    with ThreadPoolExecutor(max_workers=ahead) as threads:
        try:
            for update in updates:
                waiting.append((update, threads.submit(read, update)))
                if len(waiting) > ahead:
                    first, future = waiting.popleft()
                    yield first, future.result()
            while waiting:
                first, future = waiting.popleft()
                yield first, future.result()
        finally:
            threads.shutdown(cancel_futures=True)
