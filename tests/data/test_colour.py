"""Colour changes of a batch, against Python's and PIL's own."""

from __future__ import annotations

import colorsys
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageFilter, ImageOps
from torch import Tensor

from flava.data.colour import (
    COLOUR_DRAWS,
    Colours,
    Jitter,
    apply_colours,
    blur,
    brightness,
    contrast,
    draw_colours,
    hue,
    luma,
    saturation,
)

DINO = Jitter(0.4, 0.4, 0.2, 0.1)


@pytest.fixture
def pixels() -> Tensor:
    """Five random images, quantised, so that PIL can hold them."""
    levels = torch.randint(0, 256, (5, 3, 12, 10), generator=torch.Generator().manual_seed(0))
    return levels.float() / 255


def pil(pixels_CHW: Tensor) -> Image.Image:
    return Image.fromarray((pixels_CHW * 255).round().byte().permute(1, 2, 0).numpy())


def tensor(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255


def nothing(count: int) -> Colours:
    draws = np.full((count, COLOUR_DRAWS), 0.99)
    return draw_colours(draws, DINO)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (brightness, ImageEnhance.Brightness),
        (contrast, ImageEnhance.Contrast),
        (saturation, ImageEnhance.Color),
    ],
)
def test_factors_do_what_pil_does(pixels: Tensor, ours, theirs) -> None:
    factors = torch.tensor([0.0, 0.6, 1.0, 1.4, 1.8])
    changed = ours(pixels, factors)
    for image, factor, result in zip(pixels, factors.tolist(), changed, strict=True):
        # PIL rounds gray values, their mean and the result to whole levels
        expected = tensor(theirs(pil(image)).enhance(factor))
        torch.testing.assert_close(result, expected, atol=2.1 / 255, rtol=0)


def test_hue_turns_as_colorsys_does(pixels: Tensor) -> None:
    shifts = torch.tensor([-0.5, -0.1, 0.0, 0.1, 0.37])
    pixels[0, :, 0, 0], pixels[1, :, 0, 0] = 0.3, 0.0  # gray and black have no hue
    turned = hue(pixels, shifts)
    for image, shift, result in zip(pixels, shifts.tolist(), turned, strict=True):
        for before, after in zip(
            image.flatten(1).T.tolist(), result.flatten(1).T.tolist(), strict=True
        ):
            h, s, v = colorsys.rgb_to_hsv(*before)
            assert after == pytest.approx(colorsys.hsv_to_rgb((h + shift) % 1, s, v), abs=1e-5)
    torch.testing.assert_close(turned[2], pixels[2])


def test_gray_flip_and_solarisation_are_pils(pixels: Tensor) -> None:
    yes, no = torch.ones(5, dtype=torch.bool), nothing(5)
    gray = apply_colours(pixels.clone(), replace(no, gray_N=yes))
    flipped = apply_colours(pixels.clone(), replace(no, flip_N=yes))
    solarised = apply_colours(pixels.clone(), replace(no, solarise_N=yes))
    for n, image in enumerate(map(pil, pixels)):
        torch.testing.assert_close(
            gray[n], tensor(image.convert("L").convert("RGB")), atol=1 / 255, rtol=0
        )
        torch.testing.assert_close(flipped[n], tensor(ImageOps.mirror(image)))
        torch.testing.assert_close(solarised[n], tensor(ImageOps.solarize(image)))


def test_blur_is_a_gaussian_with_repeated_edges() -> None:
    point = torch.zeros(2, 3, 25, 25)
    point[:, :, 12, 12] = 1
    blurred = blur(point, torch.tensor([0.5, 2.0]), 8)
    for sigma, image in zip((0.5, 2.0), blurred[:, 0], strict=True):
        assert float(image.sum()) == pytest.approx(1, abs=1e-5)
        ratio = float(image[12, 12] / image[12, 13])
        assert ratio == pytest.approx(float(np.exp(0.5 / sigma**2)), rel=1e-4)
    offsets = torch.arange(-12.0, 13)
    variance = float((blurred[1, 0].sum(dim=0) * offsets.square()).sum())
    assert variance == pytest.approx(4, rel=0.01)
    flat = torch.full((1, 3, 8, 8), 0.7)
    torch.testing.assert_close(blur(flat, torch.tensor([1.5]), 9), flat)
    image = torch.rand(1, 3, 24, 24, generator=torch.Generator().manual_seed(0))
    near = tensor(pil(image[0]).filter(ImageFilter.GaussianBlur(1.5)))
    assert (blur(image, torch.tensor([1.5]), 5)[0] - near).abs().mean() < 0.01


def test_frequencies_and_ranges_of_the_draws() -> None:
    count = 20_000
    draws = np.random.default_rng(0).random((count, COLOUR_DRAWS))
    half = np.repeat([1.0, 0.1], count // 2)
    colours = draw_colours(draws, DINO, blur_p_N=half, solarise_p_N=0.2)
    shares = {
        "flip": (colours.flip_N, 0.5),
        "jitter": (colours.jitter_N, 0.8),
        "gray": (colours.gray_N, 0.2),
        "solarise": (colours.solarise_N, 0.2),
    }
    for name, (chosen, p) in shares.items():
        assert float(chosen.float().mean()) == pytest.approx(p, abs=0.015), name
    blurred = colours.sigma_N > 0
    assert blurred[: count // 2].all()
    assert float(blurred[count // 2 :].float().mean()) == pytest.approx(0.1, abs=0.01)
    sigma = colours.sigma_N[blurred]
    assert float(sigma.min()) >= 0.1 and float(sigma.max()) <= 2
    low, high = colours.factors_N4.amin(dim=0), colours.factors_N4.amax(dim=0)
    torch.testing.assert_close(low, torch.tensor([0.6, 0.6, 0.8, -0.1]), atol=1e-3, rtol=0)
    torch.testing.assert_close(high, torch.tensor([1.4, 1.4, 1.2, 0.1]), atol=1e-3, rtol=0)
    first = torch.bincount(colours.order_N4[:, 0], minlength=4) / count
    torch.testing.assert_close(first, torch.full((4,), 0.25), atol=0.015, rtol=0)
    assert (colours.order_N4.sort(dim=1).values == torch.arange(4)).all()


def test_images_change_alone_and_stay_in_range(pixels: Tensor) -> None:
    draws = np.random.default_rng(3).random((5, COLOUR_DRAWS))
    colours = draw_colours(draws, DINO.scaled(2), jitter_p=1, blur_p_N=0.5, solarise_p_N=0.5)
    together = apply_colours(pixels.clone(), colours)
    assert float(together.min()) >= 0 and float(together.max()) <= 1
    assert not torch.equal(together, pixels)
    for n in range(5):
        own = draw_colours(draws[n : n + 1], DINO.scaled(2), 1, 0.2, 0.5, 0.5)
        alone = apply_colours(pixels[n : n + 1].clone(), own)
        torch.testing.assert_close(alone[0], together[n], atol=1e-6, rtol=0)
    untouched = apply_colours(pixels.clone(), nothing(5))
    assert torch.equal(untouched, pixels)


def test_the_order_of_the_jitter_matters_and_is_kept(pixels: Tensor) -> None:
    factors = torch.tensor([[1.4, 0.6, 1.2, 0.1]])
    colours = replace(
        nothing(1),
        jitter_N=torch.ones(1, dtype=torch.bool),
        factors_N4=factors,
        order_N4=torch.tensor([[3, 1, 0, 2]]),
    )
    expected = pixels[:1]
    for number in (3, 1, 0, 2):
        operation = (brightness, contrast, saturation, hue)[number]
        expected = operation(expected, factors[:, number])
    changed = apply_colours(pixels[:1].clone(), colours)
    torch.testing.assert_close(changed, expected)
    other = apply_colours(
        pixels[:1].clone(), replace(colours, order_N4=torch.tensor([[0, 1, 2, 3]]))
    )
    assert not torch.allclose(changed, other)


def test_strength_scales_the_jitter_within_bounds() -> None:
    assert DINO.scaled(0) == Jitter(0, 0, 0, 0)
    assert DINO.scaled(10) == Jitter(1, 1, 1, 0.5)
    assert float(luma(torch.ones(1, 3, 1, 1))) == pytest.approx(1)
