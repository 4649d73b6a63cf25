"""Retrieval ranks against brute force, ties, chance levels and the protocol's end-to-end score."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from flava.errors import ConfigError, TrainingError
from flava.evaluate import retrieval
from flava.evaluate.bootstrap import bootstrap_std
from flava.evaluate.images import ArrayImages
from flava.evaluate.taskdata import RetrievalTask
from tests.evaluate.fakes import FakeBackbone, context


def brute_force(images, texts, image_of):
    """Ranks by looking at every pair in float64: how many wrong candidates score as high as the
    best right one or higher, or None where one is so near the limit of a tie that rounding decides.
    """
    cosine = images.astype(np.float64) @ texts.astype(np.float64).T

    def rank(scores, right):
        least = max(scores[k] for k in range(len(scores)) if right[k]) - retrieval.TIE
        wrong = [scores[k] for k in range(len(scores)) if not right[k]]
        if any(abs(score - least) < retrieval.TIE / 2 for score in wrong):
            return None
        return sum(score >= least for score in wrong)

    every = range(len(images))
    text_ranks = [rank(cosine[i], [image_of[m] == i for m in range(len(texts))]) for i in every]
    image_ranks = [rank(cosine[:, m], [i == image_of[m] for i in every]) for m in range(len(texts))]
    return text_ranks, image_ranks


@settings(deadline=None, max_examples=60)
@given(st.integers(2, 12), st.integers(1, 5), st.integers(0, 10**6), st.booleans())
def test_ranks_against_brute_force(n_images, per_image, seed, coarse):
    random = np.random.default_rng(seed)
    draw = (lambda *s: random.integers(-1, 2, s)) if coarse else random.normal
    make = lambda n: draw(n, 4) if coarse else random.normal(size=(n, 4))  # noqa: E731
    images = retrieval.unit(make(n_images).astype(np.float32))
    texts = retrieval.unit(make(n_images * per_image).astype(np.float32))
    image_of = random.permutation(np.repeat(np.arange(n_images), per_image))
    text_rank, image_rank = retrieval.ranks(images, texts, image_of)
    expected_text, expected_image = brute_force(images, texts, image_of)
    for found, expected in ((text_rank, expected_text), (image_rank, expected_image)):
        assert all(b is None or a == b for a, b in zip(found.tolist(), expected, strict=True))
        assert sum(b is None for b in expected) <= 1, "the reference decides"


def test_chunks_do_not_matter(monkeypatch):
    random = np.random.default_rng(0)
    images, texts = (
        retrieval.unit(random.normal(size=(n, 8)).astype(np.float32)) for n in (30, 90)
    )
    image_of = np.repeat(np.arange(30), 3)
    whole = retrieval.ranks(images, texts, image_of)
    monkeypatch.setattr(retrieval, "CHUNK", 7)
    for a, b in zip(whole, retrieval.ranks(images, texts, image_of), strict=True):
        assert a.tolist() == b.tolist()


def test_constant_embeddings_never_hit():
    ones = retrieval.unit(np.ones((20, 4), np.float32))
    text_rank, image_rank = retrieval.ranks(
        ones, np.repeat(ones, 5, 0), np.repeat(np.arange(20), 5)
    )
    assert (text_rank >= 5).all() and (image_rank >= 5).all()


def test_random_recall_by_enumeration():
    captions = np.array([2, 1, 3])
    owner = np.repeat(np.arange(3), captions)
    hits = [
        np.mean([any(owner[m] == i for m in order[:2]) for i in range(3)])
        for order in itertools.permutations(range(6))
    ]
    assert retrieval.random_recall("TR", 2, captions) == pytest.approx(np.mean(hits))
    assert retrieval.random_recall("IR", 2, captions) == pytest.approx(2 / 3)
    assert retrieval.random_recall("IR", 5, captions) == 1


def test_row_names():
    assert retrieval.parse_row("Flickr30K TR R@1") == ("TR", 1)
    assert retrieval.parse_row("COCO IR R@10") == ("IR", 10)
    for bad in ("COCO", "COCO TR", "COCO TR R@x", "COCO XR R@1", ""):
        with pytest.raises(ConfigError, match="must end in"):
            retrieval.parse_row(bad)


def planted(n: int = 12) -> RetrievalTask:
    pixels = np.random.default_rng(0).integers(0, 256, (n, 16, 16, 3), np.uint8)
    captions = [f"word{i} copy{k}" for i in range(n) for k in range(5)]
    return RetrievalTask(ArrayImages(pixels), captions, np.repeat(np.arange(n), 5))


class Oracle(FakeBackbone):
    """Embeds an image and its captions at the same place, except for the first image."""

    def image_embeddings(self, pixels_BCHW):
        keys = (pixels_BCHW.mean(dim=(1, 2, 3)) * 1e4).round().long()
        known = {int(k): i for i, k in enumerate(self.keys)}
        rows = [known[int(k)] for k in keys]
        return torch.eye(len(self.keys))[[len(self.keys) - 1 if r == 0 else r for r in rows]]

    def text_embeddings(self, text_BL, attention_BL):
        tokens = [self.words_of[int(t)] for t in text_BL[:, 1]]
        return torch.eye(len(self.keys))[tokens]


def test_scores_of_an_oracle():
    from flava.data.transforms import normalise

    task, model = planted(), Oracle()
    pixels = normalise(task.images.pixels(np.arange(12), 16))
    model.keys = (pixels.mean(dim=(1, 2, 3)) * 1e4).round().long()
    fake = context("retrieval", "recall", model)
    model.words_of = {fake.tokenizer.pair(f"word{i}")[1]: i for i in range(12)}
    text, image = retrieval.evaluate(fake, task)
    assert (text.row, text.metric, text.n_examples) == ("Fake TR R@1", "TR R@1", 12)
    # Image 0 sits on image 11: it misses, and captions of image 11 tie with it, which counts.
    assert text.value == pytest.approx(100 * 11 / 12, abs=1e-3)
    assert image.value == pytest.approx(100 * 11 / 12, abs=1e-3)
    assert image.details["IR R@1"] == pytest.approx(100 * 10 / 12, abs=1e-3)
    assert text.chance == pytest.approx(100 / 12, abs=1e-3)
    assert image.chance == pytest.approx(500 / 12, abs=1e-3)
    assert text.details["TR median rank"] == text.details["IR median rank"] == 1
    hits = np.repeat(np.arange(12) > 0, 5)  # the captions of image 0 miss together
    error = bootstrap_std(lambda rows: np.mean(hits[rows]), 60, fake.resamples, task.image_M)
    assert image.std_error == pytest.approx(100 * error, abs=1e-3)


def test_broken_embeddings_are_refused():
    model = FakeBackbone()
    model.words.weight.data[:] = float("nan")
    with pytest.raises(TrainingError, match="features of 60 of 60 different inputs are not finite"):
        retrieval.evaluate(context("retrieval", "recall", model), planted())
