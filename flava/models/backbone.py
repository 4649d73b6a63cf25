"""What evaluation needs of a model, FLAVA or CLIP."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from torch import Tensor

from flava.config import ContrastiveConfig
from flava.data.batch import Batch
from flava.errors import ConfigError, DataError, unknown_name
from flava.objectives.itm import positive_rows


@runtime_checkable
class Backbone(Protocol):
    """Features of images, texts and pairs; `*_embeddings` are L2-normalised projections.

    Images larger or smaller than `image_size` get a bicubically resized position table.
    """

    image_dim: int
    text_dim: int
    multimodal_dim: int
    image_size: int
    max_text_length: int

    def image_features(self, pixels_BCHW: Tensor) -> Tensor:
        """FLAVA: [CLS_I] after the final norm; CLIP: pooled feature before the projection."""

    def text_features(
        self, text_BL: Tensor, attention_BL: Tensor, types_BL: Tensor | None = None
    ) -> Tensor:
        """FLAVA: [CLS] after the final norm; CLIP: EOT feature before the projection.

        `types_BL`: token types of encoders that have them, 1 on the second text of a pair.
        """

    def image_embeddings(self, pixels_BCHW: Tensor) -> Tensor:
        """Projected, L2-normalised image features."""

    def text_embeddings(self, text_BL: Tensor, attention_BL: Tensor) -> Tensor:
        """Projected, L2-normalised text features."""

    def multimodal_features(
        self, pixels_BCHW: Tensor, text_BL: Tensor, attention_BL: Tensor
    ) -> Tensor:
        """FLAVA: [CLS_M] after the final norm; CLIP: image and text features side by side."""

    def losses(
        self, batch: Batch, objectives: Sequence[str], contrastive: ContrastiveConfig
    ) -> dict[str, Tensor]:
        """The losses asked for."""


def check_objectives(objectives: Sequence[str], supported: set[str], model: str) -> None:
    """Refuses losses that a model does not have.

    Raises:
        ConfigError: names the loss and those there are.
    """
    for name in objectives:
        if name not in supported:
            raise ConfigError(unknown_name("objective", name, sorted(supported), model))


def counted_rows(batch: Batch) -> Tensor:
    """Bool mask of the pairs that MMM and the contrastive loss count."""
    if batch.counted_B is not None:
        return batch.counted_B
    pixels_BCHW = field(batch, "pixels_BCHW")
    return positive_rows(batch.itm_labels_B, len(pixels_BCHW), pixels_BCHW.device)


def field(batch: Batch, name: str) -> Tensor:
    """A tensor of the batch that a loss cannot do without.

    Raises:
        DataError: the batch lacks it.
    """
    value = getattr(batch, name)
    if not isinstance(value, Tensor):
        raise DataError(
            f"A batch of kind '{batch.kind}' has no {name}, which a loss asked of it needs. "
            "Ask for the losses that this kind of data can give."
        )
    return value
