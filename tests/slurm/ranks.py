"""Steps that the launcher's tests run on real ranks: small stand-ins for a training run."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from flava.io import read_json, write_json
from flava.records import make_record
from workflow.launch.step import Report, Step, report_path


class Ranked(Step):
    """A step whose function is one of this module."""

    def run(self):
        globals()[self.name](self.config)


class Light(Ranked):
    """A step without torch, whose import would take memory and most of the time."""

    def __call__(self):
        self.run()
        write_json(report_path(str(self.reports), 0), Report(ended="well").model_dump())


def grow(config: str) -> None:
    """Takes ever more memory."""
    _begin(read_json(config))
    taken = []
    while True:
        taken.append(bytearray(os.urandom(1 << 20)) * 32)


def environment(config: str) -> None:
    """Writes what this rank sees, and meets the others."""
    import torch
    from torch import distributed

    distributed.init_process_group("gloo", init_method="env://")
    one = torch.ones(1)
    distributed.all_reduce(one)
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "SLURM_NODEID", "CUDA_VISIBLE_DEVICES")
    seen = {name: os.environ.get(name) for name in (*names, "OMP_NUM_THREADS")}
    job = read_json(config)
    write_json(f"{job['output']}.{seen['RANK']}", {**seen, "sum": int(one)})
    distributed.barrier()
    distributed.destroy_process_group()
    _finish(job)


def count(config: str) -> None:
    """Counts to `updates`, one a tenth of a second, with a checkpoint after each.

    Held, it does not take the last one before it may (`Driven.make`); so does `train`.
    """
    job = read_json(config)
    first = os.environ.get("RANK", "0") == "0"
    if job.get("deaf"):
        signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    _begin(job)
    held = _held(job)
    checkpoint = Path(job["checkpoint"])
    done = int(checkpoint.read_text()) if checkpoint.is_file() else 0
    while done < job["updates"]:
        time.sleep(0.1)
        if done == job["updates"] - 1 and held():
            continue
        done += 1
        if first:
            _write(checkpoint, str(done))
    if first:
        _finish(job)


def train(config: str) -> None:
    """The loop of the trainers: it saves only when it is asked to."""
    from flava.train.distributed import gather_objects, joined_ranks
    from flava.train.interrupt import save_requests

    job = read_json(config)
    _begin(job)
    held = _held(job)
    checkpoint = Path(job["checkpoint"])
    with joined_ranks() as ranks:
        done = int(checkpoint.read_text()) if checkpoint.is_file() else 0
        with save_requests(ranks) as requests:
            while done < job["updates"]:
                time.sleep(0.1)
                if done < job["updates"] - 1 or not any(gather_objects(held())):
                    done += 1
                if ranks.first:
                    _write(Path(job["output"] + ".update"), str(done))
                if requests.pending():
                    if ranks.first:
                        _write(checkpoint, str(done))
                    requests.answer()
        if ranks.first:
            _finish(job)


def refuse(config: str) -> None:
    """Fails for a reason that would come again."""
    from flava.errors import DataError

    if os.environ["RANK"] == "1":
        raise DataError("shard-000.tar, member 7: the image is truncated. Download it again.")


def die(config: str) -> None:
    """Rank 1 dies as if the kernel had killed it, `deaths` times; rank 0 needs it alive."""
    job = read_json(config)
    _begin(job)
    alive = Path(job["output"] + ".alive")
    if os.environ["RANK"] == "1":
        if len(starts(job)) <= 2 * job["deaths"]:
            os.kill(os.getpid(), signal.SIGKILL)
        alive.touch()
        return
    while not alive.exists():
        time.sleep(0.1)
    _finish(job)


def starts(job: dict) -> list[dict]:
    """One entry a start of a rank, in order."""
    path = Path(job["output"] + ".starts")
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def _held(job: dict) -> Callable[[], bool]:
    """Whether this rank may not take the last update yet; asked once it has begun."""
    if job.get("hold") == "first start":
        first = len(starts(job)) <= int(os.environ["WORLD_SIZE"])
        return lambda: first
    return lambda: "hold" in job and not Path(job["hold"]).exists()


def _begin(job: dict) -> None:
    names = ("RANK", "SLURM_JOB_ID", "SLURM_RESTART_COUNT")
    text = json.dumps({name: os.environ.get(name) for name in names})
    _append(job["output"] + ".starts", text + "\n")


def _append(path: str, text: str) -> None:
    number = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(number, text.encode())
    os.close(number)


def _write(path: Path, text: str) -> None:
    temporary = path.with_suffix(".tmp")
    temporary.write_text(text)
    temporary.replace(path)


def _finish(job: dict) -> None:
    if os.environ.get("RANK", "0") == "0":
        write_json(job["output"], {"record": make_record("test", job, time.time())})
