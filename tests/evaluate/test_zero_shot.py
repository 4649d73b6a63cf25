"""Zero-shot classification: a class is the normalised mean of its normalised prompts."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from flava.data.transforms import normalise
from flava.evaluate import zero_shot
from flava.evaluate.features import pad
from flava.evaluate.images import ArrayImages
from flava.evaluate.taskdata import Split, ZeroShotTask
from tests.evaluate.fakes import FakeBackbone, context

CLASSES = ["cat", "green {dog}", "bird", "tree", "car", "house", "red ball", "boat"]
TEMPLATES = ["a photo of {}", "{}", "one {} here"]


class Long(FakeBackbone):
    """Embeddings of very different lengths, so that a missing normalisation shows."""

    def text_embeddings(self, text_BL, attention_BL):
        return self.text_features(text_BL, attention_BL) * text_BL.sum(1, keepdim=True)

    def image_embeddings(self, pixels_BCHW):
        return 100 * self.image_features(pixels_BCHW)


def task(n: int = 30) -> ZeroShotTask:
    random = np.random.default_rng(0)
    images = ArrayImages(random.integers(0, 256, (n, 16, 16, 3), np.uint8))
    return ZeroShotTask(
        Split(random.integers(0, len(CLASSES), n), images, np.arange(n)), CLASSES, TEMPLATES
    )


def reference(model, tokenizer) -> np.ndarray:
    """Class by class, prompt by prompt."""
    rows = []
    for name in CLASSES:
        total = np.zeros(32)
        for template in TEMPLATES:
            before, after = template.split("{}")
            text, attention = pad([tokenizer.pair(before + name + after)], 0)
            prompt = model.text_embeddings(text, attention)[0].detach().double().numpy()
            total += prompt / np.linalg.norm(prompt)
        mean = total / len(TEMPLATES)
        rows.append(mean / np.linalg.norm(mean))
    return np.array(rows)


def test_normalised_mean_of_normalised_prompts():
    model = Long()
    fake = context("zero_shot", model=model)
    expected = reference(model, fake.tokenizer)
    assert zero_shot.class_embeddings(fake, task()) == pytest.approx(expected, abs=1e-5)


def test_score_is_that_of_the_nearest_class():
    model, data = Long(), task()
    fake = context("zero_shot", model=model)
    with torch.no_grad():
        pixels = normalise(data.test.images.pixels(np.arange(30), 16))
        images = model.image_features(pixels).double().numpy()
    order = np.argsort(-(images @ reference(model, fake.tokenizer).T), axis=1)
    right = order == data.test.targets[:, None]
    (score,) = zero_shot.evaluate(fake, data)
    assert score.value == pytest.approx(100 * np.mean(right[:, 0]), abs=1e-3)
    assert (score.details["classes"], score.details["templates"]) == (8, 3)
    assert score.details["top-5"] == pytest.approx(100 * right[:, :5].any(axis=1).mean(), abs=1e-3)
    assert right[:, 4].any() and score.details["uniform chance"] == 12.5
