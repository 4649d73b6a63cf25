"""What a call takes of memory, whatever else the test process does meanwhile."""

import tracemalloc
from collections.abc import Callable


def peak_bytes(call: Callable[[], object]) -> int:
    """The least of three calls' peaks of traced memory, in bytes.

    A late import, or what other tests left running in the process, allocates during one call; a
    call's own memory is in all of them.
    """
    return min(_peak(call) for _ in range(3))


def _peak(call: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
