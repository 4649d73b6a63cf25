"""One contrastive step on W gloo processes that stand for R ranks; run as a script by the test.

Usage: python gather_case.py RANK WORLD_SIZE RANKS STORE OUTPUT
"""

from __future__ import annotations

import sys
from types import SimpleNamespace

import torch
import torch.distributed as dist
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from flava.config import ContrastiveConfig
from flava.objectives import contrastive_loss

MODES = ("global", "global_full", "local", "none", "openclip_2021")
ROWS, SHARE = 32, 8
# Rank 1 has no matching pair at all: it adds columns only.
SOME_NEGATIVE = [1, 0, 1, 1, 1, 0, 1, 1, *[0] * 8, *[1] * 8, 0, 1, 1, 0, 1, 1, 1, 1]
LABELS = {"positive": None, "mixed": SOME_NEGATIVE}


class Towers(nn.Module):
    """Two small networks and a temperature, the same on every process."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.image = nn.Sequential(nn.Linear(24, 48), nn.GELU(), nn.Linear(48, 16))
        self.text = nn.Sequential(nn.Linear(24, 48), nn.GELU(), nn.Linear(48, 16))
        self.logit_scale = nn.Parameter(torch.tensor(2.6592))

    def forward(self, images: Tensor, texts: Tensor) -> tuple[Tensor, Tensor]:
        image, text = self.image(images), self.text(texts)
        return functional.normalize(image, dim=-1), functional.normalize(text, dim=-1)


def global_batch() -> tuple[Tensor, Tensor]:
    """Texts that share part of their input with their images."""
    generator = torch.Generator().manual_seed(7)
    images = torch.randn(ROWS, 24, generator=generator)
    return images, images + 0.5 * torch.randn(ROWS, 24, generator=generator)


def hf_step(backprop: bool, rank: int, world: int) -> Tensor:
    """The same through Hugging Face's contrastive head, on real ranks."""
    from transformers.models.flava.modeling_flava import FlavaGlobalContrastiveHead

    head = FlavaGlobalContrastiveHead(SimpleNamespace(global_backprop_contrastive=backprop))
    towers = Towers()
    images, texts = global_batch()
    own = slice(rank * ROWS // world, (rank + 1) * ROWS // world)
    to_text, to_image, targets = head(*towers(images[own], texts[own]), towers.logit_scale)
    losses = [functional.cross_entropy(logits, targets) for logits in (to_text, to_image)]
    return average(sum(losses) / 2, towers, world)


def step(mode: str, ranks: int, labels: list[int] | None, rank: int, world: int) -> Tensor:
    """[loss, gradient of logit_scale, gradient of the towers], averaged over processes as DDP."""
    towers = Towers()
    images, texts = global_batch()
    own = slice(rank * ROWS // world, (rank + 1) * ROWS // world)
    image, text = towers(images[own], texts[own])
    counted = None if labels is None else torch.tensor(labels)[own].bool()
    config = ContrastiveConfig(gather=mode, ranks=ranks)
    loss = contrastive_loss(image, text, towers.logit_scale, counted, config)
    return average(loss, towers, world)


def average(loss: Tensor, towers: Towers, world: int) -> Tensor:
    """What DistributedDataParallel makes of loss and gradients."""
    loss.backward()
    parts = [loss.detach().view(1), towers.logit_scale.grad.view(1)]
    parts += [p.grad.flatten() for side in (towers.image, towers.text) for p in side.parameters()]
    result = torch.cat(parts)
    if world > 1:
        dist.all_reduce(result)
    return result / world


def all_steps(ranks: int, rank: int, world: int) -> dict[str, Tensor]:
    return {
        f"{mode}/{name}": step(mode, ranks, labels, rank, world)
        for mode in MODES
        for name, labels in LABELS.items()
    }


def main() -> None:
    rank, world, ranks = (int(value) for value in sys.argv[1:4])
    dist.init_process_group(
        "gloo", init_method=f"file://{sys.argv[4]}", rank=rank, world_size=world
    )
    results = all_steps(ranks, rank, world)
    if world < ranks:
        # Importing transformers is slow: only where two processes do it, not four.
        for mode, backprop in (("global", True), ("none", False)):
            results[f"hf/{mode}"] = hf_step(backprop, rank, world)
            results[f"two/{mode}"] = step(mode, world, None, rank, world)
    if rank == 0:
        save_file(results, sys.argv[5])
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
