"""Random views of images: DINO's multi-crop, and BEiT's crop for the encoder and the dVAE.

All random numbers are functions of (seed, update, row of the global batch, crop), so that they do
not depend on the number of ranks, and a continued run sees the same views.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image as PILImage
from torch import Tensor

from flava.config import DinoInitConfig
from flava.data.boxes import BOX_DRAWS, Draws, cut, image_sizes, random_boxes
from flava.data.colour import COLOUR_DRAWS, Colours, Jitter, apply_colours, draw_colours
from flava.data.schedule import Stream, generator
from flava.data.transforms import MEAN, STD, Pixels

DINO_JITTER = Jitter(brightness=0.4, contrast=0.4, saturation=0.2, hue=0.1)
DINO_BLUR = (1.0, 0.1, 0.5)  # probability for the first and second global crop, and local ones


@dataclass(frozen=True)
class Views:
    """Crops of one size and what happens to their colours, applied on the model's device.

    Attributes:
        pixels_NCHW: uint8; N runs over crops, and in each over the images.
        colours: of each of the N.
    """

    pixels_NCHW: Tensor
    colours: Colours

    def to(self, device: torch.device) -> Views:
        """The same on `device`."""
        return Views(self.pixels_NCHW.to(device, non_blocking=True), self.colours.to(device))

    def unit(self) -> Tensor:
        """float32 NCHW in [0, 1], with the colours changed."""
        return apply_colours(self.pixels_NCHW.to(torch.float32).div_(255), self.colours)

    def normalised(self) -> Tensor:
        """The same with CLIP's mean and std, which FLAVA's encoder reads (DINO: ImageNet's)."""
        return standardised(self.unit())


def view_draws(seed: int, update: int, rows: range, crops: int) -> Draws:
    """Uniform numbers draws_BCU in [0, 1) of each crop of some rows of the global batch."""
    size = BOX_DRAWS + COLOUR_DRAWS
    random = generator(seed, Stream.AUGMENT, update)
    # a double takes one step of the generator, so each rank draws its own rows only
    random.bit_generator.advance(rows.start * crops * size)  # type: ignore[attr-defined]
    return random.random((len(rows), crops, size))


def multi_crop_views(
    images: Sequence[PILImage.Image], draws_BCU: Draws, config: DinoInitConfig, image_size: int
) -> list[Views]:
    """DINO's two global crops and, where there are any, its local crops.

    Args:
        images: B RGB images.
        draws_BCU: of `view_draws`, with 2 + local_crops crops.
        config: sizes, areas and strengths.
        image_size: pixels a side of global crops.

    Returns:
        Views of the global crops [2 B], and of the local crops [local_crops B].

    Source: DINO, `main_dino.py:DataAugmentationDINO`.
    """
    draws_CBU = np.ascontiguousarray(draws_BCU.transpose(1, 0, 2))
    scale = (config.global_scale_min, 1.0)
    groups = [_dino_group(images, draws_CBU[:2], scale, image_size, [0, 1], config)]
    if config.local_crops:
        scale, kinds = (config.local_scale_min, config.local_scale_max), [2] * config.local_crops
        groups.append(_dino_group(images, draws_CBU[2:], scale, config.local_size, kinds, config))
    return groups


def _dino_group(
    images: Sequence[PILImage.Image],
    draws_CBU: Draws,
    scale: tuple[float, float],
    size: int,
    kinds: list[int],
    config: DinoInitConfig,
) -> Views:
    """Crops of one size; `kinds` are positions in DINO_BLUR: 1 is the second global crop."""
    draws_NU = draws_CBU.reshape(-1, draws_CBU.shape[-1])
    repeated = [image for _ in kinds for image in images]
    boxes_N4 = random_boxes(draws_NU, image_sizes(repeated), *scale)
    colours = draw_colours(
        draws_NU[:, BOX_DRAWS:],
        DINO_JITTER.scaled(config.color_jitter),
        gray_p=config.gray_probability,
        blur_p_N=np.repeat([DINO_BLUR[kind] for kind in kinds], len(images)),
        solarise_p_N=np.repeat(
            [config.solarise_probability * (k == 1) for k in kinds], len(images)
        ),
        sigma_max=config.blur_sigma_max,
    )
    return Views(channels_first(cut(repeated, boxes_N4, size)), colours)


def beit_views(
    images: Sequence[PILImage.Image],
    seed: int,
    update: int,
    rows: range,
    *,
    image_size: int,
    token_size: int,
    scale_min: float,
    color_jitter: float,
) -> tuple[Tensor, Tensor]:
    """BEiT's random crop, flip and colour jitter, the same for the encoder and for the dVAE.

    Args:
        images: RGB images of the rows.
        seed, update, rows: whose random numbers are used; rows of the global batch.
        image_size: pixels a side for the encoder (resized bicubically).
        token_size: pixels a side for the dVAE: grid x downsample (Lanczos).
        scale_min: crops' areas are uniform from here to 1.
        color_jitter: strength of brightness, contrast and saturation; hue is kept.

    Returns:
        float32 CLIP-normalised pixels_BCHW of the encoder, and float32 pixels in [0, 1] of the
        dVAE.

    Source: BEiT, `datasets.py:DataAugmentationForBEiT`. It changes the colours before the crop, so
    that there the contrast refers to the whole image's mean.
    """
    draws_BU = view_draws(seed, update, rows, crops=1)[:, 0]
    boxes_B4 = random_boxes(draws_BU, image_sizes(images), scale_min, 1.0)
    strength = min(1.0, color_jitter)
    jitter = Jitter(strength, strength, strength, 0.0)
    colours = draw_colours(draws_BU[:, BOX_DRAWS:], jitter, jitter_p=1.0, gray_p=0.0)
    encoder = Views(channels_first(cut(images, boxes_B4, image_size)), colours)
    lanczos = cut(images, boxes_B4, token_size, PILImage.Resampling.LANCZOS)
    return encoder.normalised(), Views(channels_first(lanczos), colours).unit()


def channels_first(pixels_NHWC: Pixels) -> Tensor:
    """uint8 NHWC to uint8 NCHW."""
    return torch.from_numpy(pixels_NHWC).permute(0, 3, 1, 2).contiguous()


def standardised(pixels_NCHW: Tensor) -> Tensor:
    """Pixels in [0, 1] with CLIP's mean and std; in place."""
    device = pixels_NCHW.device
    mean_C11 = torch.tensor(MEAN, device=device).view(3, 1, 1)
    std_C11 = torch.tensor(STD, device=device).view(3, 1, 1)
    return pixels_NCHW.sub_(mean_C11).div_(std_C11)
