"""Random resized crops: where they lie and what is cut."""

from __future__ import annotations

import hashlib

import numpy as np
from PIL import Image

from flava.data.boxes import BOX_DRAWS, cut, image_sizes, random_boxes
from flava.data.transforms import crop_box, training_crop


def key_draws(key: str) -> np.ndarray:
    """The uniform numbers that `crop_box` takes from a key."""
    digest = hashlib.shake_256(key.encode()).digest(10 * 4 * 4)
    return np.frombuffer(digest, "<u4").astype(np.float64) / 2**32


def test_a_box_is_that_of_the_fixed_crop_for_the_same_numbers() -> None:
    keys = [f"image {n}" for n in range(200)]
    sizes = [(40 + n % 61, 50 + n % 37) for n in range(200)] + [(300, 10), (7, 200)]
    keys += ["wide", "tall"]
    draws = np.stack([key_draws(key) for key in keys])
    boxes = random_boxes(draws, np.array(sizes), 0.3, 1.0)
    for key, size, box in zip(keys, sizes, boxes.tolist(), strict=True):
        assert tuple(box) == crop_box(key, *size, 0.3)


def test_areas_are_uniform_and_aspects_log_uniform() -> None:
    draws = np.random.default_rng(0).random((20_000, BOX_DRAWS))
    left, upper, right, lower = random_boxes(
        draws, np.full((20_000, 2), (1000, 1000)), 0.05, 0.25
    ).T.astype(float)
    area, ratio = (right - left) * (lower - upper) / 1e6, (right - left) / (lower - upper)
    assert area.min() > 0.049 and area.max() < 0.251
    assert abs(area.mean() - 0.15) < 0.002 and abs(area.std() - 0.2 / 12**0.5) < 0.001
    assert ratio.min() > 0.74 and ratio.max() < 1.35
    logs = np.log(ratio)
    assert abs(logs.mean()) < 0.005 and abs(logs.std() - 2 * np.log(4 / 3) / 12**0.5) < 0.003
    # places: uniform over all that fit
    across = left / (1000 - (right - left))
    assert abs(across.mean() - 0.5) < 0.01 and abs(across.std() - 12**-0.5) < 0.01
    assert min(left.min(), upper.min()) >= 0 and max(right.max(), lower.max()) <= 1000


def test_an_image_that_no_try_fits_gives_its_central_part() -> None:
    draws = np.full((2, BOX_DRAWS), 0.999)
    boxes = random_boxes(draws, np.array([(900, 30), (30, 900)]), 1.0, 1.0)
    assert boxes.tolist() == [[430, 0, 470, 30], [0, 430, 30, 470]]


def test_pixels_are_those_of_the_box_alone() -> None:
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 256, (40, 50, 3), np.uint8))
    box = (10, 8, 34, 30)
    elsewhere = Image.new("RGB", image.size, "white")
    elsewhere.paste(image.crop(box), box)
    one, other = cut([image, elsewhere], np.array([box, box]), 16)
    assert (one == other).all()


def test_pixels_are_those_of_the_box_resized() -> None:
    rng = np.random.default_rng(0)
    images = [
        Image.fromarray(rng.integers(0, 256, (h, w, 3), np.uint8)) for w, h in ((50, 40), (33, 60))
    ]
    assert image_sizes(images).tolist() == [[50, 40], [33, 60]]
    boxes = np.array([crop_box("a", 50, 40, 0.5), crop_box("b", 33, 60, 0.5)])
    pixels = cut(images, boxes, 16)
    assert (pixels[0] == training_crop(images[0], "a", 0.5, 16)).all()
    assert (pixels[1] == training_crop(images[1], "b", 0.5, 16)).all()
