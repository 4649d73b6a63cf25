"""FLAVA: three encoders, six losses, features for evaluation (Sections 3.1 and 3.2)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from flava.config import FlavaConfig
from flava.data.batch import Batch
from flava.models.backbone import check_objectives, counted_rows, field
from flava.models.encoders import ImageEncoder, MultimodalEncoder, TextEncoder
from flava.models.heads import ItmHead, MaskedPredictionHead
from flava.models.rows import first
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
from flava.objectives.masked import IGNORE
from flava.objectives.mmm import FIRST_PATCH

OBJECTIVES = {"mim", "mlm", "global_contrastive", "mmm_image", "mmm_text", "itm"}
FUSION_OBJECTIVES = {"mmm_image", "mmm_text", "itm"}
PAIR_OBJECTIVES = FUSION_OBJECTIVES | {"global_contrastive"}


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
        if wanted := PAIR_OBJECTIVES.intersection(objectives):
            losses.update(self._pairs(batch, wanted, contrastive))
        return {name: losses[name] for name in objectives}

    def _pairs(self, batch: Batch, wanted: set[str], contrastive: Contrastive) -> dict[str, Tensor]:
        """The contrastive loss from pairs as they are, MMM and ITM from masked ones.

        Each encoder sees both versions in one pass, one below the other.
        """
        plain, masked = "global_contrastive" in wanted, bool(wanted & FUSION_OBJECTIVES)
        image_BD, image_BID = self._image_states(batch, plain, masked)
        text_BD, text_ND = self._text_states(batch, plain, masked)
        losses: dict[str, Tensor] = {}
        if plain:
            losses["global_contrastive"] = self._contrastive(batch, image_BD, text_BD, contrastive)
        if masked:
            losses.update(self._fusion(batch, image_BID, text_ND, wanted))
        return losses

    def _image_states(self, batch: Batch, plain: bool, masked: bool) -> tuple[Tensor, Tensor]:
        """Normed [CLS_I] of the images as they are, BD; all states of the masked ones, BID."""
        patches_BPD = self.image_encoder.embedding.patches(field(batch, "pixels_BCHW"))
        rows, patches, width = patches_BPD.shape
        cls_BI = first(rows, 1 + patches, patches_BPD.device)
        reads = [cls_BI] * plain + [torch.ones_like(cls_BI)] * masked
        mask = None
        if masked:
            mask_BP = field(batch, "patch_mask_BP")
            mask = torch.cat([torch.zeros_like(mask_BP)] * plain + [mask_BP])
        x_RD = self.image_encoder(patches_BPD.repeat(len(reads), 1, 1), mask, torch.cat(reads))
        cls_BD, states = x_RD.tensor_split((rows * plain,))
        return self.image_encoder.norm(cls_BD), states.view(-1, 1 + patches, width)

    def _text_states(self, batch: Batch, plain: bool, masked: bool) -> tuple[Tensor, Tensor]:
        """Normed [CLS] of the texts as they are, BD; all states of the masked ones, packed, ND."""
        wanted = ["text_BL"] * plain + ["text_masked_BL"] * masked
        texts = [field(batch, name) for name in wanted]
        attention_BL = field(batch, "text_attention_BL")
        rows, length = attention_BL.shape
        reads = [first(rows, length, attention_BL.device)] * plain + [attention_BL] * masked
        x_RD = self.text_encoder(
            torch.cat(texts), attention_BL.repeat(len(texts), 1), torch.cat(reads)
        )
        cls_BD, states_ND = x_RD.tensor_split((rows * plain,))
        return self.text_encoder.norm(cls_BD), states_ND

    def _contrastive(
        self, batch: Batch, image_BD: Tensor, text_BD: Tensor, contrastive: Contrastive
    ) -> Tensor:
        if self.training:
            clamp_logit_scale(self.logit_scale)
        return contrastive_loss(
            _normalised(self.image_projection(image_BD)),
            _normalised(self.text_projection(text_BD)),
            self.logit_scale,
            counted_rows(batch),
            contrastive,
        )

    def _fusion(
        self, batch: Batch, image_BID: Tensor, text_ND: Tensor, wanted: set[str]
    ) -> dict[str, Tensor]:
        """MMM and ITM from one pass over masked image and masked text."""
        mask_BP, attention_BL = field(batch, "patch_mask_BP"), field(batch, "text_attention_BL")
        counted_B = counted_rows(batch)
        # Without `mmm_image` a corpus needs no image tokens, and no patch's label is read.
        no_tokens_BP = torch.zeros_like(mask_BP, dtype=torch.long)
        tokens_BP = field(batch, "image_tokens_BP") if "mmm_image" in wanted else no_tokens_BP
        labels_BS = fusion_targets(mask_BP, tokens_BP, field(batch, "text_labels_BL"), counted_B)
        first_text = FIRST_PATCH + mask_BP.shape[1]
        read_BS = labels_BS.ne(IGNORE)
        if "mmm_image" not in wanted:
            read_BS[:, :first_text] = False
        if "mmm_text" not in wanted:
            read_BS[:, first_text:] = False
        read_BS[:, 0] = True
        hidden_RD = self._fuse(image_BID, text_ND, attention_BL, read_BS)
        labels_R, place_R = labels_BS[read_BS], read_BS.nonzero()[:, 1]
        losses: dict[str, Tensor] = {}
        if "mmm_image" in wanted:
            at_R = (place_R >= FIRST_PATCH) & (place_R < first_text)
            losses["mmm_image"] = mmm_loss(self.mmm_image_head(hidden_RD[at_R]), labels_R[at_R])
        if "mmm_text" in wanted:
            at_R = place_R >= first_text
            losses["mmm_text"] = mmm_loss(self.mmm_text_head(hidden_RD[at_R]), labels_R[at_R])
        if "itm" in wanted:
            cls_BD = hidden_RD[place_R == 0]
            losses["itm"] = itm_loss(self.itm_head(cls_BD), field(batch, "itm_labels_B"))
        return losses

    def _fuse(
        self, image_BID: Tensor, text_ND: Tensor, attention_BL: Tensor, read_BS: Tensor
    ) -> Tensor:
        """Normed fusion states x_RD where they are read."""
        hidden_RD = self.multimodal_encoder(
            self.image_to_mm_projection(image_BID),
            self.text_to_mm_projection(text_ND),
            attention_BL,
            read_BS,
        )
        normed_RD: Tensor = self.multimodal_encoder.norm(hidden_RD)
        return normed_RD

    def image_features(self, pixels_BCHW: Tensor) -> Tensor:
        """[CLS_I] after the final norm: BD (what the paper probes; multimodal issue #378)."""
        return self.image_encoder.cls(pixels_BCHW)

    def text_features(
        self, text_BL: Tensor, attention_BL: Tensor, types_BL: Tensor | None = None
    ) -> Tensor:
        """[CLS] after the final norm: BD."""
        return self.text_encoder.cls(text_BL, attention_BL, types_BL)

    def image_embeddings(self, pixels_BCHW: Tensor) -> Tensor:
        """Projected, L2-normalised image features."""
        return _normalised(self.image_projection(self.image_features(pixels_BCHW)))

    def text_embeddings(self, text_BL: Tensor, attention_BL: Tensor) -> Tensor:
        """Projected, L2-normalised text features."""
        return _normalised(self.text_projection(self.text_features(text_BL, attention_BL)))

    def multimodal_features(
        self, pixels_BCHW: Tensor, text_BL: Tensor, attention_BL: Tensor
    ) -> Tensor:
        """[CLS_M] after the final norm: BD."""
        image_BID = self.image_encoder(self.image_encoder.embedding.patches(pixels_BCHW))
        text_ND = self.text_encoder(text_BL, attention_BL, attention_BL)
        places = 1 + image_BID.shape[1] + text_BL.shape[1]
        read_BS = first(len(image_BID), places, pixels_BCHW.device)
        return self._fuse(image_BID, text_ND, attention_BL, read_BS)


def _normalised(projected_BD: Tensor) -> Tensor:
    return functional.normalize(projected_BD.float(), dim=-1)
