"""Steps that the launcher's tests run on real ranks."""

from __future__ import annotations

import os
from pathlib import Path


def write_rank(config: str) -> None:
    """Writes this rank's environment beside `config`."""
    rank = os.environ.get("RANK", "alone")
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
    names += ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
    text = " ".join(f"{name}={os.environ.get(name)}" for name in names)
    Path(f"{config}.rank{rank}").write_text(text)


def hold_gpus(config: str) -> None:
    """Says which GPUs this rank may see, until told to end."""
    import time

    path = Path(f"{config}.gpus{os.environ.get('RANK', 'alone')}")
    path.with_suffix(".tmp").write_text(os.environ.get("CUDA_VISIBLE_DEVICES", "unset"))
    path.with_suffix(".tmp").rename(path)
    while not Path(f"{config}.end").is_file():
        time.sleep(0.05)


def write_sharding(config: str, sharding: str = "none") -> None:
    """Writes what the launcher asks for."""
    Path(f"{config}.sharding{os.environ.get('RANK', 'alone')}").write_text(sharding)


def sum_ranks(config: str) -> None:
    """Sums 1 over all ranks through a real process group."""
    import torch
    from torch import distributed

    distributed.init_process_group("gloo", init_method="env://")
    one = torch.ones(1)
    distributed.all_reduce(one)
    if distributed.get_rank() == 0:
        Path(f"{config}.sum").write_text(str(int(one)))
    distributed.destroy_process_group()


def fail_on_rank_1(config: str) -> None:
    """Fails on one rank alone."""
    from flava.errors import TrainingError

    if os.environ.get("RANK") == "1":
        raise TrainingError("the loss is not finite at update 7")


def write_to_a_full_disk(config: str) -> None:
    """Meets the device that is always full."""
    with open("/dev/full", "w") as file:
        file.write("x")


def wait(config: str) -> None:
    """Says its process's number, and works for an hour."""
    import time

    path = Path(f"{config}.pid{os.environ['RANK']}")
    path.with_suffix(".tmp").write_text(str(os.getpid()))
    path.with_suffix(".tmp").rename(path)
    time.sleep(3600)
