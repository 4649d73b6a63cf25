"""Which errors the launcher tries again; the messages are PyTorch's own, of 2.13."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from flava.io import read_json
from tests.ports import free_ports
from workflow.launch.passing import is_passing
from workflow.launch.step import Step, read_reports

GLOO = "[/__w/pytorch/pytorch/third_party/gloo/gloo/transport/tcp/"
ADVICE = (
    "\nSearch for `cudaErrorAssert' in the CUDA documentation.\nCompile with `TORCH_USE_CUDA_DSA` "
    "to enable device-side assertions.\n"
)


@pytest.mark.parametrize(
    "message",
    [
        f"RuntimeError: {GLOO}pair.cc:553] Connection closed by peer [127.0.0.1]:6323.",
        f"RuntimeError: {GLOO}unbound_buffer.cc:78] Timed out waiting 4000ms for recv operation",
        "RuntimeError: NCCL communicator was aborted on rank 1.",
        "torch.distributed.DistBackendError: NCCL error in: ProcessGroupNCCL.cpp:1, remote error",
        "torch.distributed.DistNetworkError: The client socket has timed out after 3000ms",
        f"torch.AcceleratorError: CUDA error: unspecified launch failure{ADVICE}",
        f"RuntimeError: CUDA error: uncorrectable ECC error encountered{ADVICE}",
        "RuntimeError: CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm(...)`",
        "RuntimeError: [enforce fail at inline_container.cc:672] . unexpected pos 704 vs 598",
        "OSError: [Errno 116] Stale file handle",
        "OSError: [Errno 5] Input/output error: 'data/pairs/shard-000.tar'",
        "ConnectionResetError: [Errno 104] Connection reset by peer",
        "Another process is training this run: it holds lock",
    ],
)
def test_errors_of_the_surroundings_may_pass(message: str) -> None:
    assert is_passing(message)


@pytest.mark.parametrize(
    "message",
    [
        "RuntimeError: mat1 and mat2 shapes cannot be multiplied (2x3 and 2x3)",
        "RuntimeError: Error(s) in loading state_dict for Flava:\n\tgloo, NCCL, CUDA error",
        "RuntimeError: Expected all tensors to be on the same device, but found cuda:0 and cpu!",
        "RuntimeError: No CUDA GPUs are available",
        "RuntimeError",
        f"torch.AcceleratorError: CUDA error: device-side assert triggered{ADVICE}",
        f"RuntimeError: CUDA error: no kernel image is available for execution{ADVICE}",
        f"torch.AcceleratorError: CUDA error: out of memory{ADVICE}",
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB",
        "RuntimeError: CUDA error: CUBLAS_STATUS_INVALID_VALUE when calling `cublasSgemm(...)`",
        "OSError: [Errno 28] No space left on device",
        "OSError: [Errno 122] Disk quota exceeded",
        "FileNotFoundError: [Errno 2] No such file or directory: 'x'",
        "PermissionError: [Errno 13] Permission denied: 'x'",
        "KeyError: 'image'",
        "ValueError: a TimeoutError of gloo",
        "shard-000.tar, member 7: OSError: the image is truncated. Download it again.",
        "RuntimeErrors are no kind of error",
    ],
)
def test_other_errors_would_come_again(message: str) -> None:
    assert not is_passing(message)


def full_disk() -> None:
    with open("/dev/full", "w") as file:
        file.write("x")


REAL: dict[str, tuple[Callable[[], object], bool]] = {
    "shapes": (lambda: torch.ones(2, 3) @ torch.ones(2, 3), False),
    "state dict": (lambda: torch.nn.Linear(2, 2).load_state_dict({}), False),
    "unwritten checkpoint": (lambda: torch.save({"a": torch.ones(300_000)}, "/dev/full"), True),
    "full disk": (full_disk, False),
}


@pytest.mark.parametrize("name", REAL)
def test_real_errors_as_a_rank_tells_them(tmp_path: Path, name: str) -> None:
    fail, passes = REAL[name]
    with pytest.raises((RuntimeError, OSError)) as caught:
        fail()
    Step("pretrain", "c")._tell(tmp_path / "job_0.json", "crashed", caught.value)
    (report,) = read_reports(str(tmp_path / "job"), 1)
    assert report is not None and is_passing(report.message) is passes


PEERS = """\
import os, signal, sys
from pathlib import Path
from torch import distributed, ones
from workflow.launch.step import Step

os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": sys.argv[1], "WORLD_SIZE": "2"}
os.environ["RANK"] = rank = sys.argv[2]
distributed.init_process_group("gloo")
distributed.all_reduce(ones(1))
if rank == "1":
    os.kill(os.getpid(), signal.SIGKILL)
try:
    distributed.all_reduce(ones(1))
except Exception as error:
    Step("pretrain", "c")._tell(Path(sys.argv[3]), "crashed", error)
os._exit(0)
"""


def test_the_error_of_a_rank_whose_peer_was_killed_may_pass(root: Path, tmp_path: Path) -> None:
    (port,) = free_ports(1)
    report = tmp_path / "job_0.json"
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", PEERS, str(port), str(rank), str(report)],
            env={**os.environ, "PYTHONPATH": str(root)},
            stderr=subprocess.DEVNULL,
        )
        for rank in (0, 1)
    ]
    codes = [process.wait(120) for process in ranks]
    assert codes == [0, -signal.SIGKILL]
    assert is_passing(read_json(report)["message"])
