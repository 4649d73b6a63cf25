"""Images in and out: safe decoding, the fixed training crop, resizing and normalisation."""

from __future__ import annotations

import hashlib
import io
import math

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image as PILImage
from torch import Tensor

from flava.errors import DataError

MEAN = (0.48145466, 0.4578275, 0.40821073)  # CLIP's pixel mean and std, used by FLAVA too
STD = (0.26862954, 0.26130258, 0.27577711)
MAX_PIXELS = 64_000_000
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "PPM", "TIFF")
# What Pillow raises; a TIFF's offset that is a fraction is a TypeError when it is decoded.
DAMAGED = (OSError, SyntaxError, ValueError, EOFError, TypeError, PILImage.DecompressionBombError)
_RATIOS = (math.log(3 / 4), math.log(4 / 3))

Pixels = NDArray[np.uint8]


def decode_image(data: bytes, max_pixels: int = MAX_PIXELS) -> PILImage.Image:
    """Decodes an image of a known format to RGB of 8 bits a channel.

    Raises:
        DataError: not an image, truncated, larger than `max_pixels` (checked before decoding), or
            grey of 32 bits or fractions.
    """
    try:
        with PILImage.open(io.BytesIO(data), formats=FORMATS) as image:
            width, height = image.size
            if width * height > max_pixels:
                raise DataError(f"image of {width}x{height} pixels exceeds {max_pixels} pixels")
            return _eight_bits(image).convert("RGB")
    except DAMAGED as error:
        raise DataError(f"cannot decode image of {len(data)} bytes: {error}") from None


def _eight_bits(image: PILImage.Image) -> PILImage.Image:
    """Grey of 16 bits by its upper byte, as Pillow reads colours of 16 bits; it would clip grey."""
    wide = image.mode == "I" and image.format == "PPM"  # from any depth Pillow makes 16 bits of it
    if image.mode.startswith("I;16") or wide:
        return PILImage.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise DataError("grey of 32 bits or fractions: which value is white is not known")
    return image


def crop_box(
    key: str, width: int, height: int, scale_min: float
) -> tuple[float, float, float, float]:
    """The one crop of image `key`: (left, upper, right, lower) in pixels.

    Distributed as RandomResizedCrop (area in [scale_min, 1], aspect log-uniform in [3/4, 4/3],
    ten tries, then the central crop), but drawn from a hash of the key: an image has the same
    crop in every epoch and run, so its cached dVAE tokens belong to its pixels.
    """
    digest = hashlib.shake_256(key.encode()).digest(10 * 4 * 4)  # an expanding SHA-3 hash
    draws = np.frombuffer(digest, "<u4").reshape(10, 4) / 2**32
    for u_area, u_ratio, u_x, u_y in draws.tolist():
        area = width * height * (scale_min + (1 - scale_min) * u_area)
        ratio = math.exp(_RATIOS[0] + (_RATIOS[1] - _RATIOS[0]) * u_ratio)
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            left, upper = int(u_x * (width - w + 1)), int(u_y * (height - h + 1))
            return (left, upper, left + w, upper + h)
    ratio = min(max(width / height, 3 / 4), 4 / 3)
    w, h = min(width, round(height * ratio)), min(height, round(width / ratio))
    left, upper = (width - w) // 2, (height - h) // 2
    return (left, upper, left + w, upper + h)


def training_crop(
    image: PILImage.Image,
    key: str,
    scale_min: float,
    size: int,
    resample: PILImage.Resampling = PILImage.Resampling.BICUBIC,
) -> Pixels:
    """The fixed crop of `image`, cut out and then resized to uint8 [size, size, 3]; no flip.

    The box depends on key and image alone, so pixels for the encoder and for the dVAE, which
    has another size, show the same region; the filter sees nothing beyond it. Source:
    torchmultimodal's FLAVA transforms (RandomResizedCrop, scale 0.9 to 1, no flip).
    """
    cut = image.crop(crop_box(key, *image.size, scale_min))
    return np.asarray(cut.resize((size, size), resample))


def codebook_crop(image: PILImage.Image, key: str, scale_min: float, size: int) -> Pixels:
    """The same crop as DALL-E's encoder reads it, by Lanczos: uint8 [size, size, 3].

    Source: torchmultimodal's FLAVA transforms and Hugging Face's `FlavaImageProcessor`
    (`codebook_resample`).
    """
    return training_crop(image, key, scale_min, size, PILImage.Resampling.LANCZOS)


def resize_square(image: PILImage.Image, size: int) -> Pixels:
    """The whole image resized (bicubic) to uint8 [size, size, 3], aspect ratio not kept.

    Source: torchmultimodal's FLAVA evaluation transform.
    """
    return np.asarray(image.resize((size, size), PILImage.Resampling.BICUBIC))


def normalise(pixels_BHWC: Pixels) -> Tensor:
    """uint8 BHWC to float32 BCHW with CLIP's mean and std."""
    mean_C11 = torch.tensor(MEAN).view(3, 1, 1)
    std_C11 = torch.tensor(STD).view(3, 1, 1)
    return to_unit(pixels_BHWC).sub_(mean_C11).div_(std_C11)


def to_unit(pixels_BHWC: Pixels) -> Tensor:
    """uint8 BHWC to float32 BCHW in [0, 1]."""
    pixels_BCHW = torch.from_numpy(np.ascontiguousarray(pixels_BHWC.transpose(0, 3, 1, 2)))
    return pixels_BCHW.to(torch.float32).div_(255)
