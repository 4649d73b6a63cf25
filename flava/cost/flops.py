"""FLOPs of layers, forward and backward."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Flops:
    """Multiplications and additions; `backward` is 0 where nothing is trained."""

    forward: float = 0.0
    backward: float = 0.0

    @property
    def total(self) -> float:
        """Forward and backward."""
        return self.forward + self.backward

    def __add__(self, other: Flops) -> Flops:
        return Flops(self.forward + other.forward, self.backward + other.backward)

    def __mul__(self, times: float) -> Flops:
        return Flops(self.forward * times, self.backward * times)

    @property
    def inference(self) -> Flops:
        """The forward pass alone."""
        return Flops(self.forward)


def add(parts: Iterable[Flops]) -> Flops:
    """Their sum."""
    return sum(parts, Flops())


def linear(rows: float, width_in: int, width_out: int, input_grad: bool = True) -> Flops:
    """A linear layer over `rows` vectors.

    Args:
        input_grad: whether the backward pass goes on to the layer's input; the weight's gradient
            costs as much again.
    """
    forward = 2.0 * rows * width_in * width_out
    return Flops(forward, forward * (2 if input_grad else 1))


def attention(queries: float, keys: float, width: int) -> Flops:
    """Scores and weighted sum of all heads together; masks, causal ones too, save nothing."""
    forward = 4.0 * queries * keys * width
    return Flops(forward, 2 * forward)


def block(length: float, reads: float, width: int, mlp_width: int) -> Flops:
    """A transformer block (`flava.models.transformer.Block`).

    Args:
        length: positions of the sequence, all of them keys and values.
        reads: positions that are queries and go on to the MLP.
    """
    return add(
        [
            linear(reads, width, width),
            linear(length, width, 2 * width),
            attention(reads, length, width),
            linear(reads, width, width),
            linear(reads, width, mlp_width),
            linear(reads, mlp_width, width),
        ]
    )


def transformer(layers: int, length: float, reads: float, width: int, mlp_width: int) -> Flops:
    """A stack of blocks; the last one works at `reads` positions only."""
    whole = block(length, length, width, mlp_width)
    return whole * (layers - 1) + block(length, reads, width, mlp_width)


def prediction_head(rows: float, width: int, vocabulary: int) -> Flops:
    """BERT's head over masked positions (`flava.models.heads.MaskedPredictionHead`)."""
    return linear(rows, width, width) + linear(rows, width, vocabulary)


def patch_embedding(patches: int, patch_size: int, width: int) -> Flops:
    """Patches of an image; no gradient goes to pixels."""
    return linear(patches, 3 * patch_size**2, width, input_grad=False)
