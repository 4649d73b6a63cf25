"""Pre-norm transformer blocks (ViT) with scaled-dot-product attention."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from flava.models.rows import Read, Rows


class LayerNorm(nn.LayerNorm):
    """LayerNorm in float32 whatever the autocast dtype, as Section 3.4 has it."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalises the last dimension; float32 out."""
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(x.float())


class QuickGELU(nn.Module):
    """x * sigmoid(1.702 x), the activation of OpenAI's CLIP weights."""

    def forward(self, x: Tensor) -> Tensor:
        """Elementwise."""
        return x * torch.sigmoid(1.702 * x)


class Block(nn.Module):
    """x + attention(norm1(x)), then x + mlp(norm2(x)) (ViT; Hugging Face `FlavaLayer`)."""

    def __init__(
        self, width: int, heads: int, mlp_width: int, eps: float, quick: bool = False
    ) -> None:
        super().__init__()
        self.heads = heads
        self.dropout = 0.0
        self.drop_path = 0.0
        self.norm1 = LayerNorm(width, eps=eps)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.norm2 = LayerNorm(width, eps=eps)
        self.fc1 = nn.Linear(width, mlp_width)
        self.activation: nn.Module = QuickGELU() if quick else nn.GELU()
        self.fc2 = nn.Linear(mlp_width, width)

    def forward(
        self, x_ND: Tensor, rows: Rows, causal: bool = False, read: Read | None = None
    ) -> Tensor:
        """One block.

        Args:
            x_ND: the tokens of all sequences, without padding.
            rows: how they make up the sequences.
            causal: each token attends to itself and those before it.
            read: tokens wanted; the others serve as keys and values only.

        Returns:
            The tokens, or x_RD of those read.
        """
        query, key, value = self._heads(self.norm1(x_ND), rows, read)
        attend = None if rows.attend_BL is None else rows.attend_BL[:, None, None, :]
        if causal and read is not None:
            positions_L = torch.arange(rows.length, device=x_ND.device)
            attend = (positions_L <= read.column_BQ[:, :, None])[:, None]
        elif causal:
            attend = None  # padding comes after the tokens, which do not look ahead
        attended = functional.scaled_dot_product_attention(
            query, key, value, attend, dropout_p=self._p(), is_causal=causal and read is None
        )
        query_rows = rows if read is None else read.rows
        x = x_ND if read is None else x_ND.index_select(0, read.index_R)
        attended_ND = query_rows.pack(attended.transpose(1, 2).flatten(2))
        x = x + self._branch(self.out(attended_ND), query_rows)
        return x + self._branch(self.fc2(self.activation(self.fc1(self.norm2(x)))), query_rows)

    def _heads(self, x_ND: Tensor, rows: Rows, read: Read | None) -> tuple[Tensor, Tensor, Tensor]:
        if read is None:
            query, key, value = rows.pad(self.qkv(x_ND)).chunk(3, dim=-1)
        else:
            weights, biases = self.qkv.weight.tensor_split((x_ND.shape[1],)), self.qkv.bias
            query_bias, key_value_bias = biases.tensor_split((x_ND.shape[1],))
            x_RD = x_ND.index_select(0, read.index_R)
            query = read.rows.pad(functional.linear(x_RD, weights[0], query_bias))
            both = functional.linear(x_ND, weights[1], key_value_bias)
            key, value = rows.pad(both).chunk(2, dim=-1)
        return self._split(query), self._split(key), self._split(value)

    def _split(self, x_BLD: Tensor) -> Tensor:
        return x_BLD.view(*x_BLD.shape[:2], self.heads, -1).transpose(1, 2)

    def _p(self) -> float:
        return self.dropout if self.training else 0.0

    def _branch(self, x_ND: Tensor, rows: Rows) -> Tensor:
        """A residual branch after dropout and stochastic depth."""
        if not self.training:
            return x_ND
        if self.dropout:
            x_ND = functional.dropout(x_ND, self.dropout)
        if self.drop_path:
            keep = 1 - self.drop_path
            x_ND = x_ND * rows.spread(x_ND.new_empty(rows.batch).bernoulli_(keep) / keep)
        return x_ND


class Transformer(nn.Module):
    """A stack of blocks without the final norm."""

    def __init__(
        self, layers: int, width: int, heads: int, mlp_width: int, eps: float, quick: bool = False
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            Block(width, heads, mlp_width, eps, quick) for _ in range(layers)
        )

    def forward(
        self,
        x_BLD: Tensor,
        attend_BL: Tensor | None = None,
        causal: bool = False,
        read_BL: Tensor | None = None,
    ) -> Tensor:
        """All blocks; the last one works only where it is read.

        Args:
            x_BLD: the embedded sequences.
            attend_BL: bool, False on padding, on which no layer works; with `causal` it comes last.
            causal: each token attends to itself and those before it.
            read_BL: bool, the tokens wanted, none of them padding.

        Returns:
            x_BLD with zeros on the padding; or x_RD of the R tokens wanted, row by row.
        """
        rows = Rows(*x_BLD.shape[:2]) if attend_BL is None else Rows.of(attend_BL)
        read = None if read_BL is None else Read.of(read_BL, rows)
        x_ND = rows.pack(x_BLD)
        for block in self.blocks[:-1]:
            x_ND = block(x_ND, rows, causal)
        last: Tensor = self.blocks[-1](x_ND, rows, causal, read)
        return rows.pad(last) if read is None else last


def set_dropout(module: nn.Module, p: float) -> None:
    """Sets attention and residual dropout of all blocks: 0 in pretraining."""
    for block in module.modules():
        if isinstance(block, Block):
            block.dropout = p


def set_drop_path(module: nn.Module, rate: float) -> None:
    """Sets stochastic depth of every stack of blocks, rising linearly from 0 to `rate`.

    In training, each sample skips a residual branch of the last block with probability `rate`, of
    the first with none; branches kept are scaled so that the expectation stays.

    Args:
        module: contains the stacks.
        rate: in [0, 1).

    Source: DINO, `vision_transformer.py` (`drop_path_rate`), and BEiT: 0.1.
    """
    for stack in module.modules():
        if isinstance(stack, Transformer):
            for depth, block in enumerate(stack.blocks):
                assert isinstance(block, Block)
                block.drop_path = rate * depth / max(1, len(stack.blocks) - 1)
