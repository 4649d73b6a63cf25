"""Counts what a training step keeps for its backward pass: how many samples a GPU can hold.

    python -m benchmarks.memory --gpu-gb 80

Bytes of all tensors that autograd saves in the forward pass under bf16 autocast, each once, at two
batch sizes: the difference is a sample's. Weights, gradients and AdamW's moments come to 16 bytes a
parameter, bf16 copies of the weights to 2 more. It is counted on the CPU, whose autocast leaves
norms in bf16 where a GPU's makes them fp32, and what lives only while an operation runs is not in
it; so a share of the GPU is left free.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from benchmarks.cases import SIZES, Size, multimodal_batch
from benchmarks.contestants import ONE_RANK
from flava.config import ClipConfig
from flava.errors import run_cli
from flava.models import Clip, Flava
from flava.train.precision import autocast

PAIR_LENGTH, TEXT_LENGTH = 77, 512  # tokens, as `pretrain` has by default
# Losses, and tokens of a text.
STEPS: dict[str, tuple[list[str], int]] = {
    "FLAVA_C, pairs": (["global_contrastive"], PAIR_LENGTH),
    "FLAVA, pairs": (["global_contrastive", "mmm_image", "mmm_text", "itm"], PAIR_LENGTH),
    "FLAVA, images": (["mim"], PAIR_LENGTH),
    "FLAVA, texts": (["mlm"], TEXT_LENGTH),
    "CLIP, pairs": (["global_contrastive"], PAIR_LENGTH),
}
BATCHES = (2, 4)
STATE_BYTES = 18  # a parameter: fp32 weight, gradient, two moments, and a bf16 copy
FREE = 0.2  # share of the GPU that is not counted on
BATCH = 8192  # Table A.1
RANKS = (8, 16, 32, 64)


@dataclass(frozen=True)
class Memory:
    """What a rank needs: `state` bytes whatever the batch, and `sample` bytes of each sample."""

    state: int
    sample: float

    def samples(self, gpu_bytes: float) -> int:
        """How many samples at one time such a GPU holds."""
        return max(0, math.floor(((1 - FREE) * gpu_bytes - self.state) / self.sample))

    def accumulate(self, gpu_bytes: float, batch: int, ranks: int) -> int | None:
        """Fewest micro-batches that divide a rank's share and fit; None: not even one sample."""
        share = batch // ranks
        fitting = self.samples(gpu_bytes)
        return next(
            (n for n in range(1, share + 1) if share % n == 0 and share // n <= fitting), None
        )


def saved_bytes(
    model: nn.Module,
    size: Size,
    objectives: Sequence[str],
    length: int | None,
    precision: str = "bf16",
) -> int:
    """Bytes that the graph of one forward pass holds beside the parameters."""
    tokens = torch.zeros(size.batch_size, size.config.grid**2, dtype=torch.int64)
    batch = replace(multimodal_batch(size, 0, length), image_tokens_BP=tokens)
    found: dict[int, int] = {}

    def keep(x: Tensor) -> Tensor:
        storage = x.untyped_storage()
        found[storage.data_ptr()] = storage.nbytes()
        return x

    with (
        torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x),
        autocast(torch.device("cpu"), precision),
    ):
        graph = model(batch, objectives, ONE_RANK)  # keeps every address in use
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    total = sum(n for address, n in found.items() if address not in weights)
    del graph
    return total


def memory(name: str, size: Size) -> Memory:
    """Of a step of `STEPS` at this size; CLIP is ViT-B/16 at any. Texts are as long as can be."""
    model: nn.Module = Clip(ClipConfig()) if name.startswith("CLIP") else Flava(size.config)
    objectives, length = STEPS[name]
    length = min(length, size.config.max_text_length)
    few, many = (
        saved_bytes(model, replace(size, batch_size=n), objectives, length) for n in BATCHES
    )
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return Memory(STATE_BYTES * parameters, (many - few) / (BATCHES[1] - BATCHES[0]))


def header(gigabytes: float) -> str:
    """Head of the table of docs/performance.md."""
    cells = ["step", "MB a sample", "GB of weights, moments", f"samples in {gigabytes:g} GB"]
    cells += [f"`accumulate` on {ranks} ranks" for ranks in RANKS]
    return f"| {' | '.join(cells)} |\n{'|---' * len(cells)}|"


def line(name: str, found: Memory, gigabytes: float) -> str:
    """A row of that table, for the paper's batch."""
    cells = [name, f"{found.sample / 1e6:,.0f}", f"{found.state / 1e9:.1f}"]
    cells.append(f"{found.samples(1e9 * gigabytes):,}")
    cells += [str(found.accumulate(1e9 * gigabytes, BATCH, ranks) or "none") for ranks in RANKS]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--gpu-gb", type=float, default=80.0, help="memory of a GPU")
    given = parser.parse_args()
    print(header(given.gpu_gb))
    for name in STEPS:
        print(line(name, memory(name, SIZES["base"]), given.gpu_gb), flush=True)


if __name__ == "__main__":
    run_cli(main)
