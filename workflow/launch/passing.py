"""Which errors another start may not meet again: those of the surroundings, a lost peer for one.

All others are taken for bugs, or for input that is wrong, and would come again. A rank that died
without a word is not judged here, and is tried again.
"""

from __future__ import annotations

import re

# By the kind of error: files, connections, torch.distributed, and CUDA's own.
KINDS = re.compile(
    r"OSError|IOError|\w*Connection\w*|TimeoutError|BrokenPipeError"
    r"|torch\.distributed\.\w+|torch\.AcceleratorError"
)
# PyTorch says the rest by RuntimeError, as it says that shapes do not fit; first lines of these.
WORDS = re.compile(
    r"gloo|NCCL|c10d|TCPStore"
    r"|CUDA error|CUDA driver error|cuDNN error|CUDNN_STATUS_|CUBLAS_STATUS_"
    r"|inline_container|PytorchStreamWriter",  # a checkpoint that could not be written
    re.IGNORECASE,
)
# Of both, what stays until somebody acts: full disks and GPUs, indices out of range, other GPUs
# than torch was built for, arguments that a library refuses.
LASTING = re.compile(
    r"No space left|quota exceeded|out of memory|device-side assert|invalid device ordinal"
    r"|no kernel image|driver version|INVALID_VALUE|NOT_SUPPORTED|BAD_PARAM",
    re.IGNORECASE,
)
# The only one of this project's own errors: the other process may be one that is just ending.
BUSY = "Another process is training this run"


def is_passing(message: str) -> bool:
    """Whether another start may do better.

    Args:
        message: `<kind>: <text>` of an exception, or the sentence of a FlavaError.
    """
    if message.startswith(BUSY):
        return True
    first = message.partition("\n")[0]  # CUDA's advice, below, is the same for all its errors
    kind, _, text = first.partition(": ")
    known = KINDS.fullmatch(kind) or (kind == "RuntimeError" and WORDS.search(text))
    return bool(known) and LASTING.search(text) is None
