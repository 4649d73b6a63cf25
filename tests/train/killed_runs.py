"""A program that trains on several ranks, again and again, killed each time at another point.

    python killed_runs.py '[{"function": "flava.train.pretrain:pretrain", "config": <config.json>,
                             "ranks": 1, "plan": "none"}, ...]'

The function is what a launcher starts: <module>:<name>, called with the path of the configuration.
Each rank is a forked process, so that the imports are paid once. A plan ends in a real SIGKILL of
rank 0. The exit codes of the ranks (-9: killed) are printed as one JSON list a job.
    seconds:<s>     at that time after the start
    sync:<n>        before the n-th flush of a file or folder (four a checkpoint; with shards three
                    more: two files and their folder)
    mark:<n>        when the n-th checkpoint is whole
    half:<n>        in the n-th checkpoint, with half of its bytes written
    export          when the model folder is written, before the record
    ask:<n>         in the n-th update rank 0 is asked to save first, and then ends with status 75
    none            never: the run must end by itself
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from flava.train import checkpoint, finish, interrupt, loop
from tests.ports import free_ports


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def at_call(number: int, function: Callable[..., object]) -> Callable[..., object]:
    """`function`, with a kill in place of its n-th call."""
    calls = 0

    def wrapped(*args: object, **kwargs: object) -> object:
        nonlocal calls
        calls += 1
        if calls == number:
            kill()
        return function(*args, **kwargs)

    return wrapped


def after_call(number: int, function: Callable[..., object]) -> Callable[..., object]:
    """`function`, with a kill after its n-th call."""
    calls = 0

    def wrapped(*args: object, **kwargs: object) -> object:
        nonlocal calls
        calls += 1
        result = function(*args, **kwargs)
        if calls == number:
            kill()
        return result

    return wrapped


def save_half(number: int) -> Callable[[object, Path], None]:
    """torch.save, with a kill in the middle of the n-th file."""
    calls, save = 0, torch.save

    def wrapped(state: object, path: Path) -> None:
        nonlocal calls
        calls += 1
        save(state, path)
        if calls == number:
            os.truncate(path, path.stat().st_size // 2)
            kill()

    return wrapped


def ask_in(number: int) -> Callable[..., None]:
    """seed_update, with a scheduler's warning in its n-th call."""
    calls, seed = 0, loop.seed_update

    def warned(*_: object) -> None:
        interrupt.save_then(lambda: os._exit(75))

    def wrapped(*args: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == number:
            os.kill(os.getpid(), signal.SIGUSR2)
        seed(*args)

    signal.signal(signal.SIGUSR2, warned)
    return wrapped


def prepare_kill(plan: str) -> None:
    name, _, value = plan.partition(":")
    if name == "seconds":
        timer = threading.Timer(float(value), kill)
        timer.daemon = True
        timer.start()
    elif name == "sync":
        checkpoint._sync = at_call(int(value), checkpoint._sync)  # type: ignore[assignment]
    elif name == "mark":
        checkpoint.Checkpoints.clean = after_call(  # type: ignore[method-assign]
            int(value) + 1, checkpoint.Checkpoints.clean
        )  # the first call is the one at the start
    elif name == "half":
        torch.save = save_half(int(value))  # type: ignore[assignment]
    elif name == "export":
        finish.plot_curves = at_call(1, finish.plot_curves)  # type: ignore[assignment]
    elif name == "ask":
        loop.seed_update = ask_in(int(value))  # type: ignore[assignment]
    else:
        assert name == "none", plan


def run_rank(job: dict[str, Any], rank: int, port: int) -> None:
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(job["ranks"]),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    prepare_kill(job["plan"] if rank == 0 else "none")
    module, _, name = job["function"].partition(":")
    getattr(importlib.import_module(module), name)(job["config"], **job["options"])


def fork(job: dict[str, Any], rank: int, port: int) -> int:
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        run_rank(job, rank, port)
        code = 0
    finally:
        if code:
            traceback.print_exc()
        os._exit(code)


def main() -> None:
    torch.set_num_threads(1)
    warm_up()
    jobs = json.loads(sys.argv[1])
    for job in jobs:  # their imports are paid once too
        importlib.import_module(job["function"].partition(":")[0])
    for job in jobs:
        (port,) = free_ports(1)
        children = [fork(job, rank, port) for rank in range(job["ranks"])]
        codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        print(json.dumps(codes), flush=True)


def warm_up() -> None:
    """Triggers late imports once, before the forks."""
    import matplotlib.pyplot  # noqa: F401
    import torch.distributed.checkpoint.hf_storage

    torch.use_deterministic_algorithms(True)
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.AdamW([weight], fused=True)
    weight.sum().backward()
    optimizer.step()


if __name__ == "__main__":
    main()
