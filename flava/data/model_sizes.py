"""What the data need to know of a run's model: image size, patch grid and text length."""

from __future__ import annotations

from flava.config import ClipConfig, FlavaConfig
from flava.errors import ConfigError
from flava.jobs import RunConfig


def model_config(run: RunConfig) -> FlavaConfig | ClipConfig:
    """The model's settings.

    Raises:
        ConfigError: neither 'flava' nor 'clip' is set.
    """
    model = run.flava if run.flava is not None else run.clip
    if model is None:
        raise ConfigError(f"run {run.column}: neither 'flava' nor 'clip' holds the model's sizes.")
    return model


def image_size(run: RunConfig) -> int:
    """Input pixels a side."""
    return model_config(run).image_size


def grid(run: RunConfig) -> int:
    """Patches a side."""
    model = model_config(run)
    return model.image_size // model.patch_size


def max_text_length(run: RunConfig) -> int:
    """Positions of the text encoder."""
    model = model_config(run)
    return model.max_text_length if isinstance(model, FlavaConfig) else model.context_length


def caption_length(run: RunConfig) -> int:
    """Tokens of a caption at most, special tokens included."""
    return min(run.pretrain.pair_text_length, max_text_length(run))
