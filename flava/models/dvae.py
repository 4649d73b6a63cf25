"""A discrete VAE: the image tokenizer that gives MIM and MMM their targets.

It takes the role of DALL-E's dVAE in BEiT and FLAVA (Section 3.2): convolutions down to a grid of
logits over a codebook, a Gumbel-softmax sample of codes, convolutions back to pixels.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from flava.config import CodebookConfig
from flava.errors import DataError


class ResidualBlock(nn.Module):
    """x + convolutions(x)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 1)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Same shape."""
        change_BCHW: Tensor = self.conv2(functional.relu(self.conv1(functional.relu(x_BCHW))))
        return x_BCHW + change_BCHW


class DiscreteVAE(nn.Module):
    """Encoder to code logits and decoder from codes to pixels."""

    def __init__(self, config: CodebookConfig) -> None:
        super().__init__()
        self.config = config
        width, halvings = config.width, config.downsample.bit_length() - 1
        encoder: list[nn.Module] = []
        for step in range(halvings):
            encoder += [nn.Conv2d(width if step else 3, width, 4, stride=2, padding=1), nn.ReLU()]
        encoder += [ResidualBlock(width) for _ in range(config.layers)]
        self.encoder = nn.Sequential(*encoder, nn.ReLU(), nn.Conv2d(width, config.codebook_size, 1))
        self.codebook = nn.Embedding(config.codebook_size, width)
        decoder: list[nn.Module] = [ResidualBlock(width) for _ in range(config.layers)]
        for _ in range(halvings):
            decoder += [nn.ReLU(), nn.ConvTranspose2d(width, width, 4, stride=2, padding=1)]
        self.decoder = nn.Sequential(*decoder, nn.ReLU(), nn.Conv2d(width, 3, 1))

    def forward(self, pixels_BCHW: Tensor, temperature: float) -> dict[str, Tensor]:
        """`loss_terms`, so that wrappers of the model see its parameters used."""
        return self.loss_terms(pixels_BCHW, temperature)

    def logits(self, pixels_BCHW: Tensor) -> Tensor:
        """Logits logits_BKHW over K codes for pixels in [0, 1].

        Raises:
            DataError: the image is not a multiple of `downsample`.
        """
        height, width = pixels_BCHW.shape[-2:]
        if height % self.config.downsample or width % self.config.downsample:
            raise DataError(
                f"The dVAE makes one token of {self.config.downsample} x {self.config.downsample} "
                f"pixels and cannot divide an image of {height} x {width}. Resize it to a multiple."
            )
        found: Tensor = self.encoder(2 * pixels_BCHW - 1)
        return found

    def loss_terms(self, pixels_BCHW: Tensor, temperature: float) -> dict[str, Tensor]:
        """Mean squared error of a relaxed sample, and KL to the uniform prior in nats a token.

        The sample's Gumbel noise comes from torch's default generator.

        Args:
            pixels_BCHW: float in [0, 1].
            temperature: of the Gumbel-softmax, annealed towards 0.
        """
        logits_BKHW = self.logits(pixels_BCHW).float()
        uniform = torch.rand_like(logits_BKHW).clamp_(1e-9, 1 - 1e-7)
        gumbel = -torch.log(-torch.log(uniform))
        codes_BKHW = functional.softmax((logits_BKHW + gumbel) / temperature, dim=1)
        log_p_BKHW = functional.log_softmax(logits_BKHW, dim=1)
        entropy = -(log_p_BKHW.exp() * log_p_BKHW).sum(dim=1).mean()
        return {
            "reconstruction": functional.mse_loss(self._decode(codes_BKHW).float(), pixels_BCHW),
            "kl": math.log(self.config.codebook_size) - entropy,
        }

    @torch.no_grad()
    def encode_tokens(self, pixels_BCHW: Tensor) -> Tensor:
        """Most probable code of each grid cell: tokens_BP int64, row-major; pixels in [0, 1]."""
        tokens_BHW: Tensor = self.logits(pixels_BCHW).argmax(dim=1)
        return tokens_BHW.flatten(1)

    @torch.no_grad()
    def decode_tokens(self, tokens_BHW: Tensor) -> Tensor:
        """Pixels in [0, 1] of a grid of codes, to look at what the tokens keep."""
        return self._out(self.codebook(tokens_BHW).permute(0, 3, 1, 2)).clamp(0, 1)

    def _decode(self, codes_BKHW: Tensor) -> Tensor:
        mixed_BCHW = torch.einsum("bkhw,kc->bchw", codes_BKHW, self.codebook.weight)
        return self._out(mixed_BCHW)

    def _out(self, embedded_BCHW: Tensor) -> Tensor:
        pixels: Tensor = self.decoder(embedded_BCHW)
        return (pixels + 1) / 2
