"""Crops, normalisation and safe decoding."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from data_helpers import png
from PIL import Image

from flava.data.archive import image_extension
from flava.data.transforms import (
    FORMATS,
    MEAN,
    STD,
    Pixels,
    codebook_crop,
    crop_box,
    decode_image,
    normalise,
    resize_square,
    to_unit,
    training_crop,
)
from flava.errors import DataError


def encoded(image: Image.Image, form: str) -> bytes:
    file = io.BytesIO()
    image.save(file, form)
    return file.getvalue()


def test_crop_belongs_to_the_key() -> None:
    image = decode_image(png(1, 64))
    one, same = (training_crop(image, "a", 0.5, 32) for _ in range(2))
    assert np.array_equal(one, same)
    assert one.shape == (32, 32, 3)
    assert one.dtype == np.uint8
    assert not np.array_equal(one, training_crop(image, "b", 0.5, 32))


def test_crop_boxes_are_those_of_random_resized_crop() -> None:
    boxes = np.array([crop_box(str(i), 640, 480, 0.9) for i in range(3000)])
    width, height = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    assert boxes.min() >= 0
    assert boxes[:, 2].max() <= 640
    assert boxes[:, 3].max() <= 480
    area = width * height / (640 * 480)
    assert area.min() > 0.89
    assert area.max() <= 1
    assert area.mean() < 0.99
    assert ((width / height) > 0.74).all()
    assert ((width / height) < 1.35).all()
    assert len(np.unique(boxes[:, 0])) > 10
    # A very wide image has no such crop of 90 %: the central one of aspect 4/3.
    assert crop_box("x", 400, 90, 0.9) == (140, 0, 260, 90)


def test_crop_without_scaling_is_the_image() -> None:
    image = decode_image(png(1))
    assert np.array_equal(training_crop(image, "k", 1.0, 32), np.asarray(image))
    assert resize_square(image, 8).shape == (8, 8, 3)


@pytest.mark.parametrize("resize", [training_crop, codebook_crop])
def test_a_crop_sees_nothing_beyond_its_box(resize: Callable[..., Pixels]) -> None:
    image = decode_image(png(5, 128))
    box = crop_box("k", 128, 128, 0.5)
    elsewhere = Image.new("RGB", image.size, "white")
    elsewhere.paste(image.crop(box), box)
    assert np.array_equal(resize(image, "k", 0.5, 32), resize(elsewhere, "k", 0.5, 32))


def test_sizes_show_the_same_region() -> None:
    image = decode_image(png(5, 128))
    big, small = training_crop(image, "k", 0.5, 64), training_crop(image, "k", 0.5, 16)
    shrunk = np.asarray(Image.fromarray(big).resize((16, 16), Image.Resampling.BOX))
    assert np.abs(shrunk.astype(int) - small).mean() < 8


def test_normalise() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (2, 4, 5, 3), np.uint8)
    out = normalise(pixels)
    assert out.shape == (2, 3, 4, 5)
    expected = (pixels[1, 2, 3] / 255 - np.array(MEAN)) / np.array(STD)
    assert torch.allclose(out[1, :, 2, 3].double(), torch.tensor(expected), atol=1e-6)
    assert float(to_unit(pixels).max()) <= 1


@pytest.mark.parametrize("form", FORMATS)
def test_formats(form: str) -> None:
    data = encoded(Image.new("RGB", (5, 4), (255, 0, 0)), form)
    assert decode_image(data).size == (5, 4)
    assert decode_image(data).mode == "RGB"
    assert image_extension(data) in {"png", "jpg", "webp", "gif", "bmp", "ppm", "tif"}


def test_other_modes_become_rgb() -> None:
    for mode in ("L", "P", "RGBA", "1", "LA"):
        assert decode_image(encoded(Image.new(mode, (3, 3)), "PNG")).mode == "RGB"


@pytest.mark.parametrize("form", ["PNG", "TIFF", "PPM"])
def test_grey_of_16_bits_keeps_its_brightness(form: str) -> None:
    grey_HW = np.linspace(0, 65535, 64 * 64).reshape(64, 64).astype(np.uint16)
    found_HWC = np.asarray(decode_image(encoded(Image.fromarray(grey_HW), form)))
    assert np.array_equal(found_HWC, np.repeat((grey_HW // 256)[..., None], 3, -1))


def test_big_endian_grey_of_16_bits_is_read_alike() -> None:
    grey_HW = np.linspace(0, 65535, 64).reshape(8, 8).astype(np.uint16)
    image = Image.frombytes("I;16B", (8, 8), grey_HW.astype(">u2").tobytes())
    found_HWC = np.asarray(decode_image(encoded(image, "TIFF")))
    assert np.array_equal(found_HWC[..., 0], grey_HW // 256)


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_grey_without_a_known_white_is_refused(dtype: type) -> None:
    grey_HW = np.linspace(0, 1, 64).reshape(8, 8).astype(dtype)
    with pytest.raises(DataError, match="which value is white is not known"):
        decode_image(encoded(Image.fromarray(grey_HW), "TIFF"))


@pytest.mark.parametrize("data", [b"", b"text", png(1)[:60], png(1)[:-30], b"\xff\xd8\xff\xe0junk"])
def test_corrupt_images(data: bytes) -> None:
    with pytest.raises(DataError, match="cannot decode image of"):
        decode_image(data)


def damaged(data: bytes) -> Iterator[bytes]:
    """Every byte of the file's start replaced by some other, and the file cut anywhere in it."""
    for position in range(min(len(data), 150)):
        yield data[:position]
        for value in (0, 1, 5, 11, 12, 127, 255):
            yield data[:position] + bytes([value]) + data[position + 1 :]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("form", FORMATS)
def test_damaged_images_are_decoded_or_refused(form: str) -> None:
    """A TIFF whose sizes or offsets are of another type is refused too."""
    pixels = np.random.default_rng(0).integers(0, 256, (17, 13, 3), np.uint8)
    refused = 0
    for data in damaged(encoded(Image.fromarray(pixels), form)):
        try:
            assert decode_image(data, max_pixels=1_000_000).mode == "RGB"
        except DataError:
            refused += 1
    assert refused > 100


def test_too_large_image_is_refused_before_decoding() -> None:
    data = encoded(Image.new("1", (3000, 3000)), "PNG")
    with pytest.raises(DataError, match="3000x3000 pixels exceeds 1000000"):
        decode_image(data, max_pixels=1_000_000)


def test_unknown_formats_have_no_extension() -> None:
    assert image_extension(b"<svg>") is None
    assert image_extension(b"") is None
    with pytest.raises(DataError):  # a format that Pillow knows, but not in the list
        decode_image(encoded(Image.new("RGB", (8, 8)), "ICO"))


def test_real_photos_decode(real_data: Path) -> None:
    from data_helpers import source

    from flava.data.sources import read_images

    for name in ("gtsrb", "dtd", "fer2013"):
        item = next(read_images(source("image_folder", f"$FLAVA_DATA/{name}/images.zip")))
        assert training_crop(decode_image(item.image_bytes), item.key, 0.9, 32).shape == (32, 32, 3)
