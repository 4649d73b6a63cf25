"""Multi-crop and BEiT's views: sizes, determinism, the same crop for encoder and dVAE."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from flava.config import DinoInitConfig, FlavaConfig
from flava.data.augment import Views, beit_views, multi_crop_views, standardised, view_draws
from flava.data.transforms import MEAN, STD
from flava.models.encoders import ImageEncoder
from flava.params import read_yaml

PLAIN = DinoInitConfig(
    local_crops=3, local_size=8, color_jitter=0.0, gray_probability=0.0, solarise_probability=0.0
)


def pictures(count: int, side: int = 32) -> list[Image.Image]:
    rng = np.random.default_rng(0)
    return [
        Image.fromarray(rng.integers(0, 256, (side + n % 3, side, 3), np.uint8))
        for n in range(count)
    ]


def test_draws_depend_on_seed_update_row_and_crop_alone() -> None:
    whole = view_draws(1, 5, range(8), crops=4)
    assert whole.shape == (8, 4, 54) and whole.min() >= 0 and whole.max() < 1
    assert (view_draws(1, 5, range(3, 6), crops=4) == whole[3:6]).all()
    for other in (view_draws(2, 5, range(8), 4), view_draws(1, 6, range(8), 4)):
        assert not np.isin(other, whole).any()
    assert len(np.unique(whole)) == whole.size


def test_multi_crop_gives_two_global_crops_and_local_ones() -> None:
    images = pictures(6)
    views = multi_crop_views(images, view_draws(0, 0, range(6), 5), PLAIN, 16)
    assert [v.pixels_NCHW.shape for v in views] == [(12, 3, 16, 16), (18, 3, 8, 8)]
    blurred = [(v.colours.sigma_N > 0).view(-1, 6) for v in views]
    assert blurred[0][0].all() and not blurred[0][1].all() and not blurred[1].all()
    for view in views:
        pixels = view.normalised()
        back = pixels * torch.tensor(STD).view(3, 1, 1) + torch.tensor(MEAN).view(3, 1, 1)
        assert float(back.min()) > -1e-5 and float(back.max()) < 1 + 1e-5
    only = multi_crop_views(
        images,
        view_draws(0, 0, range(6), 2),
        PLAIN.model_copy(update={"local_crops": 0}),
        16,
    )
    assert len(only) == 1


def test_only_second_global_crops_are_solarised() -> None:
    config = PLAIN.model_copy(update={"solarise_probability": 1.0, "gray_probability": 1.0})
    views = multi_crop_views(pictures(4), view_draws(0, 0, range(4), 5), config, 16)
    assert views[0].colours.solarise_N.tolist() == [False] * 4 + [True] * 4
    assert not views[1].colours.solarise_N.any() and views[1].colours.gray_N.all()


def test_local_crops_show_less_than_global_ones() -> None:
    # a horizontal ramp: the range of values in a crop is its width
    ramp = np.tile(np.linspace(0, 255, 64).astype(np.uint8)[None, :, None], (64, 1, 3))
    images = [Image.fromarray(ramp)] * 200
    sharp = PLAIN.model_copy(update={"blur_sigma_max": 0.01})
    big, small = multi_crop_views(images, view_draws(0, 0, range(200), 5), sharp, 32)
    spans = [
        (v.pixels_NCHW[:, 0].flatten(1).amax(1) - v.pixels_NCHW[:, 0].flatten(1).amin(1)).float()
        / 255
        for v in (big, small)
    ]
    # areas in [0.25, 1] and [0.05, 0.25]: sides of 0.75 and 0.38 in the mean, less half a pixel
    assert 0.69 < float(spans[0].mean()) < 0.77
    assert 0.3 < float(spans[1].mean()) < 0.4


def test_rows_of_a_batch_do_not_depend_on_how_it_is_split() -> None:
    images = pictures(6)
    whole = multi_crop_views(images, view_draws(3, 2, range(6), 5), PLAIN, 16)
    half = multi_crop_views(images[3:], view_draws(3, 2, range(3, 6), 5), PLAIN, 16)
    for a, b in zip(whole, half, strict=True):
        shape = a.pixels_NCHW.shape[1:]
        split = a.normalised().view(-1, 6, *shape)[:, 3:]
        torch.testing.assert_close(split, b.normalised().view(-1, 3, *shape), atol=1e-5, rtol=0)


def beit(images: list[Image.Image], rows: range = range(4), jitter: float = 0.4, seed: int = 0):
    return beit_views(
        images, seed, 7, rows, image_size=16, token_size=32, scale_min=0.08, color_jitter=jitter
    )


def test_encoder_and_dvae_see_the_same_crop_flip_and_colours() -> None:
    rng = np.random.default_rng(0)
    smooth = [
        Image.fromarray(rng.integers(0, 256, (5, 5, 3), np.uint8)).resize((60, 60), Image.BICUBIC)
        for _ in range(4)
    ]
    encoder, dvae = beit(smooth)
    assert encoder.shape == (4, 3, 16, 16) and dvae.shape == (4, 3, 32, 32)
    assert float(dvae.min()) >= 0 and float(dvae.max()) <= 1
    small = standardised(functional.avg_pool2d(dvae, 2).clone())
    assert (small - encoder).abs().mean() < 0.05
    assert (small.flip(-1) - encoder).abs().mean() > 0.2


def test_beit_views_are_deterministic_and_a_function_of_the_row() -> None:
    images = pictures(4)
    first, again = beit(images), beit(images)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    part = beit(images[2:], rows=range(2, 4))
    for whole, half in zip(first, part, strict=True):
        torch.testing.assert_close(whole[2:], half, atol=1e-5, rtol=0)
    assert not torch.equal(beit(images, seed=1)[0], first[0])
    plain = beit(images, jitter=0.0)
    assert not torch.equal(plain[0], first[0])


def test_views_move_and_are_made_where_they_lie() -> None:
    views = multi_crop_views(pictures(2), view_draws(0, 0, range(2), 5), PLAIN, 16)[0]
    moved = views.to(torch.device("cpu"))
    assert isinstance(moved, Views) and torch.equal(moved.unit(), views.unit())


def test_augmentation_is_faster_than_a_small_models_step(root: Path) -> None:
    images, config = pictures(128), DinoInitConfig(local_crops=0)
    sizes = FlavaConfig.model_validate(read_yaml(root / "params/toy.yaml")["flava"])
    encoder = ImageEncoder(sizes)

    def augment() -> Tensor:
        (views,) = multi_crop_views(images, view_draws(0, 0, range(128), 2), config, 32)
        return views.normalised()

    pixels = augment()
    times = [
        (seconds(augment), seconds(lambda: encoder.cls(pixels).sum().backward())) for _ in range(5)
    ]
    # Of the student alone; about four times as long. The least is the least disturbed.
    augmenting, stepping = (min(column) for column in zip(*times, strict=True))
    assert augmenting < stepping


def seconds(work: Callable[[], object]) -> float:
    """Processor time of some work."""
    start = time.process_time()
    work()
    return time.process_time() - start
