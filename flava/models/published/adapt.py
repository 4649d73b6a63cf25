"""Tables of another length and pixels normalised otherwise, carried over to our encoders."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from flava.data.transforms import MEAN, STD
from flava.models.published.conversion import Conversion

Pixels = tuple[tuple[float, ...], tuple[float, ...]]
IMAGENET: Pixels = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALF: Pixels = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
OURS: Pixels = (MEAN, STD)


class PatchNames(NamedTuple):
    """Names of a ViT's first parameters; CLIP's patch embedding has no bias."""

    weight: str
    bias: str | None
    positions: str


def adapt_image(c: Conversion, names: PatchNames, grid: int, layout: Pixels | None) -> None:
    """Positions for `grid` x `grid` patches; pixels as this package normalises them.

    Args:
        c: the conversion.
        names: of the patch embedding and the position table.
        grid: patches a side of the run's images.
        layout: mean and std that models of the layout expect; None if that differs between them.

    Raises:
        CheckpointError: the position table is not that of a square image, or nothing says how
            pixels are normalised.
    """
    if names.positions not in c.tensors or names.weight not in c.tensors:
        return  # `finish` names what is missing
    _resize_positions(c, names.positions, grid)
    _fold_pixels(c, names, _expected_pixels(c, layout))


def _resize_positions(c: Conversion, name: str, grid: int) -> None:
    table_1ND = c.tensors[name].reshape(1, -1, c.tensors[name].shape[-1])
    side = math.isqrt(table_1ND.shape[1] - 1)
    if side**2 != table_1ND.shape[1] - 1:
        c.refuse(
            f"{name} has {table_1ND.shape[1]} positions, which is not [CLS] and a square of "
            "patches. Only such encoders fit FLAVA's."
        )
    if side == grid:
        return
    cls, patches = table_1ND[:, :1], table_1ND[:, 1:]
    square = patches.reshape(1, side, side, -1).permute(0, 3, 1, 2)
    resized = functional.interpolate(square, (grid, grid), mode="bicubic", align_corners=False)
    table = torch.cat([cls, resized.flatten(2).transpose(1, 2)], dim=1)
    how = f"positions resized from {side} x {side} to {grid} x {grid} patches (bicubic)"
    c.replace(name, table.reshape(*c.tensors[name].shape[:-2], *table.shape[1:]), how)


def _expected_pixels(c: Conversion, layout: Pixels | None) -> Pixels:
    weights, beside = c.weights, c.located.preprocessor
    if weights.pixel_mean is not None and weights.pixel_std is not None:
        return tuple(weights.pixel_mean), tuple(weights.pixel_std)
    if beside is not None:
        return _preprocessor_pixels(c, beside)
    if layout is None:
        c.refuse(
            "nothing says how its pixels are normalised. Put its preprocessor_config.json beside "
            "it, or set `pixel_mean` and `pixel_std`."
        )
    return layout


def _preprocessor_pixels(c: Conversion, values: dict[str, Any]) -> Pixels:
    if values.get("do_normalize") is False:
        return (0.0,) * 3, (1.0,) * 3
    mean, std = _three(values.get("image_mean")), _three(values.get("image_std"))
    factor = values.get("rescale_factor", 1 / 255) if values.get("do_rescale", True) else 1.0
    if mean is None or std is None or not math.isclose(factor, 1 / 255, rel_tol=1e-3):
        c.refuse(
            "preprocessor_config.json beside it does not give image_mean and image_std of pixels "
            "from 0 to 1. Set `pixel_mean` and `pixel_std`."
        )
    return mean, std


def _three(values: Any) -> tuple[float, ...] | None:
    if not isinstance(values, list) or len(values) != 3:
        return None
    return tuple(map(float, values)) if all(isinstance(v, int | float) for v in values) else None


def _fold_pixels(c: Conversion, names: PatchNames, expected: Pixels) -> None:
    """(ours * our_std + our_mean - mean) / std is affine, as is the patch embedding after it."""
    both = torch.tensor([expected, OURS], dtype=torch.float64)
    if torch.allclose(both[0], both[1], rtol=0, atol=1e-6):
        return
    (mean, std), (our_mean, our_std) = both
    weight = c.tensors[names.weight].double()
    bias = None if names.bias is None else c.tensors.get(names.bias)
    if weight.dim() != 4 or weight.shape[1] != 3 or (bias is not None and bias.dim() != 1):
        return  # `finish` names the wrong shape
    shift_D = torch.einsum("dchw,c->d", weight, (our_mean - mean) / std)
    scaled = weight * (our_std / std)[:, None, None]
    how = (
        f"normalisation by mean {list(expected[0])} and std {list(expected[1])} folded into the "
        "patch embedding"
    )
    c.replace(names.weight, scaled.float(), how)
    if names.bias is not None and bias is not None:
        c.replace(names.bias, (bias.double() + shift_D).float(), how)
    else:
        table = c.tensors[names.positions].double().clone()
        table[..., 1:, :] += shift_D
        c.replace(names.positions, table.float(), how)


def adapt_text_positions(c: Conversion, name: str, length: int, first: int = 0) -> None:
    """Position table for texts of at most `length` tokens; rows before `first` are never read.

    Raises:
        CheckpointError: the table is shorter.
    """
    if name not in c.tensors:
        return
    table: Tensor = c.tensors[name]
    rows = table.shape[0] - first
    if rows < length:
        c.refuse(
            f"its text positions end at {rows} tokens, but this run's texts have up to {length}. "
            "Set the run's text length to at most that."
        )
    if first:
        table = table[first:]
        c.replace(name, table, f"first {first} positions left out: they belong to padding")
    if rows > length:
        c.replace(name, table[:length], f"positions from {rows} tokens cut to {length}")


def adapt_token_types(c: Conversion, name: str) -> None:
    """Two rows as in BERT: pretraining reads the first, the second text of a pair the second."""
    if name not in c.tensors or c.tensors[name].shape[0] == 2:
        return
    table = c.tensors[name]
    if table.shape[0] == 1:
        c.replace(name, table.repeat(2, 1), "its one token type taken for both texts of a pair")
    else:
        c.replace(name, table[:2].clone(), "token types after the second left out: pairs have two")
