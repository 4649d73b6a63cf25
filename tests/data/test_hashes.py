"""Hashes of images and texts, and the search for near ones, against brute force."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageEnhance
from scipy import fft

from flava.config import TokenizerConfig
from flava.data import image_hash, text_hash
from flava.data.image_hash import hash_images, near_hashes, standardised
from flava.data.text_hash import TextHash, contains
from flava.data.tokenizer import build_tokenizer
from flava.data.transforms import resize_square
from tests.memory import peak_bytes


def photo(seed: int, side: int = 160) -> Image.Image:
    """Smooth random colour fields: as photos, most of their energy lies in low frequencies."""
    random = np.random.default_rng(seed)
    noise = random.normal(size=(side, side, 3))
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(side), np.fft.fftfreq(side))) + 1 / side
    field = np.fft.ifft2(np.fft.fft2(noise, axes=(0, 1)) / frequency[..., None] ** 1.6, axes=(0, 1))
    field = field.real / field.real.std() * 45 + 120
    return Image.fromarray(field.clip(0, 255).astype(np.uint8))


def encoded(image: Image.Image, quality: int) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(io.BytesIO(buffer.getvalue())).convert("RGB")


COPIES = {
    "re-encoded": lambda image: encoded(image, 50),
    "half as large": lambda image: image.resize((80, 80), Image.Resampling.BILINEAR),
    "larger, stretched": lambda image: encoded(image.resize((300, 240)), 80),
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.12),
}


def small(images) -> np.ndarray:
    return np.stack([resize_square(image, 32) for image in images])


@pytest.mark.parametrize("change", COPIES)
def test_a_copy_is_near_and_others_are_not(change):
    images = [photo(seed) for seed in range(60)]
    copies = [COPIES[change](image) for image in images]
    (own, flat), (other, _) = hash_images(small(images)), hash_images(small(copies))
    assert not flat.any()
    distance = np.bitwise_count(own[:, None] ^ other[None])
    assert distance.diagonal().max() <= 6
    assert distance[~np.eye(60, dtype=bool)].min() > 6
    alike = standardised(small(images)) @ standardised(small(copies)).T
    assert alike.diagonal().min() > 0.95


def test_brightness_is_no_part_of_a_correlation():
    pixels = small([photo(3)]) // 2
    assert np.allclose(standardised(pixels + 100), standardised(pixels), atol=1e-6)


def test_bits_are_the_low_frequencies_above_their_median():
    pixels = small([photo(3)])
    grey = pixels[0].astype(np.float64) @ [0.299, 0.587, 0.114]
    low = fft.dctn(grey, type=2)[1:9, 1:9].ravel()
    (found,), _ = hash_images(pixels)
    expected = low > np.median(low)
    bits = [bool(int(found) >> (63 - place) & 1) for place in range(64)]
    assert bits == expected.tolist()


def test_pictures_without_structure_are_flat():
    pixels = np.full((2, 32, 32, 3), 200, np.uint8)
    pixels[1, ::2] = 100
    assert hash_images(pixels)[1].tolist() == [True, False]


@pytest.mark.parametrize("max_distance", [0, 1, 3, 6])
@pytest.mark.parametrize("block", [None, 7])
def test_search_is_brute_force(max_distance, block, monkeypatch):
    if block:
        monkeypatch.setattr(image_hash, "CHUNK", 50)
        monkeypatch.setattr(image_hash, "PAIRS", block)
    random = np.random.default_rng(0)
    corpus = random.integers(0, 2**64, 180, dtype=np.uint64)
    queries = corpus[:40].copy()
    for row in range(40):
        for bit in random.choice(64, row % 9, replace=False):
            queries[row] ^= np.uint64(1) << np.uint64(bit)
    corpus[100:120] = corpus[0] ^ np.uint64(1)  # many doubles of one
    queries = np.unique(queries)
    distance = np.bitwise_count(queries[:, None] ^ corpus[None])
    for keep in (3, 1000):
        near = near_hashes(queries, corpus, max_distance, keep)
        expected = []
        for query, row in enumerate(distance):
            order = [i for i in np.argsort(row, kind="stable") if row[i] <= max_distance]
            expected += [(query, int(i), int(row[i])) for i in order[:keep]]
        found = zip(near.query_P, near.corpus_P, near.distance_P, strict=True)
        assert [tuple(map(int, pair)) for pair in found] == expected
    assert not len(near_hashes(queries, corpus[:0], max_distance, 3).query_P)


class Tokens:
    """Token lists laid end to end, as a prepared corpus has them."""

    def __init__(self, lists):
        self.flat = np.array([index for each in lists for index in each], np.int64)
        self.offsets = np.concatenate([[0], np.cumsum([len(each) for each in lists])])

    def __len__(self):
        return len(self.offsets) - 1

    def slice(self, start, end):
        return self.flat[start:end]


CORPUS = ["A red circle, left of the dog.", "Two cats sleep. The dog runs!", "yes", "?!"]


@pytest.fixture(scope="module", params=["wordpiece", "bpe"])
def tokenizer(request):
    config = TokenizerConfig(kind=request.param, vocab_size=600)
    return build_tokenizer(config, iter(CORPUS * 4))


@pytest.mark.parametrize("at_once", [1, 100])
def test_texts_are_equal_but_for_case_marks_and_spaces(tokenizer, at_once, monkeypatch):
    monkeypatch.setattr(text_hash, "TEXTS_AT_ONCE", at_once)
    hasher = TextHash(tokenizer)
    lists = [[*tokenizer.encode(text), tokenizer.sep_id] for text in CORPUS]
    digests = hasher.corpus(Tokens(lists))
    # four texts, one of them only marks, and two sentences of the second
    assert len(digests) == 5 and (np.diff(digests.astype(object)) > 0).all()
    found = {
        text: bool(usable and digest in digests)
        for text in (
            "a RED circle  left of the dog", "Two cats sleep the dog runs", "two cats sleep",
            "The dog runs.", "red circle left of the dog", "left of the dog a red circle",
            "the dog", "yes", "?!", "", "yes yes",
        )
        for digest, usable in [[each[0] for each in hasher.texts([text])]]
    }  # fmt: skip
    assert [text for text, hit in found.items() if hit] == [
        "a RED circle  left of the dog", "Two cats sleep the dog runs", "two cats sleep",
        "The dog runs.", "yes",
    ]  # fmt: skip


def test_texts_with_unknown_words_are_not_compared():
    tokenizer = build_tokenizer(TokenizerConfig(kind="wordpiece", vocab_size=600), iter(CORPUS * 4))
    digests, usable = TextHash(tokenizer).texts(["the 猫 dog", "the 犬 dog", "the dog"])
    assert usable.tolist() == [False, False, True]
    assert digests[0] != digests[2]


def test_no_two_of_many_short_texts_share_a_digest(tokenizer):
    random = np.random.default_rng(0)
    lists = [random.integers(5, 40, 1 + n % 7).tolist() for n in range(30_000)]
    hasher = TextHash(tokenizer)
    words = {tuple(i for i in each if hasher.word_V[i]) for each in lists}
    hasher.end_V[:] = False
    assert len(hasher.corpus(Tokens(lists))) == len(words - {()})


@pytest.mark.parametrize("at_once", [3, 64, 10_000])
def test_digests_are_sorted_and_distinct_whatever_is_read_at_once(tokenizer, at_once, monkeypatch):
    random = np.random.default_rng(0)
    lists = [random.integers(5, 40, random.integers(0, 4)).tolist() for _ in range(2_000)]
    hasher = TextHash(tokenizer)
    parts = hasher._parts(Tokens(lists))
    expected = np.unique(np.concatenate(list(parts)))
    monkeypatch.setattr(text_hash, "TEXTS_AT_ONCE", at_once)
    assert np.array_equal(hasher.corpus(Tokens(lists)), expected)
    assert len(hasher.corpus(Tokens([]))) == 0


def test_digests_of_a_large_corpus_take_little_more_than_themselves(tokenizer, monkeypatch):
    monkeypatch.setattr(text_hash, "TEXTS_AT_ONCE", 100)
    random = np.random.default_rng(0)
    tokens = Tokens(random.integers(5, 60, (100_000, 6)).tolist())
    hasher = TextHash(tokenizer)
    digests = hasher.corpus(tokens)
    peak = peak_bytes(lambda: hasher.corpus(tokens))
    assert len(digests) > 80_000
    assert peak < 16 * len(digests)  # bytes; some are gathered twice


def test_digests_that_are_contained_are_those_of_isin():
    random = np.random.default_rng(0)
    digests = np.unique(random.integers(0, 2**63, 300_000, dtype=np.uint64))
    own = np.concatenate([digests[[0, 17, -1]], random.integers(0, 2**63, 500, dtype=np.uint64)])
    expected = np.isin(own, digests)
    found = contains(digests, own)
    peak = peak_bytes(lambda: contains(digests, own))
    assert np.array_equal(found, expected) and found.sum() == 3
    assert peak < len(digests)  # bytes
    assert not contains(digests[:0], own).any()
