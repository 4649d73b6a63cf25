"""CLIP's dual encoder, the baseline of columns 13 and 14 (supplement D; open_clip ViT-B-16)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from flava.config import ClipConfig
from flava.data.batch import Batch
from flava.models.backbone import check_objectives, counted_rows, field
from flava.models.encoders import PatchEmbedding, check_text_length
from flava.models.rows import first
from flava.models.transformer import Block, LayerNorm, Transformer
from flava.objectives import Contrastive, clamp_logit_scale, contrastive_loss


class ClipImageEncoder(nn.Module):
    """ViT with a norm before the blocks and one on the pooled CLS token."""

    def __init__(self, config: ClipConfig) -> None:
        super().__init__()
        width, eps = config.vision_width, config.layer_norm_eps
        self.embedding = PatchEmbedding(config.image_size, config.patch_size, width, bias=False)
        self.norm_before = LayerNorm(width, eps=eps)
        self.transformer = Transformer(
            config.vision_layers, width, config.vision_heads, 4 * width, eps, config.quick_gelu
        )
        self.norm = LayerNorm(width, eps=eps)

    def forward(self, pixels_BCHW: Tensor) -> Tensor:
        """Pooled feature BD."""
        x_BID = self.norm_before(self.embedding(self.embedding.patches(pixels_BCHW)))
        read_BI = first(len(x_BID), x_BID.shape[1], x_BID.device)
        pooled_BD: Tensor = self.norm(self.transformer(x_BID, read_BL=read_BI))
        return pooled_BD


class ClipTextEncoder(nn.Module):
    """Causal transformer, read at the end-of-text token."""

    def __init__(self, config: ClipConfig) -> None:
        super().__init__()
        width, eps = config.text_width, config.layer_norm_eps
        self.token_embeddings = nn.Embedding(config.vocab_size, width)
        self.position_embeddings = nn.Embedding(config.context_length, width)
        self.transformer = Transformer(
            config.text_layers, width, config.text_heads, 4 * width, eps, config.quick_gelu
        )
        self.norm = LayerNorm(width, eps=eps)

    def forward(self, text_BL: Tensor, attention_BL: Tensor) -> Tensor:
        """Feature BD of each row's last attended token, which is its end-of-text token.

        Released CLIP looks for the highest id, which is that token in its vocabulary.

        Raises:
            DataError: the text is longer than the position table.
        """
        length = text_BL.shape[1]
        check_text_length(length, self.position_embeddings.num_embeddings)
        x_BLD = self.token_embeddings(text_BL) + self.position_embeddings.weight[:length]
        positions_L = torch.arange(length, device=text_BL.device)
        end_BL = positions_L == attention_BL.sum(dim=1, keepdim=True) - 1
        pooled_BD: Tensor = self.norm(self.transformer(x_BLD, attention_BL, True, end_BL))
        return pooled_BD


class Clip(nn.Module):
    """CLIP; satisfies `flava.models.backbone.Backbone`."""

    def __init__(self, config: ClipConfig) -> None:
        super().__init__()
        self.config = config
        self.image_dim, self.text_dim = config.vision_width, config.text_width
        self.multimodal_dim = self.image_dim + self.text_dim
        self.image_size = config.image_size
        self.max_text_length = config.context_length
        self.image_encoder = ClipImageEncoder(config)
        self.text_encoder = ClipTextEncoder(config)
        self.image_projection = nn.Linear(self.image_dim, config.embed_dim, bias=False)
        self.text_projection = nn.Linear(self.text_dim, config.embed_dim, bias=False)
        self.logit_scale = nn.Parameter(torch.tensor(config.logit_scale_init))
        _initialise(self)

    def forward(
        self, batch: Batch, objectives: Sequence[str], contrastive: Contrastive
    ) -> dict[str, Tensor]:
        """`losses`, so that DistributedDataParallel can wrap the model."""
        return self.losses(batch, objectives, contrastive)

    def losses(
        self, batch: Batch, objectives: Sequence[str], contrastive: Contrastive
    ) -> dict[str, Tensor]:
        """The contrastive loss, a float32 scalar.

        Raises:
            ConfigError: another objective is asked for.
            DataError: the batch lacks images or texts.
        """
        check_objectives(objectives, {"global_contrastive"}, "clip")
        if "global_contrastive" not in objectives:
            return {}
        if self.training:
            clamp_logit_scale(self.logit_scale)
        image_BD = self.image_embeddings(field(batch, "pixels_BCHW"))
        text_BD = self.text_embeddings(field(batch, "text_BL"), field(batch, "text_attention_BL"))
        loss = contrastive_loss(
            image_BD, text_BD, self.logit_scale, counted_rows(batch), contrastive
        )
        return {"global_contrastive": loss}

    def image_features(self, pixels_BCHW: Tensor) -> Tensor:
        """CLS after the last norm, before the projection: BD."""
        pooled_BD: Tensor = self.image_encoder(pixels_BCHW)
        return pooled_BD

    def text_features(
        self, text_BL: Tensor, attention_BL: Tensor, types_BL: Tensor | None = None
    ) -> Tensor:
        """End-of-text feature after the last norm, before the projection: BD.

        CLIP has no token types: `types_BL` is not read.
        """
        pooled_BD: Tensor = self.text_encoder(text_BL, attention_BL)
        return pooled_BD

    def image_embeddings(self, pixels_BCHW: Tensor) -> Tensor:
        """Projected, L2-normalised image features."""
        projected_BD = self.image_projection(self.image_features(pixels_BCHW))
        return functional.normalize(projected_BD.float(), dim=-1)

    def text_embeddings(self, text_BL: Tensor, attention_BL: Tensor) -> Tensor:
        """Projected, L2-normalised text features."""
        projected_BD = self.text_projection(self.text_features(text_BL, attention_BL))
        return functional.normalize(projected_BD.float(), dim=-1)

    def multimodal_features(
        self, pixels_BCHW: Tensor, text_BL: Tensor, attention_BL: Tensor
    ) -> Tensor:
        """Image and text features side by side: CLIP has no fusion encoder."""
        features = (self.image_features(pixels_BCHW), self.text_features(text_BL, attention_BL))
        return torch.cat(features, dim=-1)


def _initialise(model: Clip) -> None:
    """OpenAI CLIP's initialisation of the text side, used for both sides (as Hugging Face does)."""
    for encoder in (model.image_encoder, model.text_encoder):
        layers = len(encoder.transformer.blocks)
        for block in encoder.transformer.blocks:
            assert isinstance(block, Block)
            width = block.out.in_features
            inner = width**-0.5 * (2 * layers) ** -0.5
            nn.init.normal_(block.qkv.weight, std=width**-0.5)
            nn.init.normal_(block.out.weight, std=inner)
            nn.init.normal_(block.fc1.weight, std=(2 * width) ** -0.5)
            nn.init.normal_(block.fc2.weight, std=inner)
            for linear in (block.qkv, block.out, block.fc1, block.fc2):
                nn.init.zeros_(linear.bias)
    embedding, text = model.image_encoder.embedding, model.text_encoder
    scale = model.image_dim**-0.5
    nn.init.normal_(embedding.cls_token, std=scale)
    nn.init.normal_(embedding.position_embeddings, std=scale)
    nn.init.normal_(text.token_embeddings.weight, std=0.02)
    nn.init.normal_(text.position_embeddings.weight, std=0.01)
    nn.init.normal_(model.image_projection.weight, std=scale)
    nn.init.normal_(model.text_projection.weight, std=model.text_dim**-0.5)
