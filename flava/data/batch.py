"""One batch of one kind of data: what the loader makes and the objectives read."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """Tensors of one (micro-)batch; fields that a kind does not have are None.

    Attributes:
        kind: one of `flava.config.Kind`.
        pixels_BCHW: float32, CLIP-normalised.
        patch_mask_BP: bool, True where a patch is masked; P = grid x grid, row-major.
        image_tokens_BP: int64 dVAE codes of the same crop.
        text_BL: int64 unmasked ids with special tokens, padded to the longest row.
        text_masked_BL: int64, the same with masked positions replaced.
        text_labels_BL: int64 original ids at masked positions, -100 elsewhere.
        text_attention_BL: bool, False on padding.
        itm_labels_B: int64, 1 = image and text match, 0 = the text was replaced.
        counted_B: bool, rows that MMM and the contrastive loss count: the matching ones, or all
            where no pair of the whole update matches; None: to be told from `itm_labels_B`.
        embedding_gradients_2BD: of the contrastive loss of the whole update with respect to this
            batch's image and text embeddings, where that is worked out beforehand.
        keys: names of the samples, for error messages.
    """

    kind: str
    pixels_BCHW: Tensor | None = None
    patch_mask_BP: Tensor | None = None
    image_tokens_BP: Tensor | None = None
    text_BL: Tensor | None = None
    text_masked_BL: Tensor | None = None
    text_labels_BL: Tensor | None = None
    text_attention_BL: Tensor | None = None
    itm_labels_B: Tensor | None = None
    counted_B: Tensor | None = None
    embedding_gradients_2BD: Tensor | None = None
    keys: list[str] = field(default_factory=list)

    def to(self, device: torch.device) -> Batch:
        """The same batch on `device`."""
        moved: dict[str, Any] = {
            f.name: value.to(device, non_blocking=True)
            for f in fields(self)
            if isinstance(value := getattr(self, f.name), Tensor)
        }
        return replace(self, **moved)
