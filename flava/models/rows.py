"""Sequences of different lengths laid end to end, so that no layer works on padding."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Rows:
    """How N tokens make up B sequences of at most L tokens.

    All that works on single tokens (norms, linear layers) takes them packed, x_ND, in the order
    of the padded form without its padding; attention alone takes them padded, x_BLD.

    Attributes:
        batch: B.
        length: L.
        place_N: int64, where each token stands among the B * L places, ascending; None where the
            places are all taken, so that packed and padded are the same numbers.
        attend_BL: bool, False on padding; None where there is none.
    """

    batch: int
    length: int
    place_N: Tensor | None = None
    attend_BL: Tensor | None = None

    @classmethod
    def of(cls, attend_BL: Tensor) -> Rows:
        """Rows of the True places."""
        batch, length = attend_BL.shape
        place_N = attend_BL.flatten().nonzero()[:, 0]
        if len(place_N) == batch * length:
            return cls(batch, length)
        return cls(batch, length, place_N, attend_BL)

    def pack(self, x_BLD: Tensor) -> Tensor:
        """x_ND of the padded form."""
        x = x_BLD.flatten(0, 1)
        return x if self.place_N is None else x.index_select(0, self.place_N)

    def pad(self, x_ND: Tensor) -> Tensor:
        """x_BLD with zeros on the padding."""
        if self.place_N is not None:
            places = x_ND.new_zeros(self.batch * self.length, x_ND.shape[1])
            x_ND = places.index_copy_(0, self.place_N, x_ND)
        return x_ND.view(self.batch, self.length, -1)

    def spread(self, values_B: Tensor) -> Tensor:
        """A sequence's value at each of its tokens: N1."""
        values_M = values_B.repeat_interleave(self.length)
        return (values_M if self.place_N is None else values_M[self.place_N])[:, None]


@dataclass(frozen=True)
class Read:
    """The tokens of `Rows` that a loss reads.

    Attributes:
        index_R: int64, which of the N packed tokens.
        rows: how these R tokens make up the B sequences of what is read.
        column_BQ: int64, where in its sequence each stands, in the padded form of `rows`.
    """

    index_R: Tensor
    rows: Rows
    column_BQ: Tensor

    @classmethod
    def of(cls, read_BL: Tensor, rows: Rows) -> Read:
        """Those at the True places, none of which is padding."""
        index_R = rows.pack(read_BL[:, :, None])[:, 0].nonzero()[:, 0]
        count_B = read_BL.sum(dim=1)
        most = torch.arange(max(1, int(count_B.max())), device=read_BL.device)
        read_rows = Rows.of(most < count_B[:, None])
        column_R = read_BL.nonzero()[:, 1]
        return cls(index_R, read_rows, read_rows.pad(column_R[:, None])[:, :, 0])


def first(batch: int, length: int, device: torch.device) -> Tensor:
    """Bool mask BL of the first place of each sequence."""
    return (torch.arange(length, device=device) == 0).repeat(batch, 1)
