"""Ports and numbers that test processes, which run side by side, do not take from each other."""

from __future__ import annotations

import os
import re
import socket
from itertools import count

# Not those that Linux deals out to clients (32768 and above) nor those where the ranks of
# SLURM's jobs meet (`meeting_port`: 20000 to 31999).
FIRST, LAST = 10_000, 19_999
_offsets = count()


def lane(of: int) -> int:
    """Number of this process below `of`; workers of one pytest have different ones."""
    worker = re.fullmatch(r"gw(\d+)", os.environ.get("PYTEST_XDIST_WORKER", ""))
    return (os.getppid() + int(worker[1]) if worker else os.getpid()) % of


def free_ports(number: int) -> list[int]:
    """Ports that nothing listens on; this process gets none of them again."""
    found: list[int] = []
    # Far from where the process with the next number begins.
    start = os.getpid() * 3701
    while len(found) < number:
        port = FIRST + (start + next(_offsets)) % (LAST - FIRST + 1)
        if is_free(port):
            found.append(port)
    return found


def is_free(port: int) -> bool:
    """Whether a server can listen on a port, on every address of this machine."""
    try:
        socket.create_server(("", port)).close()
    except OSError:
        return False
    return True
