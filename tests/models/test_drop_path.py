"""Stochastic depth of the transformer's blocks."""

from __future__ import annotations

import torch
from torch import Tensor

from flava.models.rows import Rows
from flava.models.transformer import Transformer, set_drop_path


def stack(layers: int = 3) -> Transformer:
    torch.manual_seed(0)
    return Transformer(layers, width=8, heads=2, mlp_width=16, eps=1e-6)


def rates(transformer: Transformer) -> list[float]:
    return [block.drop_path for block in transformer.blocks]


def test_the_rate_rises_linearly_over_depth() -> None:
    transformer = stack()
    assert rates(transformer) == [0, 0, 0]
    set_drop_path(torch.nn.Sequential(transformer), 0.1)
    assert rates(transformer) == [0, 0.05, 0.1]
    single = stack(layers=1)
    set_drop_path(single, 0.1)
    assert rates(single) == [0]


def test_evaluation_skips_nothing() -> None:
    x_BLD, transformer = torch.randn(4, 5, 8), stack().eval()
    whole_BLD = transformer(x_BLD)
    set_drop_path(transformer, 0.5)
    assert torch.equal(transformer(x_BLD), whole_BLD)


def test_a_sample_skips_the_whole_branch_or_gets_it_scaled() -> None:
    transformer = stack(layers=2)
    block = transformer.blocks[-1]
    set_drop_path(transformer, 0.25)
    attend_BL = torch.ones(4000, 3, dtype=torch.bool)
    attend_BL[::2, 2] = False
    rows = Rows.of(attend_BL)
    x_BLD = torch.randn(1, 3, 8).expand(4000, 3, 8) * attend_BL[:, :, None]
    torch.manual_seed(1)
    with torch.no_grad():
        branch_BLD = rows.pad(block._branch(rows.pack(x_BLD), rows))
    kept_B = branch_BLD[:, 0, 0] != 0
    torch.testing.assert_close(branch_BLD[kept_B], x_BLD[kept_B] / 0.75)
    assert branch_BLD[~kept_B].abs().max() == 0
    assert 0.72 < float(kept_B.float().mean()) < 0.78  # 4 standard errors


def test_the_draws_follow_the_seed() -> None:
    transformer = stack()
    set_drop_path(transformer, 0.5)
    x_BLD = torch.randn(16, 5, 8)

    def output(seed: int) -> Tensor:
        torch.manual_seed(seed)
        with torch.no_grad():
            return transformer(x_BLD)

    assert torch.equal(output(1), output(1))
    assert not torch.equal(output(1), output(2))
