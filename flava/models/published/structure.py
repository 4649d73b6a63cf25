"""What config.json beside a file says of a model that the shapes of its parameters do not."""

from __future__ import annotations

from typing import Any

from flava.config import FlavaConfig
from flava.models.published.conversion import Conversion


def check_encoder_config(
    c: Conversion, config: FlavaConfig, kind: str, default_eps: float = 1e-12
) -> dict[str, Any]:
    """What Hugging Face's config.json says and shapes do not; returns it, empty if there is none.

    Raises:
        CheckpointError: another model type, number of heads or activation.
    """
    values = c.located.config
    if values is None:
        c.check_heads(None, config.num_attention_heads)
        c.differs("activation and LayerNorm eps are not in the file: no config.json is beside it")
        return {}
    if values.get("model_type") != kind:
        c.refuse(
            f"config.json beside it has model_type {values.get('model_type')!r}, but layout "
            f"'{c.weights.layout}' is '{kind}'. Set `layout` to the file's."
        )
    activation = values.get("hidden_act", "gelu")
    if activation != "gelu":
        c.refuse(f"its activation is {activation!r}; FLAVA's encoders have the exact 'gelu' only.")
    c.check_heads(values.get("num_attention_heads", 12), config.num_attention_heads)
    c.check_eps(values.get("layer_norm_eps", default_eps), config.layer_norm_eps)
    return values
