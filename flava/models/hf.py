"""Weights to and from Hugging Face's `FlavaForPreTraining` and `CLIPModel` (never imported)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from flava.config import ClipConfig, FlavaConfig
from flava.errors import CheckpointError
from flava.models.hf_names import (
    CLIP_UNUSED,
    FLAVA_UNUSED,
    HEADS,
    POOLERS,
    Entry,
    clip_entries,
    flava_entries,
    unused_reason,
)

Config = FlavaConfig | ClipConfig


class Converted(NamedTuple):
    """Our state dict, and the Hugging Face parameters left out with the reason for each."""

    state: dict[str, Tensor]
    unused: dict[str, str]


def to_hf_state_dict(state: dict[str, Tensor], config: Config) -> dict[str, Tensor]:
    """Hugging Face's state dict of ours.

    FLAVA's three encoder poolers, which no loss trains, are written as zeros; each head's bias
    appears under both of its names (`head.bias`, `head.decoder.bias`), as in Hugging Face.

    Raises:
        CheckpointError: a parameter is missing, unexpected or has the wrong shape.
    """
    theirs = to_theirs(state, _entries(config))
    if isinstance(config, FlavaConfig):
        reference = state["image_to_mm_projection.weight"]
        for pooler in POOLERS:
            theirs[f"{pooler}.weight"] = torch.zeros_like(reference)
            theirs[f"{pooler}.bias"] = torch.zeros_like(reference[0])
        for head in HEADS:
            theirs[f"{head}.bias"] = theirs[f"{head}.decoder.bias"]
    return theirs


def from_hf_state_dict(
    theirs: dict[str, Tensor], config: Config, where: str = "Hugging Face weights"
) -> Converted:
    """Our state dict of Hugging Face's, and what of theirs is not used.

    Raises:
        CheckpointError: names `where` and each missing or unexpected parameter, or the first
            wrong shape.
    """
    theirs, unused = dict(theirs), {}
    if isinstance(config, FlavaConfig):
        untie(theirs, where)
    patterns = FLAVA_UNUSED if isinstance(config, FlavaConfig) else CLIP_UNUSED
    for name in list(theirs):
        if (why := unused_reason(name, patterns)) is not None:
            unused[name] = why
            del theirs[name]
    return Converted(to_ours(theirs, _entries(config), model_shapes(config), where), unused)


def to_theirs(state: dict[str, Tensor], entries: Sequence[Entry]) -> dict[str, Tensor]:
    """Hugging Face's parameters of ours, each a copy.

    Raises:
        CheckpointError: a parameter is missing, unexpected or has the wrong shape.
    """
    expected = {entry.ours for entry in entries}
    _refuse("state dict", sorted(expected - set(state)), sorted(set(state) - expected))
    theirs: dict[str, Tensor] = {}
    for entry in entries:
        parts = state[entry.ours].chunk(len(entry.theirs)) if state[entry.ours].dim() else ()
        for name, part in zip(entry.theirs, parts or (state[entry.ours],), strict=True):
            shaped = part if entry.their_shape is None else part.reshape(entry.their_shape)
            theirs[name] = shaped.clone()
    return theirs


def to_ours(
    theirs: dict[str, Tensor],
    entries: Sequence[Entry],
    shapes: dict[str, torch.Size],
    where: str,
) -> dict[str, Tensor]:
    """Our parameters, of the given shapes, of Hugging Face's.

    Raises:
        CheckpointError: names `where` and each missing or unexpected parameter, or the first
            wrong shape.
    """
    expected = {name for entry in entries for name in entry.theirs}
    _refuse(where, sorted(expected - set(theirs)), sorted(set(theirs) - expected))
    return {entry.ours: _ours(entry, theirs, shapes[entry.ours], where) for entry in entries}


def _entries(config: Config) -> list[Entry]:
    return flava_entries(config) if isinstance(config, FlavaConfig) else clip_entries(config)


def model_shapes(config: Config) -> dict[str, torch.Size]:
    """Shape of each parameter of our model, without allocating them."""
    from flava.models.registry import build

    with torch.device("meta"), _Uninitialised():
        model = build("flava" if isinstance(config, FlavaConfig) else "clip", config)
    return {name: value.shape for name, value in model.state_dict().items()}


class _Uninitialised(TorchFunctionMode):
    """Leaves out random initialisation: on the meta device it costs the import of TorchDynamo."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        given = kwargs or {}
        if func in (nn.init.normal_, Tensor.normal_, Tensor.uniform_):
            return args[0] if args else given["tensor"]
        return func(*args, **given)


def untie(theirs: dict[str, Tensor], where: str) -> None:
    """One name a head's bias, in place: Hugging Face files hold either or both.

    Raises:
        CheckpointError: both are there and differ.
    """
    for head in HEADS:
        tied, kept = f"{head}.bias", f"{head}.decoder.bias"
        if tied not in theirs:
            continue
        value = theirs.pop(tied)
        if not torch.equal(theirs.setdefault(kept, value), value):
            raise CheckpointError(
                f"{where}: {tied} and {kept} are one parameter in Hugging Face but differ here. "
                "The file is damaged; export it anew."
            )


def _ours(entry: Entry, theirs: dict[str, Tensor], shape: torch.Size, where: str) -> Tensor:
    parts = [theirs[name] for name in entry.theirs]
    wanted = entry.their_shape or (shape[0] // len(parts), *shape[1:]) if shape else ()
    for name, part in zip(entry.theirs, parts, strict=True):
        if tuple(part.shape) != tuple(wanted):
            raise CheckpointError(
                f"{where}: {name} has shape {tuple(part.shape)}, but the configuration asks for "
                f"{tuple(wanted)}. Weights and configuration belong to different models."
            )
    value = torch.cat(parts) if len(parts) > 1 else parts[0]
    return value.reshape(shape).clone()


def _refuse(where: str, missing: list[str], unexpected: list[str]) -> None:
    if not missing and not unexpected:
        return
    parts = []
    if missing:
        parts.append(f"{len(missing)} parameters are missing: {', '.join(missing)}")
    if unexpected:
        parts.append(f"{len(unexpected)} are unexpected: {', '.join(unexpected)}")
    raise CheckpointError(
        f"{where}: {'; '.join(parts)}. Weights and configuration belong to different models."
    )
