"""FLAVA's image, text and multimodal encoders (Section 3.1, Table A.1).

Each returns hidden states before its final norm, which the fusion encoder reads; `norm` gives what
the losses and evaluations read (Hugging Face and torchmultimodal do the same).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from flava.config import FlavaConfig
from flava.errors import DataError
from flava.models.rows import Rows, first
from flava.models.transformer import LayerNorm, Transformer


class PatchEmbedding(nn.Module):
    """Linear patch embedding, a CLS token and learned positions (ViT)."""

    def __init__(self, image_size: int, patch_size: int, width: int, bias: bool) -> None:
        super().__init__()
        self.image_size = image_size
        self.patch_size = patch_size
        self.grid = image_size // patch_size
        self.projection = nn.Linear(3 * patch_size**2, width, bias=bias)
        self.cls_token = nn.Parameter(torch.zeros(width))
        self.position_embeddings = nn.Parameter(torch.zeros(1 + self.grid**2, width))

    def patches(self, pixels_BCHW: Tensor) -> Tensor:
        """Embedded patches without positions: x_BPD, row-major.

        Raises:
            DataError: the image is not a square multiple of the patch size.
        """
        batch, channels, height, width = pixels_BCHW.shape
        side = self.patch_size
        if channels != 3 or height != width or height % side:
            raise DataError(
                f"Images of shape {channels} x {height} x {width} cannot be cut into patches of "
                f"{side} x {side}. Resize them to {self.image_size} x {self.image_size} RGB."
            )
        grid = height // side
        cut = pixels_BCHW.reshape(batch, 3, grid, side, grid, side).permute(0, 2, 4, 1, 3, 5)
        embedded: Tensor = self.projection(cut.reshape(batch, grid * grid, -1))
        return embedded

    def forward(self, patches_BPD: Tensor) -> Tensor:
        """[CLS] and patches with positions, bicubically resized for another grid."""
        batch, count, _ = patches_BPD.shape
        cls_B1D = self.cls_token.expand(batch, 1, -1)
        return torch.cat([cls_B1D, patches_BPD], dim=1) + self._positions(count)

    def _positions(self, count: int) -> Tensor:
        if count == self.grid**2:
            return self.position_embeddings
        grid = round(count**0.5)
        table = self.position_embeddings[1:].T.reshape(1, -1, self.grid, self.grid)
        resized = functional.interpolate(table, (grid, grid), mode="bicubic", align_corners=False)
        return torch.cat([self.position_embeddings[:1], resized.flatten(2)[0].T])


class ImageEncoder(nn.Module):
    """ViT with a mask token."""

    def __init__(self, config: FlavaConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.embedding = PatchEmbedding(config.image_size, config.patch_size, width, bias=True)
        self.mask_token = nn.Parameter(torch.zeros(width))
        self.transformer = _transformer(config, config.image_layers)
        self.norm = LayerNorm(width, eps=config.layer_norm_eps)

    def forward(
        self,
        patches_BPD: Tensor,
        patch_mask_BP: Tensor | None = None,
        read_BI: Tensor | None = None,
    ) -> Tensor:
        """Hidden states before `norm`: x_BID of [CLS_I] and patches; or x_RD of those read.

        Args:
            patches_BPD: from `embedding.patches`.
            patch_mask_BP: bool, True patches are replaced by the mask token.
            read_BI: bool, True where a loss reads.
        """
        if patch_mask_BP is not None:
            mask = patch_mask_BP[:, :, None]
            # In fp32: at the start its gradient exceeds what fp16 holds (docs/training.md).
            patches_BPD = torch.where(mask, self.mask_token, patches_BPD)
        hidden: Tensor = self.transformer(self.embedding(patches_BPD), read_BL=read_BI)
        return hidden

    def cls(self, pixels_BCHW: Tensor) -> Tensor:
        """[CLS_I] after the final norm: BD."""
        patches_BPD = self.embedding.patches(pixels_BCHW)
        batch, count, _ = patches_BPD.shape
        read_BI = first(batch, 1 + count, patches_BPD.device)
        cls_BD: Tensor = self.norm(self(patches_BPD, read_BI=read_BI))
        return cls_BD


class TextEncoder(nn.Module):
    """The same blocks over BERT's embeddings: word + position + token type, then a norm."""

    def __init__(self, config: FlavaConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.token_embeddings = nn.Embedding(config.vocab_size, width)
        self.position_embeddings = nn.Embedding(config.max_text_length, width)
        # Pretraining uses type 0 alone; the second text of a pair in fine-tuning has type 1.
        self.token_type_embeddings = nn.Embedding(2, width)
        self.embedding_norm = LayerNorm(width, eps=config.layer_norm_eps)
        self.transformer = _transformer(config, config.text_layers)
        self.norm = LayerNorm(width, eps=config.layer_norm_eps)

    def forward(
        self,
        text_BL: Tensor,
        attention_BL: Tensor,
        read_BL: Tensor | None = None,
        types_BL: Tensor | None = None,
    ) -> Tensor:
        """Hidden states before `norm`: x_BLD of [CLS] and tokens; or x_RD of those read.

        Args:
            text_BL: ids, padded.
            attention_BL: bool, False on padding, whose states are zeros.
            read_BL: bool, True where a loss reads; False on padding.
            types_BL: 0 or 1, BERT's token types; none: 0 everywhere.

        Raises:
            DataError: the text is longer than the position table.
        """
        length, longest = text_BL.shape[1], self.position_embeddings.num_embeddings
        check_text_length(length, longest)
        types = self.token_type_embeddings
        embedded_BLD = (
            self.token_embeddings(text_BL)
            + (types.weight[0] if types_BL is None else types(types_BL))
            + self.position_embeddings.weight[:length]
        )
        hidden: Tensor = self.transformer(
            self.embedding_norm(embedded_BLD), attention_BL, read_BL=read_BL
        )
        return hidden

    def cls(self, text_BL: Tensor, attention_BL: Tensor, types_BL: Tensor | None = None) -> Tensor:
        """[CLS] after the final norm: BD."""
        read_BL = first(len(text_BL), text_BL.shape[1], text_BL.device)
        cls_BD: Tensor = self.norm(self(text_BL, attention_BL, read_BL, types_BL))
        return cls_BD


class MultimodalEncoder(nn.Module):
    """Fusion encoder over [CLS_M], [CLS_I], patches, text; no positions of its own."""

    def __init__(self, config: FlavaConfig) -> None:
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(config.hidden_size))
        self.transformer = _transformer(config, config.multimodal_layers)
        self.norm = LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(
        self,
        image_BID: Tensor,
        text_ND: Tensor,
        attention_BL: Tensor,
        read_BS: Tensor | None = None,
    ) -> Tensor:
        """Hidden states before `norm`, x_BSD; or x_RD of those at the True places of `read_BS`.

        Args:
            image_BID: projected states of [CLS_I] and patches.
            text_ND: projected states of the N tokens that are not padding, row by row.
            attention_BL: bool, False on padding.
            read_BS: bool, True where a loss reads; False on padding.
        """
        batch, image_length, _ = image_BID.shape
        cls_B1D = self.cls_token.expand(batch, 1, -1)
        text_BLD = Rows.of(attention_BL).pad(text_ND)
        attend_image = attention_BL.new_ones(batch, 1 + image_length)
        hidden: Tensor = self.transformer(
            torch.cat([cls_B1D, image_BID, text_BLD], dim=1),
            torch.cat([attend_image, attention_BL], dim=1),
            read_BL=read_BS,
        )
        return hidden


def check_text_length(length: int, longest: int) -> None:
    """Refuses a text that is longer than the position table.

    Raises:
        DataError: says both lengths.
    """
    if length > longest:
        raise DataError(
            f"A text of {length} tokens does not fit the model's {longest} text positions. "
            "Truncate it when it is tokenized."
        )


def _transformer(config: FlavaConfig, layers: int) -> Transformer:
    return Transformer(
        layers,
        config.hidden_size,
        config.num_attention_heads,
        config.intermediate_size,
        config.layer_norm_eps,
    )
