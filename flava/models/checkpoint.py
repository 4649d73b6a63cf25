"""Exported models on disk: config.json and model.safetensors in Hugging Face's layout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from flava.errors import CheckpointError, ConfigError, DataError
from flava.io import atomic_directory, read_json, write_json
from flava.models.clip import Clip
from flava.models.flava import Flava
from flava.models.hf import from_hf_state_dict, to_hf_state_dict
from flava.models.hf_config import from_hf_config, to_hf_config
from flava.models.hf_names import HEADS
from flava.models.registry import build

CONFIG, WEIGHTS = "config.json", "model.safetensors"


def save_model(module: Flava | Clip, directory: Path | str) -> None:
    """Writes `directory` as a whole, or not at all.

    transformers' `FlavaForPreTraining.from_pretrained(directory)` or `CLIPModel...` loads it.

    Raises:
        ConfigError: not a FLAVA or CLIP.
    """
    if not isinstance(module, Flava | Clip):
        raise ConfigError(f"save_model takes a Flava or a Clip, not a {type(module).__name__}.")
    state = {name: value.detach().cpu() for name, value in module.state_dict().items()}
    theirs = to_hf_state_dict(state, module.config)
    if isinstance(module, Flava):
        # Tied to head.decoder.bias; a safetensors file holds each tensor once.
        for head in HEADS:
            del theirs[f"{head}.bias"]
    tensors = {name: value.contiguous() for name, value in theirs.items()}
    with atomic_directory(directory) as temporary:
        write_json(temporary / CONFIG, to_hf_config(module.config))
        save_file(tensors, temporary / WEIGHTS, metadata={"format": "pt"})


def load_model(directory: Path | str) -> Flava | Clip:
    """Loads an exported model, ours or Hugging Face's, in evaluation mode on the CPU.

    Parameters that no loss of ours reads (encoder poolers, DALL-E codebook) are left out.

    Raises:
        CheckpointError: a file is missing or damaged, the architecture is another one, or a
            parameter is missing, unexpected or of the wrong shape.
    """
    directory = Path(directory)
    values = read_config(directory)
    config = from_hf_config(values, str(directory / CONFIG))
    arch = "clip" if values["model_type"] == "clip" else "flava"
    converted = from_hf_state_dict(
        read_weights(directory / WEIGHTS), config, str(directory / WEIGHTS)
    )
    model = build(arch, config)
    model.load_state_dict(converted.state)
    return model.eval()


def read_config(directory: Path) -> dict[str, Any]:
    """Contents of a model folder's config.json.

    Raises:
        CheckpointError: it is missing or holds no JSON object.
    """
    try:
        values = read_json(directory / CONFIG)
    except DataError as error:
        raise CheckpointError(f"No model can be loaded from {directory}: {error}") from None
    if not isinstance(values, dict):
        raise CheckpointError(f"{directory / CONFIG} holds no object. Export the model anew.")
    return values


def read_weights(path: Path) -> dict[str, Tensor]:
    """Tensors of a safetensors file as float32.

    Raises:
        CheckpointError: the file is missing or damaged.
    """
    try:
        return {name: value.float() for name, value in load_file(path).items()}
    except FileNotFoundError:
        raise CheckpointError(f"{path} is missing. Export the model anew.") from None
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is damaged ({error}). Export the model anew.") from None
