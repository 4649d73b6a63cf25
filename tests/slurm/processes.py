"""Processes of this machine, from /proc: which ones belong to a job, a node, a session."""

from __future__ import annotations

import os
import signal
from pathlib import Path


def processes_of(conf: str, node: str, job: str) -> list[int]:
    """A job's processes on one node of the cluster with this configuration, their daemon first."""
    here = [
        pid
        for pid, (command, variables) in processes().items()
        if not command.startswith(b"slurmstepd:")
        and {f"SLURM_CONF={conf}", f"SLURMD_NODENAME={node}", f"SLURM_JOB_ID={job}"} <= variables
    ]
    daemons = {
        parent
        for pid in here
        if (parent := parent_of(pid)) and command_of(parent).startswith(b"slurmstepd:")
    }
    return [*sorted(daemons), *here]


def left_of_jobs(conf: str) -> list[int]:
    """Processes that jobs of a cluster have left, such as ranks whose node was lost."""
    mark = f"SLURM_CONF={conf}"
    return [
        pid
        for pid, (_, variables) in processes().items()
        if mark in variables and any(each.startswith("SLURMD_NODENAME=") for each in variables)
    ]


def processes() -> dict[int, tuple[bytes, set[str]]]:
    """Pid -> command line and environment, of all processes that can be read."""
    found = {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            variables = (path / "environ").read_bytes().decode(errors="replace").split("\0")
        except OSError:  # it has ended, or is not ours
            continue
        found[int(path.name)] = (command_of(int(path.name)), set(variables))
    return found


def command_of(pid: int) -> bytes:
    """Command line of a process; empty: there is none."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def parent_of(pid: int) -> int | None:
    """Pid of a process's parent; None: it has ended."""
    fields = stat_of(pid)
    return int(fields[1]) if fields else None


def session_of(pid: int) -> int | None:
    """Session of a process that runs; None: it has ended."""
    fields = stat_of(pid)
    return int(fields[3]) if fields and fields[0] != "Z" else None


def stat_of(pid: int) -> list[str]:
    """State, parent, group, session, … of a process; empty: it has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def end(pid: int) -> bool:
    """Kills a process; whether it was still there."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True
