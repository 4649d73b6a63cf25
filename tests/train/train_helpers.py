"""Settings of the tiny study, and ranks as processes of this machine."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor, nn

from flava.config import CodebookConfig, OptimConfig
from flava.io import write_json
from flava.jobs import CodebookJob
from flava.train import code_usage
from flava.train.optim import make_optimizer
from tests.ports import free_ports

Tree = dict[str, Any]
ROOT = Path(__file__).resolve().parents[2]


def codebook_job(root: Path, **changes: Any) -> CodebookJob:
    """The tiny study's codebook job, some settings of its codebook replaced."""
    small = {
        "codebook_size": 32, "downsample": 4, "width": 16, "layers": 1, "updates": 40,
        "batch_size": 16, "checkpoint_updates": 10, "log_updates": 10,
    }  # fmt: skip
    return CodebookJob(
        study="tiny",
        seed=0,
        codebook=CodebookConfig.model_validate(small | changes),
        grid=4,
        crop_scale_min=0.9,
        bad_image_fraction=0.01,
        corpora={name: str(root / name) for name in ("pairs", "images")},
        output=str(root / "codebook"),
        checkpoints=str(root / "codebook-checkpoints"),
    )


def elsewhere(job: CodebookJob, folder: Path) -> CodebookJob:
    """The same job with its output and checkpoints in `folder`."""
    paths = {"output": str(folder), "checkpoints": str(folder / "checkpoints")}
    return job.model_copy(update=paths)


def moved(tree: Tree, folder: Path, **changes: Any) -> Tree:
    """The same run in other folders, some settings of its `pretrain` or `recipe` changed.

    The folders are part of a run's identity.
    """
    part = "recipe" if "recipe" in tree else "pretrain"
    paths = {"output": str(folder / "run"), "checkpoints": str(folder / "checkpoints")}
    return tree | paths | {part: tree[part] | changes}


def write_config(tree: Tree) -> str:
    """A run's plain data as its config.json; returns the path."""
    path = Path(tree["output"]) / "config.json"
    write_json(path, tree)
    return str(path)


def check_decay(model: nn.Module, config: OptimConfig) -> None:
    """Matrices decay; biases, norms and single vectors do not."""
    groups = make_optimizer(model, config).param_groups
    decays = {id(p): group["weight_decay"] > 0 for group in groups for p in group["params"]}
    for name, parameter in model.named_parameters():
        single = name.endswith((".bias", "cls_token", "position_embeddings", "mask_token"))
        assert decays[id(parameter)] != (single or "norm" in name), name


class KilledError(Exception):
    """In the place of a kill."""


@contextmanager
def killed_after_images(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What exports image tokens in here dies after the images', before the pairs'."""
    encode = code_usage.encode_corpus

    def killed(model: Any, crops: Any, name: str, *rest: Any) -> Any:
        if name == "pairs":
            raise KilledError
        return encode(model, crops, name, *rest)

    with monkeypatch.context() as patch, pytest.raises(KilledError):
        patch.setattr(code_usage, "encode_corpus", killed)
        yield


def model_bytes(tree: Tree) -> bytes:
    """The weights file that the run has exported."""
    return (Path(tree["output"]) / "model" / "model.safetensors").read_bytes()


def start_rank(
    arguments: list[str], rank: int, world_size: int, port: int, cwd: Path
) -> subprocess.Popen[str]:
    """`python <arguments>` as one rank, in folder `cwd`."""
    variables = {
        "RANK": rank,
        "LOCAL_RANK": rank,
        "WORLD_SIZE": world_size,
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": port,
        "OMP_NUM_THREADS": 1,
        "PYTHONPATH": ROOT,
    }
    return subprocess.Popen(
        [sys.executable, *arguments],
        env=os.environ | {name: str(value) for name, value in variables.items()},
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run_ranks(arguments: list[str], world_size: int, cwd: Path, timeout: float = 400) -> list[str]:
    """Runs all ranks to their end and returns their stdout; fails with stderr otherwise."""
    (port,) = free_ports(1)
    ranks = [start_rank(arguments, rank, world_size, port, cwd) for rank in range(world_size)]
    try:
        outputs = [process.communicate(timeout=timeout) for process in ranks]
    finally:
        for process in ranks:
            process.kill()
    failed = [
        error for process, (_, error) in zip(ranks, outputs, strict=True) if process.returncode
    ]
    assert not failed, "\n".join(failed)
    return [output for output, _ in outputs]


@dataclass(frozen=True)
class Source:
    """Losses of batches whose terms are their samples, or those that `counts` names."""

    function: Callable[[Any], dict[str, Tensor]]
    names: Sequence[str]
    counts: dict[str, int] = field(default_factory=dict)

    def terms(self, batch: Any) -> dict[str, int]:
        """Of one batch."""
        count = len(batch.keys)
        return {name: self.counts.get(batch.keys[0], count) for name in self.names}

    def prepare(self, batches: Any, update: int, scale: float) -> tuple[Any, dict[str, Tensor]]:
        """Nothing is known beforehand."""
        return batches, {}

    def losses(self, batch: Any, update: int) -> dict[str, Tensor]:
        """Of one batch."""
        return self.function(batch)


def job(
    config: str,
    ranks: int = 1,
    plan: str = "none",
    sharding: str = "none",
    function: str = "flava.train.pretrain:pretrain",
) -> Tree:
    """One job of killed_runs.py; `function` is <module>:<name of what a launcher starts>."""
    options = {} if sharding == "none" else {"sharding": sharding}
    tree = {"config": config, "ranks": ranks, "plan": plan, "function": function}
    return tree | {"options": options}


def check_killed_and_continued(
    write: Callable[[str], tuple[str, Path]], function: str, files: list[str], ranks: int = 1
) -> None:
    """A run killed at many points ends with the files of a run that was left alone.

    Args:
        write: name -> (configuration file, output folder) of the same run in another folder.
        function: what a launcher starts.
        files: what must be equal, below the output folder.
        ranks: of every job.
    """
    (whole, whole_folder), (broken, broken_folder) = write("whole"), write("broken")
    points = ["sync:5", "half:2", "export"]
    jobs = [job(whole, ranks, function=function)]
    jobs += [job(broken, ranks, plan, function=function) for plan in (*points, "none")]
    codes = run_jobs(jobs)
    assert codes[0] == codes[-1] == [0] * ranks
    assert [each[0] for each in codes[1:-1]] == [-signal.SIGKILL] * len(points)
    for name in files:
        assert (whole_folder / name).read_bytes() == (broken_folder / name).read_bytes(), name
    logs = [clean_log({"output": str(folder)}) for folder in (whole_folder, broken_folder)]
    assert logs[0] == logs[1]


def run_jobs(jobs: list[Tree]) -> list[list[int]]:
    """Runs training jobs, one after another; returns the exit codes of their ranks."""
    program = Path(__file__).with_name("killed_runs.py")
    command = [sys.executable, str(program), json.dumps(jobs)]
    done = subprocess.run(
        command, env=environment(), capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    codes = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")]
    assert len(codes) == len(jobs), (done.stdout, done.stderr)
    return codes


def environment() -> dict[str, str]:
    """This process's environment for a program that runs alone, on one thread."""
    return os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


def read_log(tree: Tree) -> list[dict[str, str]]:
    """Rows of a run's log.csv."""
    with open(Path(tree["output"]) / "log.csv", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def clean_log(tree: Tree) -> list[dict[str, str]]:
    """Rows without the time columns."""
    times = ("seconds", "samples_per_second")
    return [{k: v for k, v in row.items() if k not in times} for row in read_log(tree)]
