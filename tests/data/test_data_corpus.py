"""Damaged corpora: missing and truncated files, corrupt images, wrong tokens."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from data_helpers import pairs_source, png, prepare_job, write_raw
from PIL import Image

from benchmarks.reading import images_a_second
from flava.data.corpus import ImageCorpus, PairCorpus, TextCorpus
from flava.data.prepare import prepare
from flava.data.shards import load_array
from flava.data.transforms import decode_image, training_crop
from flava.errors import DataError


@pytest.fixture
def copy(corpus: Path, tmp_path: Path) -> Path:
    """A copy of the prepared corpora that a test may damage."""
    return Path(shutil.copytree(corpus, tmp_path / "copy"))


def damaged_corpus(corpus: Path, tmp_path: Path, bad: set[int]) -> Path:
    """Pairs prepared from files of which those in `bad` break off."""
    write_raw(tmp_path / "raw", lambda i: png(i)[:100] if i in bad else png(i))
    job = prepare_job(corpus, "pairs", [pairs_source(tmp_path / "raw")])
    prepare(job.model_copy(update={"output": str(tmp_path / "pairs")}))
    return tmp_path / "pairs"


def test_crops_and_cache(corpus: Path) -> None:
    plain, cached = ImageCorpus(corpus / "images"), ImageCorpus(corpus / "images")
    assert cached.cache_crops(32, 0.9, 30 * 32 * 32 * 3 - 1) == 0
    assert cached.cache_crops(32, 0.9, 30 * 32 * 32 * 3) == 30 * 32 * 32 * 3
    for index in (4, 4, 29):
        expected = training_crop(decode_image(plain.image_bytes(index)), plain.key(index), 0.9, 32)
        assert np.array_equal(plain.crop(index, 32, 0.9), expected)
        assert np.array_equal(cached.crop(index, 32, 0.9), expected)
    other_size = cached.crop(4, 16, 0.9)
    assert other_size is not None
    assert other_size.shape == (16, 16, 3)


def test_missing_shard(copy: Path) -> None:
    (copy / "pairs" / "shards" / "000001.tar").unlink()
    with pytest.raises(DataError, match=r"shards/000001\.tar is missing.*Prepare the corpus anew"):
        PairCorpus(copy / "pairs", "wordpiece")


@pytest.mark.parametrize("change", [lambda whole: whole[:-700], lambda whole: whole + b"x"])
def test_shard_of_another_size(copy: Path, change: Callable[[bytes], bytes]) -> None:
    shard = copy / "images" / "shards" / "000000.tar"
    shard.write_bytes(change(shard.read_bytes()))
    with pytest.raises(DataError, match=r"000000\.tar has \d+ bytes; the manifest says \d+"):
        ImageCorpus(copy / "images")


def test_shard_truncated_while_open(copy: Path) -> None:
    corpus = ImageCorpus(copy / "images")
    shard = copy / "images" / "shards" / corpus.reader.names[-1].removeprefix("shards/")
    with shard.open("r+b") as file:
        file.truncate(600)
    with pytest.raises(DataError, match=f"{shard.name} has 600 bytes: truncated"):
        corpus.crop(29, 32, 0.9)


@pytest.mark.parametrize("name", ["index.npy", "keys.npy", "pair_image.npy"])
def test_damaged_arrays(copy: Path, name: str) -> None:
    path = copy / "pairs" / name
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(DataError, match=f"{name} (is damaged|has)"):
        PairCorpus(copy / "pairs", "wordpiece")
    path.unlink()
    with pytest.raises(DataError, match=f"{name} is missing"):
        PairCorpus(copy / "pairs", "wordpiece")


@pytest.mark.parametrize("byte", [(8, 3), (22, 48), (26, 66)])
def test_a_damaged_header_of_an_array_is_told(tmp_path: Path, byte: tuple[int, int]) -> None:
    """NumPy raises TokenError, SyntaxError and TypeError at these."""
    np.save(tmp_path / "a.npy", np.arange(300))
    content = bytearray((tmp_path / "a.npy").read_bytes())
    content[byte[0]] = byte[1]
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.npy is damaged"):
        load_array(tmp_path / "a.npy")


@pytest.mark.parametrize("name", ["index.npy", "keys.npy", "pair_image.npy", "offsets_bpe.npy"])
def test_every_file_has_the_size_in_the_manifest(copy: Path, name: str) -> None:
    """Shorter arrays that are whole files: another corpus's."""
    np.save(copy / "pairs" / name, np.load(copy / "pairs" / name)[:-1])
    with pytest.raises(DataError, match=rf"{name} has \d+ bytes; the manifest says \d+"):
        ImageCorpus(copy / "pairs")


def test_pickled_array_is_refused(copy: Path) -> None:
    np.save(copy / "pairs" / "index.npy", np.array([{"a": 1}], object), allow_pickle=True)
    with pytest.raises(DataError, match=r"index\.npy"):
        PairCorpus(copy / "pairs", "wordpiece")


def test_damaged_tokens(copy: Path) -> None:
    path = copy / "texts" / "tokens_wordpiece.npy"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(DataError, match=r"tokens_wordpiece\.npy has .* truncated"):
        TextCorpus(copy / "texts", "wordpiece")
    with pytest.raises(DataError, match=r"tokenizer 'gpt' \(it has: .*bpe"):
        TextCorpus(copy / "texts", "gpt")


def test_not_a_corpus(copy: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not a prepared corpus"):
        ImageCorpus(tmp_path / "absent")
    (copy / "images" / "manifest.json").write_text('{"format": 0}')
    with pytest.raises(DataError, match="not of corpus format"):
        ImageCorpus(copy / "images")
    (copy / "images" / "manifest.json").write_text('{"format')
    with pytest.raises(DataError, match="not valid JSON"):
        ImageCorpus(copy / "images")


def test_an_image_smaller_than_a_patch_is_enlarged() -> None:
    """In pretraining; DINO alone, which crops it further, counts it as corrupt (docs/inits.md)."""
    strip = Image.fromarray(np.full((3, 40, 3), 90, np.uint8))
    crop = training_crop(strip, "toy/strip.png", 0.9, 32)
    assert crop.shape == (32, 32, 3)
    assert (crop == 90).all()


def test_image_tokens(corpus: Path, tmp_path: Path) -> None:
    images = ImageCorpus(corpus / "images", corpus / "images_tokens.npy")
    assert images.tokens_per_image == 16
    tokens = images.image_tokens(np.array([3, 3, 1]))
    assert tokens.shape == (3, 16)
    assert tokens.dtype == np.int64
    assert np.array_equal(tokens[0], np.load(corpus / "images_tokens.npy")[3])
    with pytest.raises(DataError, match="holds 36 images"):
        PairCorpus(corpus / "pairs", "wordpiece", corpus / "images_tokens.npy")
    with pytest.raises(DataError, match=r"no\.npy is missing"):
        ImageCorpus(corpus / "images", tmp_path / "no.npy")
    with pytest.raises(DataError, match="without image tokens"):
        ImageCorpus(corpus / "images").image_tokens(np.array([0]))


def test_corrupt_image_is_skipped_counted_and_named(corpus: Path, tmp_path: Path) -> None:
    folder = damaged_corpus(corpus, tmp_path, {3, 4, 35})
    pairs = PairCorpus(folder, "wordpiece", bad_image_fraction=0.1)
    assert pairs.images.crop(3, 32, 0.9) is None
    assert pairs.images.good_crop(3, 32, 0.9)[0] == 5
    pair, crop = pairs.good_crop(6, 32, 0.9)  # pairs 6 to 9 belong to images 3 and 4
    assert pair == 10
    expected = training_crop(decode_image(png(5)), "toy pairs/005.png", 0.9, 32)
    assert np.array_equal(crop, expected)
    assert pairs.good_crop(71, 32, 0.9)[0] == 0  # the last image: on to the first
    report = pairs.images.report()
    assert (report["images"], report["corrupt_images"]) == (36, 3)
    assert "cannot decode image of 100 bytes" in report["corrupt"]["toy pairs/003.png"]


def test_too_many_corrupt_images(corpus: Path, tmp_path: Path) -> None:
    folder = damaged_corpus(corpus, tmp_path, {1, 2})
    images = ImageCorpus(folder, bad_image_fraction=0.05)  # 1.8 of 36
    assert images.crop(1, 32, 0.9) is None
    with pytest.raises(DataError, match=r"2 of 36 images.*share of 0\.05.*'toy pairs/002\.png'"):
        images.crop(2, 32, 0.9)


@pytest.mark.parametrize("threads", [1, 3])
def test_the_reading_benchmark_counts_images(corpus: Path, threads: int) -> None:
    assert images_a_second(ImageCorpus(corpus / "images"), 16, threads, updates=2) > 0
