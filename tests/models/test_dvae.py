"""The image tokenizer."""

from __future__ import annotations

import pytest
import torch

from flava.config import CodebookConfig
from flava.errors import DataError
from flava.models import DiscreteVAE

SMALL = CodebookConfig(codebook_size=32, downsample=4, width=24, layers=1)


def squares(count: int) -> torch.Tensor:
    """Images of one coloured square on a coloured ground."""
    generator = torch.Generator().manual_seed(1)
    pixels = torch.rand(count, 3, 1, 1, generator=generator).expand(-1, -1, 16, 16).clone()
    corner = torch.randint(0, 9, (count, 2), generator=generator)
    colour = torch.rand(count, 3, 1, 1, generator=generator)
    for i, (row, column) in enumerate(corner.tolist()):
        pixels[i, :, row : row + 8, column : column + 8] = colour[i]
    return pixels


@pytest.mark.parametrize("downsample", [4, 8])
def test_one_token_a_cell_in_row_major_order(downsample: int):
    torch.manual_seed(0)
    dvae = DiscreteVAE(SMALL.model_copy(update={"downsample": downsample})).eval()
    pixels = squares(2)
    tokens, logits = dvae.encode_tokens(pixels), dvae.logits(pixels)
    side = 16 // downsample
    assert tokens.shape == (2, side * side)
    assert tokens.dtype == torch.int64
    assert logits.shape == (2, 32, side, side)
    assert tokens[1, side + 1] == logits[1, :, 1, 1].argmax()
    assert dvae.decode_tokens(tokens.view(2, side, side)).shape == pixels.shape


def test_training_reconstructs_and_uses_several_codes():
    torch.manual_seed(0)
    dvae, pixels = DiscreteVAE(SMALL), squares(256)
    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(dvae.parameters(), lr=3e-3)
    blank = ((pixels - pixels.mean(dim=(0, 2, 3), keepdim=True)) ** 2).mean().item()
    for step in range(150):
        batch = pixels[torch.randint(256, (32,), generator=generator)]
        terms = dvae(batch, max(0.1, 1.0 - step / 120))
        loss = terms["reconstruction"] + 1e-3 * terms["kl"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    tokens = dvae.encode_tokens(pixels)
    rebuilt = dvae.decode_tokens(tokens.view(-1, 4, 4))
    assert torch.nn.functional.mse_loss(rebuilt, pixels).item() < 0.8 * blank
    assert tokens.unique().numel() >= 8


def test_the_loss_is_a_function_of_the_random_state():
    torch.manual_seed(0)
    dvae, pixels = DiscreteVAE(SMALL), squares(4)
    losses = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        losses.append(dvae(pixels, 0.5)["reconstruction"].item())
    assert losses[0] == losses[1] != losses[2]


def test_kl_is_zero_for_uniform_codes():
    dvae = DiscreteVAE(SMALL)
    torch.nn.init.zeros_(dvae.encoder[-1].weight)
    torch.nn.init.zeros_(dvae.encoder[-1].bias)
    terms = dvae.loss_terms(squares(2), 1.0)
    assert terms["kl"].item() == pytest.approx(0.0, abs=1e-5)


def test_images_that_do_not_divide_are_refused():
    with pytest.raises(DataError, match="one token of 4 x 4 pixels and cannot divide"):
        DiscreteVAE(SMALL).encode_tokens(torch.zeros(1, 3, 18, 18))
