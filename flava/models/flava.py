"""FLAVA: three encoders, six losses, features for evaluation (Sections 3.1 and 3.2)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from flava.config import FlavaConfig
from flava.data.batch import Batch
from flava.models.backbone import check_objectives, counted_rows, field
from flava.models.encoders import ImageEncoder, MultimodalEncoder, TextEncoder, first
from flava.models.heads import ItmHead, MaskedPredictionHead
from flava.models.unimodal import initialise, predict_patches, predict_tokens
from flava.objectives import (
    Contrastive,
    clamp_logit_scale,
    contrastive_loss,
    fusion_targets,
    itm_loss,
    mim_loss,
    mlm_loss,
    mmm_loss,
)
from flava.objectives.masked import IGNORE, read_positions
from flava.objectives.mmm import FIRST_PATCH

OBJECTIVES = {"mim", "mlm", "global_contrastive", "mmm_image", "mmm_text", "itm"}
FUSION_OBJECTIVES = {"mmm_image", "mmm_text", "itm"}


class Flava(nn.Module):
    """FLAVA with all heads; satisfies `flava.models.backbone.Backbone`."""

    def __init__(self, config: FlavaConfig) -> None:
        super().__init__()
        self.config = config
        width, eps = config.hidden_size, config.head_layer_norm_eps
        self.image_dim = self.text_dim = self.multimodal_dim = width
        self.image_size = config.image_size
        self.max_text_length = config.max_text_length
        self.image_encoder = ImageEncoder(config)
        self.text_encoder = TextEncoder(config)
        self.multimodal_encoder = MultimodalEncoder(config)
        self.image_to_mm_projection = nn.Linear(width, width)
        self.text_to_mm_projection = nn.Linear(width, width)
        self.image_projection = nn.Linear(width, config.projection_dim)
        self.text_projection = nn.Linear(width, config.projection_dim)
        self.logit_scale = nn.Parameter(torch.tensor(config.logit_scale_init))
        self.mim_head = MaskedPredictionHead(width, config.codebook_size, eps)
        self.mlm_head = MaskedPredictionHead(width, config.vocab_size, eps)
        self.mmm_image_head = MaskedPredictionHead(width, config.codebook_size, eps)
        self.mmm_text_head = MaskedPredictionHead(width, config.vocab_size, eps)
        self.itm_head = ItmHead(width)
        self.apply(lambda module: initialise(module, config.initializer_range))

    def forward(
        self, batch: Batch, objectives: Sequence[str], contrastive: Contrastive
    ) -> dict[str, Tensor]:
        """`losses`, so that DistributedDataParallel can wrap the model."""
        return self.losses(batch, objectives, contrastive)

    def losses(
        self, batch: Batch, objectives: Sequence[str], contrastive: Contrastive
    ) -> dict[str, Tensor]:
        """The losses asked for, each a float32 scalar, in the order asked for.

        Only the passes that they need are run, and the last block of each only where it is read.
        Equal to Hugging Face `FlavaForPreTraining` at equal weights (tests/models).

        Raises:
            ConfigError: an unknown objective.
            DataError: the batch lacks a field that a loss needs, or masks nothing.
        """
        check_objectives(objectives, OBJECTIVES, "flava")
        losses: dict[str, Tensor] = {}
        if "mim" in objectives:
            losses["mim"] = mim_loss(*predict_patches(self.image_encoder, self.mim_head, batch))
        if "mlm" in objectives:
            losses["mlm"] = mlm_loss(*predict_tokens(self.text_encoder, self.mlm_head, batch))
        wanted = FUSION_OBJECTIVES.intersection(objectives)
        if wanted or "global_contrastive" in objectives:
            patches_BPD = self.image_encoder.embedding.patches(field(batch, "pixels_BCHW"))
            if "global_contrastive" in objectives:
                losses["global_contrastive"] = self._contrastive(batch, patches_BPD, contrastive)
            if wanted:
                losses.update(self._fusion(batch, patches_BPD, wanted))
        return {name: losses[name] for name in objectives}

    def _contrastive(self, batch: Batch, patches_BPD: Tensor, contrastive: Contrastive) -> Tensor:
        if self.training:
            clamp_logit_scale(self.logit_scale)
        image_BD = self._project_image(self.image_encoder.patches_cls(patches_BPD))
        text_BD = self.text_embeddings(field(batch, "text_BL"), field(batch, "text_attention_BL"))
        return contrastive_loss(
            image_BD, text_BD, self.logit_scale, counted_rows(batch), contrastive
        )

    def _fusion(self, batch: Batch, patches_BPD: Tensor, wanted: set[str]) -> dict[str, Tensor]:
        """MMM and ITM from one pass over masked image and masked text."""
        mask_BP, attention_BL = field(batch, "patch_mask_BP"), field(batch, "text_attention_BL")
        counted_B = counted_rows(batch)
        labels_BS = fusion_targets(
            mask_BP, field(batch, "image_tokens_BP"), field(batch, "text_labels_BL"), counted_B
        )
        first_text = FIRST_PATCH + mask_BP.shape[1]
        read_BS = labels_BS.ne(IGNORE)
        if "mmm_image" not in wanted:
            read_BS[:, :first_text] = False
        if "mmm_text" not in wanted:
            read_BS[:, first_text:] = False
        read_BS[:, 0] = True
        index_BR, valid_BR = read_positions(read_BS)
        hidden_BRD = self._fuse(
            self.image_encoder(patches_BPD, mask_BP),
            self.text_encoder(field(batch, "text_masked_BL"), attention_BL),
            attention_BL,
            index_BR,
        )
        label_BR = labels_BS.gather(1, index_BR)
        losses: dict[str, Tensor] = {}
        if "mmm_image" in wanted:
            at_BR = valid_BR & (index_BR >= FIRST_PATCH) & (index_BR < first_text)
            logits_NV = self.mmm_image_head(hidden_BRD[at_BR])
            losses["mmm_image"] = mmm_loss(logits_NV, label_BR[at_BR])
        if "mmm_text" in wanted:
            at_BR = valid_BR & (index_BR >= first_text)
            losses["mmm_text"] = mmm_loss(self.mmm_text_head(hidden_BRD[at_BR]), label_BR[at_BR])
        if "itm" in wanted:
            losses["itm"] = itm_loss(self.itm_head(hidden_BRD[:, 0]), field(batch, "itm_labels_B"))
        return losses

    def _fuse(
        self, image_BID: Tensor, text_BLD: Tensor, attention_BL: Tensor, read_BR: Tensor
    ) -> Tensor:
        """Normed fusion states at the positions read."""
        hidden_BRD = self.multimodal_encoder(
            self.image_to_mm_projection(image_BID),
            self.text_to_mm_projection(text_BLD),
            attention_BL,
            read_BR,
        )
        normed_BRD: Tensor = self.multimodal_encoder.norm(hidden_BRD)
        return normed_BRD

    def _project_image(self, cls_BD: Tensor) -> Tensor:
        return functional.normalize(self.image_projection(cls_BD).float(), dim=-1)

    def image_features(self, pixels_BCHW: Tensor) -> Tensor:
        """[CLS_I] after the final norm: BD (what the paper probes; multimodal issue #378)."""
        return self.image_encoder.cls(pixels_BCHW)

    def text_features(self, text_BL: Tensor, attention_BL: Tensor) -> Tensor:
        """[CLS] after the final norm: BD."""
        return self.text_encoder.cls(text_BL, attention_BL)

    def image_embeddings(self, pixels_BCHW: Tensor) -> Tensor:
        """Projected, L2-normalised image features."""
        return self._project_image(self.image_features(pixels_BCHW))

    def text_embeddings(self, text_BL: Tensor, attention_BL: Tensor) -> Tensor:
        """Projected, L2-normalised text features."""
        cls_BD = self.text_features(text_BL, attention_BL)
        return functional.normalize(self.text_projection(cls_BD).float(), dim=-1)

    def multimodal_features(
        self, pixels_BCHW: Tensor, text_BL: Tensor, attention_BL: Tensor
    ) -> Tensor:
        """[CLS_M] after the final norm: BD."""
        patches_BPD = self.image_encoder.embedding.patches(pixels_BCHW)
        hidden_B1D = self._fuse(
            self.image_encoder(patches_BPD),
            self.text_encoder(text_BL, attention_BL),
            attention_BL,
            first(text_BL),
        )
        return hidden_B1D[:, 0]
