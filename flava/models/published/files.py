"""Weights files without running what they may hold: safetensors, `torch.save`, TorchScript."""

from __future__ import annotations

import argparse
import pickle
import re
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from flava.errors import CheckpointError
from flava.models.published.torchscript import is_torchscript, read_torchscript


def read_file(path: Path) -> dict[str, Any]:
    """Contents of a weights file, on the CPU; nested if it is a training checkpoint.

    Raises:
        CheckpointError: damaged, no dictionary, or a pickle of more than tensors and numbers.
    """
    try:
        values = _read(path)
    except Exception as error:  # noqa: BLE001 - a damaged pickle raises nearly anything
        raise CheckpointError(_refusal(path, error)) from None
    if not isinstance(values, dict):
        raise CheckpointError(
            f"{path} holds a {type(values).__name__}, not a dictionary of tensors. "
            "Save the model's state_dict()."
        )
    return values


def _read(path: Path) -> Any:
    if path.suffix == ".safetensors":
        return load_file(path)
    if is_torchscript(path):
        return read_torchscript(path)
    # Checkpoints of DINO and BEiT hold their command line: a Namespace is attributes, no code.
    with torch.serialization.safe_globals([argparse.Namespace]):
        return torch.load(path, map_location="cpu", weights_only=True)


def _refusal(path: Path, error: Exception) -> str:
    asked = re.search(r"(?:GLOBAL|global|type) ([\w.]+)", str(error))
    if isinstance(error, pickle.UnpicklingError) and asked:
        return (
            f"{path} is a pickle that asks for {asked[1]}, which could run code, so it is refused. "
            "If you trust it, load it where it was made and save its state_dict() as safetensors."
        )
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return f"{path} is damaged or is no weights file ({reason}). Fetch it again."


def state_dict_of(values: dict[str, Any], inside: tuple[str, ...], where: str) -> dict[str, Tensor]:
    """The state dict itself, or the first of the entries `inside` that a checkpoint has.

    Raises:
        CheckpointError: neither; names the entries that are there.
    """
    for name in ("", *inside):
        state = values if not name else values.get(name)
        if isinstance(state, dict) and state and _all_tensors(state):
            return dict(state)
    raise CheckpointError(
        f"{where} holds no state dict: its entries are {', '.join(map(str, list(values)[:12]))}. "
        f"Expected parameters, or one of {', '.join(inside) or 'none'}."
    )


def _all_tensors(values: dict[Any, Any]) -> bool:
    return all(isinstance(k, str) and isinstance(v, Tensor) for k, v in values.items())
