"""Reading what comes next while the accelerator works on what is here."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import torch

ItemT = TypeVar("ItemT")
FoundT = TypeVar("FoundT")
MOST_THREADS = 16  # each holds a whole batch


def reading_threads(device: torch.device, ranks: int = 1) -> int:
    """Threads to read with: the processors of this process, shared by its node's ranks.

    0 on CPU, where data and model share the processors. SLURM binds a task to its own processors;
    other launchers leave all of them to every rank, so they are divided where all may be used.

    Args:
        device: that computes.
        ranks: processes of the run; no more than there are GPUs are on this node.
    """
    if device.type != "cuda":
        return 0
    usable, present = len(os.sched_getaffinity(0)), os.cpu_count() or 1
    own = usable // min(ranks, torch.cuda.device_count()) if usable == present else usable
    return max(1, min(own - 1, MOST_THREADS))  # one processor feeds the accelerator


def prefetched(
    read: Callable[[ItemT], FoundT], items: Iterable[ItemT], ahead: int
) -> Iterator[tuple[ItemT, FoundT]]:
    """(item, what `read` gives for it) in order; `ahead` of them are read in as many threads.

    `read` must be a function of the item alone: then reading ahead changes no content and needs no
    state in a checkpoint. Decoding and resizing images leaves Python's lock to others. With `ahead`
    0 everything happens in the calling thread.
    """
    if ahead == 0:
        for item in items:
            yield item, read(item)
        return
    waiting: deque[tuple[ItemT, Future[FoundT]]] = deque()
    with ThreadPoolExecutor(max_workers=ahead) as threads:
        try:
            for item in items:
                waiting.append((item, threads.submit(read, item)))
                if len(waiting) > ahead:
                    first, future = waiting.popleft()
                    yield first, future.result()
            while waiting:
                first, future = waiting.popleft()
                yield first, future.result()
        finally:
            threads.shutdown(cancel_futures=True)
