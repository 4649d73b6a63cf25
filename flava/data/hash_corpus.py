"""Hashes of one prepared corpus, once for all tasks that are searched in it.

    python -m flava.data.hash_corpus --config results/<study>/configs/hash_pairs.json

Writes `hashes` and `states` (uint64 and uint8, one an image), `texts` (sorted uint64) and
`manifest` (SHA-256 of the corpus's manifest) to one npz file.
"""

from __future__ import annotations

import argparse
import multiprocessing
import zipfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from flava.data.corpus import TokenArray
from flava.data.image_hash import SIDE, Hashes, hash_images
from flava.data.shards import ShardReader, read_manifest
from flava.data.text_hash import TextHash
from flava.data.tokenizer import load_tokenizer
from flava.data.transforms import Pixels, decode_image, resize_square
from flava.errors import DataError, run_cli
from flava.io import atomic_path, sha256_file
from flava.jobs import HashJob, load_job

GOOD, FLAT, UNREADABLE = 0, 1, 2
IMAGES_AT_ONCE = 1024


@dataclass(frozen=True)
class CorpusHashes:
    """What the step leaves: image n of the corpus has hashes[n], and texts are anywhere in it."""

    hashes: Hashes
    states: NDArray[np.uint8]
    texts: Hashes
    manifest: str

    @classmethod
    def of(cls, job: HashJob) -> CorpusHashes:
        """Reads what that job left, for the corpus and tokenizer that are there now.

        Raises:
            DataError: it is missing or damaged, or of another corpus, or the corpus was prepared
                with another tokenizer.
        """
        found, directory = cls.load(job.output), Path(job.corpus)
        manifest = read_manifest(directory)
        if found.manifest != sha256_file(directory / "manifest.json"):
            raise DataError(f"{job.output} is not of {job.corpus}. Hash that corpus again.")
        if job.tokenizer is not None and job.tokenizer_path is not None:
            used = manifest["tokenizers"].get(job.tokenizer)
            if used != sha256_file(job.tokenizer_path):
                raise DataError(
                    f"{job.tokenizer_path} is not the tokenizer that {job.corpus} was prepared "
                    "with. Prepare that corpus again."
                )
        return found

    @classmethod
    def load(cls, path: Path | str) -> CorpusHashes:
        """Reads the file.

        Raises:
            DataError: it is missing or damaged.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                return cls(file["hashes"], file["states"], file["texts"], str(file["manifest"]))
        except FileNotFoundError:
            raise DataError(f"{path} is missing. Run the step that hashes that corpus.") from None
        except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile) as error:
            raise DataError(f"{path} is damaged ({error}). Hash that corpus again.") from None


def hash_corpus(job: HashJob, threads: int = 1) -> CorpusHashes:
    """Hashes of the corpus' images and texts, those that it has.

    Raises:
        DataError: the corpus or its tokenizer is missing or damaged.
    """
    directory = Path(job.corpus)
    hashes, states = np.zeros(0, np.uint64), np.zeros(0, np.uint8)
    if job.images:
        hashes, states = _images(directory, threads)
    texts = np.zeros(0, np.uint64)
    if job.tokenizer is not None and job.tokenizer_path is not None:
        tokenizer = load_tokenizer(job.tokenizer_path)
        texts = TextHash(tokenizer).corpus(TokenArray(directory, job.tokenizer))
    return CorpusHashes(hashes, states, texts, sha256_file(directory / "manifest.json"))


def _images(directory: Path, threads: int) -> tuple[Hashes, NDArray[np.uint8]]:
    """Hash and state of each image, in `threads` processes."""
    count = len(ShardReader(directory))
    parts_at = [range(i, min(i + IMAGES_AT_ONCE, count)) for i in range(0, count, IMAGES_AT_ONCE)]
    work = partial(_part, directory)
    if threads > 1 and len(parts_at) > 1:
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(threads, mp_context=context) as pool:
            parts = list(tqdm(pool.map(work, parts_at), total=len(parts_at), disable=None))
    else:
        parts = [work(part) for part in tqdm(parts_at, disable=None)]
    if not parts:
        return np.zeros(0, np.uint64), np.zeros(0, np.uint8)
    hashes, states = zip(*parts, strict=True)
    return np.concatenate(hashes), np.concatenate(states)


def _part(directory: Path, indices: range) -> tuple[Hashes, NDArray[np.uint8]]:
    reader = ShardReader(directory)
    pixels_BHWC = np.zeros((len(indices), SIDE, SIDE, 3), np.uint8)
    states = np.full(len(indices), GOOD, np.uint8)
    for row, pixels in enumerate(small_images(reader, indices)):
        if pixels is None:
            states[row] = UNREADABLE
        else:
            pixels_BHWC[row] = pixels
    hashes, flat = hash_images(pixels_BHWC)
    states[flat & (states == GOOD)] = FLAT
    return hashes, states


def small_images(reader: ShardReader, indices: range | list[int]) -> Iterator[Pixels | None]:
    """uint8 RGB (32, 32, 3) of images of a corpus; None for one that cannot be decoded."""
    for index in indices:
        try:
            image = decode_image(reader.read(index))
        except DataError:
            yield None
        else:
            yield resize_square(image, SIDE)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Hash one prepared corpus.")
    parser.add_argument("--config", required=True, help="resolved HashJob")
    parser.add_argument("--threads", type=int, default=1, help="processes that decode images")
    arguments = parser.parse_args()
    job = load_job(HashJob, arguments.config)
    found = hash_corpus(job, arguments.threads)
    with atomic_path(job.output) as path, path.open("wb") as file:
        np.savez(file, **vars(found))
    flat, bad = (int((found.states == state).sum()) for state in (FLAT, UNREADABLE))
    print(f"{len(found.hashes)} images ({flat} flat, {bad} unreadable), {len(found.texts)} texts")


if __name__ == "__main__":
    run_cli(main)
