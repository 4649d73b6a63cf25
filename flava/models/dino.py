"""DINO's network: FLAVA's image encoder and a projection head onto prototypes."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from flava.config import DinoInitConfig, FlavaConfig
from flava.models.encoders import ImageEncoder
from flava.models.unimodal import initialise


class DinoHead(nn.Module):
    """MLP of three layers with GELU, an L2-normalised bottleneck, and weight-normalised prototypes.

    Source: DINO, `vision_transformer.py:DINOHead`, Appendix C of the paper.

    Args:
        width: of the encoder.
        config: widths of the head, and whether prototypes keep norm 1.
        std: of the MLP's initial weights (DINO: 0.02).
    """

    def __init__(self, width: int, config: DinoInitConfig, std: float) -> None:
        super().__init__()
        hidden, bottleneck = config.head_hidden, config.head_bottleneck
        self.mlp = nn.Sequential(
            nn.Linear(width, hidden),
            nn.GELU(),
            nn.Linear(hidden, hidden),
            nn.GELU(),
            nn.Linear(hidden, bottleneck),
        )
        for layer in self.mlp:
            initialise(layer, std)
        bound = bottleneck**-0.5  # torch.nn.Linear's own start, which DINO leaves as it is
        directions_KZ = torch.empty(config.out_dim, bottleneck).uniform_(-bound, bound)
        self.prototypes = nn.Parameter(directions_KZ)
        self.norms = None if config.norm_last_layer else nn.Parameter(torch.ones(config.out_dim))

    def forward(self, x_ND: Tensor) -> Tensor:
        """Outputs NK: cosines with the prototypes, times their norms; float32."""
        bottleneck_NZ = self.mlp(x_ND)
        # bf16 would round cosines to 1/256, a tenth after division by a temperature of 0.04
        with torch.autocast(x_ND.device.type, enabled=False):
            outputs_NK = functional.linear(
                functional.normalize(bottleneck_NZ.float(), dim=-1),
                functional.normalize(self.prototypes, dim=-1),
            )
            return outputs_NK if self.norms is None else outputs_NK * self.norms

    def last_layer(self) -> list[nn.Parameter]:
        """Parameters that are frozen at first."""
        return [self.prototypes] if self.norms is None else [self.prototypes, self.norms]


class DinoNetwork(nn.Module):
    """Encoder and head; the student and the teacher are two of them.

    [CLS] and the positions are drawn as DINO draws them; FLAVA's start at zero.
    """

    def __init__(self, config: FlavaConfig, recipe: DinoInitConfig) -> None:
        super().__init__()
        self.encoder = ImageEncoder(config)
        std = config.initializer_range
        self.encoder.apply(lambda module: initialise(module, std))
        embedding = self.encoder.embedding
        for table in (embedding.cls_token, embedding.position_embeddings):
            nn.init.trunc_normal_(table, std=std)
        self.head = DinoHead(config.hidden_size, recipe, std)

    def forward(self, pixels_NCHW: Tensor) -> tuple[Tensor, Tensor]:
        """[CLS] after the final norm, features_ND, and the head's outputs_NK."""
        features_ND = self.encoder.cls(pixels_NCHW)
        return features_ND, self.head(features_ND)
