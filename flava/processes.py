"""What a process runs on: ranks, machine and versions, as checkpoints and records keep it."""

from __future__ import annotations

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from pydantic import Field, PositiveInt

from flava.config import NonNegativeFloat, Strict

PACKAGES = ("torch", "numpy", "pillow", "tokenizers", "safetensors", "scikit-learn", "pydantic")


class Hardware(Strict):
    """The machine of rank 0."""

    cpu: str
    cores: PositiveInt
    gpus: list[str]


class Process(Strict):
    """What the process of rank 0 runs on, and how many ranks there are."""

    ranks: PositiveInt
    hardware: Hardware
    python: str
    packages: dict[str, str]

    @property
    def versions(self) -> dict[str, str]:
        """Python and packages -> version."""
        return {"Python": self.python, **self.packages}

    def gpu_seconds(self, seconds: float) -> float:
        """Of that many seconds of work; one GPU a rank, none on a machine without."""
        return seconds * self.ranks if self.hardware.gpus else 0.0


class Work(Strict):
    """Work of processes that ran on the same."""

    seconds: NonNegativeFloat
    process: Process | None = Field(description="None: an old checkpoint that does not say")


def this_process() -> Process:
    """What this process runs on; GPUs count if it has loaded torch."""
    return Process(
        ranks=int(os.environ.get("WORLD_SIZE", "1")),
        hardware=_hardware(),
        python=platform.python_version(),
        packages=_packages(),
    )


def added(work: list[Work], more: list[Work]) -> list[Work]:
    """Both, with the seconds of equal processes added up, in the order of the first of each."""
    found: list[Work] = []
    for each in [*work, *more]:
        same = next((i for i, old in enumerate(found) if old.process == each.process), None)
        if same is None:
            found.append(each)
        else:
            both = found[same].seconds + each.seconds
            found[same] = each.model_copy(update={"seconds": both})
    return found


def other_versions(work: list[Work], now: Process) -> str:
    """'torch 2.6.0 (before: 2.5.1), …' of what earlier processes had otherwise; may be empty."""
    before = [each.process.versions for each in work if each.process is not None]
    parts = []
    for name in dict.fromkeys(name for known in [now.versions, *before] for name in known):
        mine = now.versions.get(name, "none")
        others = dict.fromkeys(known.get(name, "none") for known in before)
        others.pop(mine, None)
        parts += [f"{name} {mine} (before: {', '.join(others)})"] if others else []
    return ", ".join(parts)


def _packages() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def _hardware() -> Hardware:
    gpus: list[str] = []
    torch = sys.modules.get("torch")  # a step that never loaded torch used no GPU
    if torch is not None and torch.cuda.is_available():
        gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return Hardware(cpu=_cpu_model(), cores=os.cpu_count() or 1, gpus=gpus)


def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
