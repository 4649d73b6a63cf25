"""What the numbers hold for, and how to time on it."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

_MATRIX_SIDE = 2048


def describe(device: torch.device) -> dict[str, Any]:
    """Processor, threads and versions."""
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
    elif info.is_file():
        models = [t for t in info.read_text().splitlines() if t.startswith("model name")]
        name = models[0].split(":", 1)[1].strip() if models else name
    return {
        "device": name,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def seconds_of(work: Callable[[], object], device: torch.device) -> float:
    """Wall time until the device has done the work."""
    synchronise(device)
    started = time.perf_counter()
    work()
    synchronise(device)
    return time.perf_counter() - started


def synchronise(device: torch.device) -> None:
    """Waits for an accelerator."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def matrix_peak(dtype: torch.dtype, device: torch.device) -> float:
    """FLOPs a second of the best of 20 products of large square matrices."""
    a = torch.randn(_MATRIX_SIDE, _MATRIX_SIDE, device=device).to(dtype)
    b = torch.randn(_MATRIX_SIDE, _MATRIX_SIDE, device=device).to(dtype)
    best = min(seconds_of(lambda: a @ b, device) for _ in range(20))
    return float(2 * _MATRIX_SIDE**3 / best)


def high_water_bytes(device: torch.device) -> int:
    """Most memory held so far: of an accelerator, or this process's resident set (Linux).

    Not getrusage's, which a process inherits from the one that started it.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    row = next(text for text in status.splitlines() if text.startswith("VmHWM"))
    return 1024 * int(row.split()[1])
