"""Pre-norm transformer blocks (ViT) with scaled-dot-product attention."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class LayerNorm(nn.LayerNorm):
    """LayerNorm in float32 whatever the autocast dtype, as supplement B.1 asks."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalises the last dimension; float32 out."""
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(x.float())


class QuickGELU(nn.Module):
    """x * sigmoid(1.702 x), the activation of OpenAI's CLIP weights."""

    def forward(self, x: Tensor) -> Tensor:
        """Elementwise."""
        return x * torch.sigmoid(1.702 * x)


def take(x_BLD: Tensor, index_BR: Tensor) -> Tensor:
    """Rows `index_BR` of each sequence: x_BRD."""
    return x_BLD.gather(1, index_BR[:, :, None].expand(-1, -1, x_BLD.shape[-1]))


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
        self,
        x_BLD: Tensor,
        attend: Tensor | None = None,
        causal: bool = False,
        read_BR: Tensor | None = None,
    ) -> Tensor:
        """One block.

        Args:
            x_BLD: the sequence.
            attend: bool mask that broadcasts to (B, heads, queries, L); True = may be attended.
            causal: each position attends to itself and those before it.
            read_BR: positions wanted; the others serve as keys and values only.

        Returns:
            The sequence, or x_BRD at the positions read.
        """
        query, key, value = self._heads(self.norm1(x_BLD), read_BR)
        attended = functional.scaled_dot_product_attention(
            query, key, value, attend, dropout_p=self._p(), is_causal=causal
        )
        x = x_BLD if read_BR is None else take(x_BLD, read_BR)
        x = x + self._branch(self.out(attended.transpose(1, 2).flatten(2)))
        return x + self._branch(self.fc2(self.activation(self.fc1(self.norm2(x)))))

    def _heads(self, x_BLD: Tensor, read_BR: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        width = x_BLD.shape[-1]
        if read_BR is None:
            query, key, value = self.qkv(x_BLD).chunk(3, dim=-1)
        else:
            weight, bias = self.qkv.weight, self.qkv.bias
            query = functional.linear(take(x_BLD, read_BR), weight[:width], bias[:width])
            key, value = functional.linear(x_BLD, weight[width:], bias[width:]).chunk(2, dim=-1)
        return self._split(query), self._split(key), self._split(value)

    def _split(self, x_BLD: Tensor) -> Tensor:
        return x_BLD.view(*x_BLD.shape[:2], self.heads, -1).transpose(1, 2)

    def _p(self) -> float:
        return self.dropout if self.training else 0.0

    def _branch(self, x_BLD: Tensor) -> Tensor:
        """A residual branch after dropout and stochastic depth."""
        if not self.training:
            return x_BLD
        if self.dropout:
            x_BLD = functional.dropout(x_BLD, self.dropout)
        if self.drop_path:
            keep = 1 - self.drop_path
            x_BLD = x_BLD * (x_BLD.new_empty(len(x_BLD), 1, 1).bernoulli_(keep) / keep)
        return x_BLD


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
        read_BR: Tensor | None = None,
    ) -> Tensor:
        """All blocks; the last one works only at `read_BR` where given.

        Args:
            x_BLD: the embedded sequence.
            attend_BL: bool, False on padding; not together with `causal`, which needs none
                where the padding comes last.
            causal: each position attends to itself and those before it.
            read_BR: int64 positions wanted.
        """
        attend = None if attend_BL is None else attend_BL[:, None, None, :]
        for block in self.blocks[:-1]:
            x_BLD = block(x_BLD, attend, causal)
        if causal and read_BR is not None:
            positions = torch.arange(x_BLD.shape[1], device=x_BLD.device)
            attend, causal = (positions <= read_BR[:, :, None])[:, None], False
        last: Tensor = self.blocks[-1](x_BLD, attend, causal, read_BR)
        return last


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
