"""Random resized crops: where they lie, and their pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PILImage

from flava.data.transforms import Pixels

TRIES = 10
BOX_DRAWS = 4 * TRIES  # random numbers of one box
_RATIOS = (math.log(3 / 4), math.log(4 / 3))

Draws = NDArray[np.float64]


def random_boxes(
    draws_NU: Draws, sizes_N2: NDArray[Any], scale_min: float, scale_max: float
) -> NDArray[np.int64]:
    """Crop boxes boxes_N4 (left, upper, right, lower) in pixels, distributed as RandomResizedCrop.

    Area uniform in [scale_min, scale_max] of the image, aspect log-uniform in [3/4, 4/3]; the first
    of ten tries that fits, else the largest central crop with an aspect in that range.

    Args:
        draws_NU: at least BOX_DRAWS uniform numbers in [0, 1) for each box.
        sizes_N2: (width, height) of each box's image.
        scale_min, scale_max: share of the image's area.
    """
    draws_NT4 = draws_NU[:, :BOX_DRAWS].reshape(-1, TRIES, 4)
    width_N1, height_N1 = sizes_N2[:, :1], sizes_N2[:, 1:]
    area_NT = width_N1 * height_N1 * (scale_min + (scale_max - scale_min) * draws_NT4[..., 0])
    ratio_NT = np.exp(_RATIOS[0] + (_RATIOS[1] - _RATIOS[0]) * draws_NT4[..., 1])
    w_NT, h_NT = np.rint(np.sqrt(area_NT * ratio_NT)), np.rint(np.sqrt(area_NT / ratio_NT))
    fits_NT = (w_NT > 0) & (w_NT <= width_N1) & (h_NT > 0) & (h_NT <= height_N1)
    left_NT = np.floor(draws_NT4[..., 2] * (width_N1 - w_NT + 1))
    upper_NT = np.floor(draws_NT4[..., 3] * (height_N1 - h_NT + 1))
    tries_NT4 = np.stack([left_NT, upper_NT, left_NT + w_NT, upper_NT + h_NT], axis=-1)
    first_N = fits_NT.argmax(axis=1)
    boxes_N4 = tries_NT4[np.arange(len(first_N)), first_N]
    boxes_N4 = np.where(fits_NT.any(axis=1)[:, None], boxes_N4, central_boxes(sizes_N2))
    return boxes_N4.astype(np.int64)


def central_boxes(sizes_N2: NDArray[Any]) -> NDArray[np.float64]:
    """The largest central crop of each image with an aspect in [3/4, 4/3]: boxes_N4."""
    width_N, height_N = sizes_N2[:, 0], sizes_N2[:, 1]
    ratio_N = np.clip(width_N / height_N, 3 / 4, 4 / 3)
    w_N = np.minimum(width_N, np.rint(height_N * ratio_N))
    h_N = np.minimum(height_N, np.rint(width_N / ratio_N))
    left_N, upper_N = (width_N - w_N) // 2, (height_N - h_N) // 2
    return np.stack([left_N, upper_N, left_N + w_N, upper_N + h_N], axis=-1)


def cut(
    images: Sequence[PILImage.Image],
    boxes_N4: NDArray[np.int64],
    size: int,
    resample: PILImage.Resampling = PILImage.Resampling.BICUBIC,
) -> Pixels:
    """The box of each image, cut out and then resized to uint8 [N, size, size, 3].

    The filter sees nothing beyond the box. Source: torchvision's RandomResizedCrop.
    """
    pixels = np.empty((len(images), size, size, 3), np.uint8)
    for row, image, box in zip(pixels, images, boxes_N4.tolist(), strict=True):
        row[:] = np.asarray(image.crop(tuple(box)).resize((size, size), resample))
    return pixels


def image_sizes(images: Sequence[PILImage.Image]) -> NDArray[np.int64]:
    """(width, height) of each image: sizes_N2."""
    return np.array([image.size for image in images], np.int64).reshape(-1, 2)
