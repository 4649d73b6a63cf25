"""A lone image or text encoder on disk, as Hugging Face's `FlavaImageModel` or `FlavaTextModel`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from flava.config import FlavaConfig
from flava.errors import CheckpointError, ConfigError
from flava.io import atomic_directory, write_json
from flava.models.checkpoint import CONFIG, WEIGHTS, read_config, read_weights
from flava.models.encoders import ImageEncoder, TextEncoder
from flava.models.hf import to_ours, to_theirs
from flava.models.hf_config import FLAVA_DEFAULTS, encoder_config
from flava.models.hf_names import FLAVA_UNUSED, encoder_entries, unused_reason

Part = Literal["image", "text"]
ENCODERS: dict[Part, type[ImageEncoder | TextEncoder]] = {
    "image": ImageEncoder,
    "text": TextEncoder,
}


def save_encoder(
    encoder: ImageEncoder | TextEncoder, config: FlavaConfig, directory: Path | str
) -> None:
    """Writes `directory` as a whole, or not at all.

    transformers' `FlavaImageModel.from_pretrained(directory)` or `FlavaTextModel...` loads it. The
    pooler, which no loss trains, is written as zeros.

    Raises:
        ConfigError: neither encoder.
        CheckpointError: the encoder is not one of `config`.
    """
    part = _part_of(encoder)
    state = {name: value.detach().cpu() for name, value in encoder.state_dict().items()}
    _check_shapes(state, config, part)
    tensors = to_theirs(state, encoder_entries(config, part))
    width = config.hidden_size
    tensors |= {
        "pooler.dense.weight": torch.zeros(width, width),
        "pooler.dense.bias": torch.zeros(width),
    }
    with atomic_directory(directory) as temporary:
        write_json(temporary / CONFIG, encoder_config(config, part))
        save_file(
            {name: value.contiguous() for name, value in tensors.items()},
            temporary / WEIGHTS,
            metadata={"format": "pt"},
        )


def load_encoder_state(directory: Path | str, part: Part, config: FlavaConfig) -> dict[str, Tensor]:
    """State dict of the encoder that `save_encoder` wrote, for the `part` encoder of `config`.

    Raises:
        CheckpointError: a file is missing or damaged, it is the other encoder, its configuration
            is not that of `config`, or a parameter is missing, unexpected or of the wrong shape.
    """
    directory = Path(directory)
    _check_config(directory, part, config)
    where = str(directory / WEIGHTS)
    theirs = {
        name: value
        for name, value in read_weights(directory / WEIGHTS).items()
        if unused_reason(f"flava.{part}_model.{name}", FLAVA_UNUSED) is None
    }
    return to_ours(theirs, encoder_entries(config, part), encoder_shapes(config, part), where)


def encoder_shapes(config: FlavaConfig, part: Part) -> dict[str, torch.Size]:
    """Shape of each parameter of an encoder, without allocating them."""
    with torch.device("meta"):
        encoder: nn.Module = ENCODERS[part](config)
    return {name: value.shape for name, value in encoder.state_dict().items()}


def _part_of(encoder: nn.Module) -> Part:
    for part, kind in ENCODERS.items():
        if isinstance(encoder, kind):
            return part
    raise ConfigError(
        f"save_encoder takes an ImageEncoder or a TextEncoder, not a {type(encoder).__name__}."
    )


def _check_shapes(state: dict[str, Tensor], config: FlavaConfig, part: Part) -> None:
    expected = encoder_shapes(config, part)
    if {name: value.shape for name, value in state.items()} != expected:
        raise CheckpointError(
            f"The {part} encoder to be saved is not one of the configuration given with it. "
            "Pass the configuration that built it."
        )


def _check_config(directory: Path, part: Part, config: FlavaConfig) -> None:
    """The file's configuration must be the wanted one wherever it changes the encoder."""
    found, wanted = read_config(directory), encoder_config(config, part)
    kind = wanted["model_type"]
    if found.get("model_type") != kind:
        raise CheckpointError(
            f"{directory / CONFIG}: model_type is {found.get('model_type')!r}, not '{kind}'. "
            f"Point to the folder of a FLAVA {part} encoder."
        )
    found = FLAVA_DEFAULTS[f"{part}_config"] | found
    # The start of training, and the head's vocabulary of the image encoder, change no state.
    ignored = {"initializer_range"} | ({"vocab_size"} if part == "image" else set())
    for key in sorted(set(FLAVA_DEFAULTS[f"{part}_config"]) - ignored):
        if found[key] != wanted[key]:
            raise CheckpointError(
                f"{directory / CONFIG}: {key} is {found[key]!r}, but this run's {part} encoder "
                f"has {wanted[key]!r}. Train the encoder with this run's `flava` settings."
            )
