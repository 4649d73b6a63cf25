"""One encoder with its masked-prediction head: FLAVA's MIM and MLM, and what pretrains encoders."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from flava.config import FlavaConfig
from flava.data.batch import Batch
from flava.models.backbone import field
from flava.models.encoders import ImageEncoder, TextEncoder
from flava.models.heads import MaskedPredictionHead
from flava.models.transformer import Block
from flava.objectives.masked import IGNORE


def predict_patches(
    encoder: ImageEncoder, head: Callable[[Tensor], Tensor], batch: Batch
) -> tuple[Tensor, Tensor]:
    """Logits logits_NV over codebook entries at the N masked patches, and their tokens_N."""
    mask_BP = field(batch, "patch_mask_BP")
    patches_BPD = encoder.embedding.patches(field(batch, "pixels_BCHW"))
    read_BI = functional.pad(mask_BP, (1, 0))  # [CLS_I] comes first
    hidden_ND = encoder.norm(encoder(patches_BPD, mask_BP, read_BI))
    return head(hidden_ND), field(batch, "image_tokens_BP")[mask_BP]


def predict_tokens(
    encoder: TextEncoder, head: MaskedPredictionHead, batch: Batch
) -> tuple[Tensor, Tensor]:
    """Logits logits_NV over the vocabulary at the N masked tokens, and their labels_N."""
    labels_BL = field(batch, "text_labels_BL")
    read_BL = labels_BL.ne(IGNORE)
    text_BL, attention_BL = field(batch, "text_masked_BL"), field(batch, "text_attention_BL")
    hidden_ND = encoder.norm(encoder(text_BL, attention_BL, read_BL))
    return head(hidden_ND), labels_BL[read_BL]


class MaskedImageModel(nn.Module):
    """FLAVA's image encoder under BEiT's head, a Linear (unilm `beit/modeling_pretrain.py`)."""

    def __init__(self, config: FlavaConfig) -> None:
        super().__init__()
        self.image_encoder = ImageEncoder(config)
        self.lm_head = nn.Linear(config.hidden_size, config.codebook_size)
        self._initialise(config.initializer_range)

    @torch.no_grad()
    def _initialise(self, std: float) -> None:
        """As BEiT: cut at one std; what ends block l's branches is divided by sqrt(2 l)."""
        embedding = self.image_encoder.embedding
        linears = [module for module in self.modules() if isinstance(module, nn.Linear)]
        tables = [embedding.cls_token, embedding.position_embeddings, self.image_encoder.mask_token]
        for table in (*tables, *(linear.weight for linear in linears)):
            nn.init.trunc_normal_(table, std=std, a=-std, b=std)
        for linear in linears:
            nn.init.zeros_(linear.bias)
        for number, block in enumerate(self.image_encoder.transformer.blocks, 1):
            assert isinstance(block, Block)
            for linear in (block.out, block.fc2):
                linear.weight /= math.sqrt(2 * number)

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """See `predict_patches`."""
        return predict_patches(self.image_encoder, self.lm_head, batch)


class MaskedTextModel(nn.Module):
    """FLAVA's text encoder with an MLM head; parameter names are those in `Flava`."""

    def __init__(self, config: FlavaConfig) -> None:
        super().__init__()
        self.text_encoder = TextEncoder(config)
        self.mlm_head = MaskedPredictionHead(
            config.hidden_size, config.vocab_size, config.head_layer_norm_eps
        )
        self.apply(lambda module: initialise(module, config.initializer_range))

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """See `predict_tokens`."""
        return predict_tokens(self.text_encoder, self.mlm_head, batch)


def initialise(module: nn.Module, std: float) -> None:
    """N(0, std), biases 0; CLS, mask and image position parameters stay 0 (HF and TMM)."""
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=std)
    if isinstance(module, nn.Linear):
        nn.init.zeros_(module.bias)
