"""One encoder with its masked-prediction head: FLAVA's MIM and MLM, and what pretrains encoders."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from flava.config import FlavaConfig
from flava.data.batch import Batch
from flava.models.backbone import field
from flava.models.encoders import ImageEncoder, TextEncoder
from flava.models.heads import MaskedPredictionHead
from flava.objectives.masked import IGNORE


def predict_patches(
    encoder: ImageEncoder, head: MaskedPredictionHead, batch: Batch
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
    """FLAVA's image encoder with an MIM head (BEiT); parameter names are those in `Flava`."""

    def __init__(self, config: FlavaConfig) -> None:
        super().__init__()
        self.image_encoder = ImageEncoder(config)
        self.mim_head = MaskedPredictionHead(
            config.hidden_size, config.codebook_size, config.head_layer_norm_eps
        )
        self.apply(lambda module: initialise(module, config.initializer_range))

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """See `predict_patches`."""
        return predict_patches(self.image_encoder, self.mim_head, batch)


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
