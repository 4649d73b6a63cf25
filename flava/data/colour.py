"""Random flips and colour changes of a batch of images, each image with its own draws.

Written as tensor operations on pixels in [0, 1], so that they run where the model runs. They are
torchvision's `ColorJitter`, `RandomGrayscale` and PIL's `ImageOps.solarize`; the blur is a true
Gaussian, where PIL's approximates it by box filters.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

COLOUR_DRAWS = 14  # random numbers of one image
SOLARISE_FROM = 128 / 255  # PIL's threshold
GRAY = (0.299, 0.587, 0.114)  # ITU-R 601 luma, as PIL's "L"


@dataclass(frozen=True)
class Jitter:
    """Strengths of the colour jitter: factors are uniform in [1 - s, 1 + s], the hue's shift in
    [-s, s] turns."""

    brightness: float
    contrast: float
    saturation: float
    hue: float

    def scaled(self, strength: float) -> Jitter:
        """All of them times `strength`, each at most 1, the hue's at most 0.5."""
        return Jitter(
            min(1.0, strength * self.brightness),
            min(1.0, strength * self.contrast),
            min(1.0, strength * self.saturation),
            min(0.5, strength * self.hue),
        )


@dataclass(frozen=True)
class Colours:
    """What happens to each of N images.

    Attributes:
        flip_N: bool, mirrored left to right.
        jitter_N: bool, colour jitter is applied.
        factors_N4: float32, brightness, contrast and saturation factors and the hue's shift.
        order_N4: int64, their order: order_N4[:, 0] is the first of them.
        gray_N: bool, turned gray.
        sigma_N: float32, standard deviation of the blur in pixels; 0: none.
        solarise_N: bool, bright pixels inverted.
        blur_radius: pixels the blur reaches, the same for all images of a run, so that an image's
            pixels do not depend on the others of its batch.
    """

    flip_N: Tensor
    jitter_N: Tensor
    factors_N4: Tensor
    order_N4: Tensor
    gray_N: Tensor
    sigma_N: Tensor
    solarise_N: Tensor
    blur_radius: int

    def to(self, device: torch.device) -> Colours:
        """The same on `device`."""
        tensors = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "blur_radius"}
        return replace(self, **{name: value.to(device) for name, value in tensors.items()})


def draw_colours(
    draws_NU: NDArray[np.float64],
    jitter: Jitter,
    jitter_p: float = 0.8,
    gray_p: float = 0.2,
    blur_p_N: NDArray[np.float64] | float = 0.0,
    solarise_p_N: NDArray[np.float64] | float = 0.0,
    sigma_max: float = 2.0,
) -> Colours:
    """Turns uniform numbers into colour changes; a flip has probability 1/2.

    Args:
        draws_NU: COLOUR_DRAWS uniform numbers in [0, 1) for each image.
        jitter: strengths of the jitter.
        jitter_p, gray_p: probabilities of jitter and of gray.
        blur_p_N, solarise_p_N: probabilities of blur and solarisation, of each image or of all.
        sigma_max: the blur's standard deviation is uniform in [sigma_max / 20, sigma_max] pixels.
    """
    strengths = np.array([jitter.brightness, jitter.contrast, jitter.saturation, jitter.hue])
    factors_N4 = np.array([1, 1, 1, 0]) + strengths * (2 * draws_NU[:, 3:7] - 1)
    sigma_N = sigma_max * (0.05 + 0.95 * draws_NU[:, 12])
    return Colours(
        flip_N=torch.from_numpy(draws_NU[:, 0] < 0.5),
        jitter_N=torch.from_numpy(draws_NU[:, 1] < jitter_p),
        factors_N4=torch.from_numpy(factors_N4.astype(np.float32)),
        order_N4=torch.from_numpy(draws_NU[:, 7:11].argsort(axis=1)),
        gray_N=torch.from_numpy(draws_NU[:, 2] < gray_p),
        sigma_N=torch.from_numpy(np.where(draws_NU[:, 11] < blur_p_N, sigma_N, 0).astype("f4")),
        solarise_N=torch.from_numpy(draws_NU[:, 13] < solarise_p_N),
        blur_radius=math.ceil(3 * sigma_max),
    )


def apply_colours(pixels_NCHW: Tensor, colours: Colours) -> Tensor:
    """Flip, jitter, gray, blur, solarisation, in this order (DINO, `DataAugmentationDINO`).

    Args:
        pixels_NCHW: float32 RGB in [0, 1]; changed in place.
        colours: of each image.

    Returns:
        Pixels in [0, 1].
    """
    _change(pixels_NCHW, colours.flip_N, lambda x, _: x.flip(-1))
    _jitter(pixels_NCHW, colours)
    _change(pixels_NCHW, colours.gray_N, lambda x, _: luma(x).expand_as(x))
    _change(
        pixels_NCHW,
        colours.sigma_N > 0,
        lambda x, n: blur(x, colours.sigma_N[n], colours.blur_radius),
    )
    _change(pixels_NCHW, colours.solarise_N, lambda x, _: torch.where(x < SOLARISE_FROM, x, 1 - x))
    return pixels_NCHW


def _change(
    pixels_NCHW: Tensor, chosen_N: Tensor, function: Callable[[Tensor, Tensor], Tensor]
) -> None:
    """Replaces the chosen images by `function(images, their numbers)`."""
    rows_M = chosen_N.nonzero()[:, 0]
    if len(rows_M):
        pixels_NCHW[rows_M] = function(pixels_NCHW[rows_M], rows_M)


def _jitter(pixels_NCHW: Tensor, colours: Colours) -> None:
    for turn in range(4):
        for number, operation in enumerate((brightness, contrast, saturation, hue)):
            chosen_N = colours.jitter_N & (colours.order_N4[:, turn] == number)
            _change(pixels_NCHW, chosen_N, _factored(operation, colours.factors_N4[:, number]))


def _factored(
    operation: Callable[[Tensor, Tensor], Tensor], factor_N: Tensor
) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda x, rows_M: operation(x, factor_N[rows_M])


def luma(pixels_NCHW: Tensor) -> Tensor:
    """Gray value of each pixel: N1HW."""
    red, green, blue = pixels_NCHW[:, :1], pixels_NCHW[:, 1:2], pixels_NCHW[:, 2:]
    return GRAY[0] * red + GRAY[1] * green + GRAY[2] * blue


def brightness(pixels_NCHW: Tensor, factor_N: Tensor) -> Tensor:
    """Multiplies by the factor."""
    return (pixels_NCHW * factor_N[:, None, None, None]).clamp_(0, 1)


def contrast(pixels_NCHW: Tensor, factor_N: Tensor) -> Tensor:
    """Away from (factor > 1) or towards the image's mean gray value."""
    mean = luma(pixels_NCHW).mean(dim=(1, 2, 3), keepdim=True)
    return torch.lerp(mean, pixels_NCHW, factor_N[:, None, None, None]).clamp_(0, 1)


def saturation(pixels_NCHW: Tensor, factor_N: Tensor) -> Tensor:
    """Away from (factor > 1) or towards each pixel's gray value."""
    factor = factor_N[:, None, None, None]
    return torch.lerp(luma(pixels_NCHW), pixels_NCHW, factor).clamp_(0, 1)


def hue(pixels_NCHW: Tensor, shift_N: Tensor) -> Tensor:
    """Turns the hue (HSV) by `shift_N` of the circle."""
    red, green, blue = pixels_NCHW.unbind(dim=1)
    high, low = pixels_NCHW.amax(dim=1), pixels_NCHW.amin(dim=1)
    span = high - low
    safe = span.clamp(min=1e-8)
    sextant = torch.where(
        high == red,
        (green - blue) / safe,
        torch.where(high == green, (blue - red) / safe + 2, (red - green) / safe + 4),
    )
    turned = sextant + 6 * shift_N[:, None, None]
    # HSV to RGB in closed form: channel n is V - VS * clamp(min(k, 4 - k), 0, 1), k = n + h mod 6
    channels = []
    for n in (5, 3, 1):
        k = (turned + n) % 6
        channels.append(high - span * torch.minimum(k, 4 - k).clamp_(0, 1))
    return torch.stack(channels, dim=1)


def blur(pixels_NCHW: Tensor, sigma_N: Tensor, radius: int) -> Tensor:
    """Gaussian blur with one standard deviation (pixels) an image; edges are repeated."""
    offsets_T = torch.arange(-radius, radius + 1, device=sigma_N.device)
    weights_NT = torch.softmax(-0.5 * (offsets_T / sigma_N[:, None]).square(), dim=1)
    for dim, padding in ((3, (radius, radius, 0, 0)), (2, (0, 0, radius, radius))):
        padded = functional.pad(pixels_NCHW, padding, mode="replicate")
        length = pixels_NCHW.shape[dim]
        blurred = torch.zeros_like(pixels_NCHW)
        for tap in range(2 * radius + 1):
            weight = weights_NT[:, tap, None, None, None]
            blurred.addcmul_(padded.narrow(dim, tap, length), weight)
        pixels_NCHW = blurred
    return pixels_NCHW.clamp_(0, 1)
