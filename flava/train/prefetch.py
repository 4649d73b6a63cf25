"""Reading the next batches while the accelerator works on this one."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

BatchT = TypeVar("BatchT")


def prefetched(
    batch: Callable[[int, int], BatchT], updates: Iterable[int], accumulate: int, ahead: int
) -> Iterator[tuple[int, list[BatchT]]]:
    """(update, its micro-batches) in order; up to `ahead` updates are read in one other thread.

    A batch is a pure function of (update, micro-batch), so reading ahead changes no content and
    needs no state in a checkpoint. With `ahead` 0 everything happens in the calling thread.
    """

    def read(update: int) -> list[BatchT]:
        return [batch(update, micro) for micro in range(accumulate)]

    if ahead == 0:
        for update in updates:
            yield update, read(update)
        return
    waiting: deque[tuple[int, Future[list[BatchT]]]] = deque()
    with ThreadPoolExecutor(max_workers=1) as thread:
        for update in updates:
            waiting.append((update, thread.submit(read, update)))
            if len(waiting) > ahead:
                first, future = waiting.popleft()
                yield first, future.result()
        while waiting:
            first, future = waiting.popleft()
            yield first, future.result()
