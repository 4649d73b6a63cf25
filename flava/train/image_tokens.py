"""The export of image tokens: of every image of every corpus, once.

An export of tens of millions of images takes hours, so it is written as it goes, beside the run's
checkpoints, and goes on where a killed process left it.
"""

from __future__ import annotations

import os
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import NonNegativeInt
from torch import Tensor
from tqdm import tqdm

from flava.config import Strict
from flava.data.corpus import ImageCorpus
from flava.data.shards import load_array
from flava.data.transforms import codebook_crop, to_unit, training_crop
from flava.io import atomic_path, read_json, sha256_file, sha256_json, sha256_parts, write_json
from flava.jobs import CodebookJob
from flava.models.dalle import ImageTokenizer
from flava.prefetch import prefetched, reading_threads

ENCODE_BATCH = 256  # images encoded at once; does not change their tokens
SAVE_BATCHES = 64  # batches that a killed export may have to encode again
COUNT_ROWS = 1 << 16  # images whose tokens are in memory at once when they are counted
SAMPLE = 4096  # images that tell a collapsed codebook before all are encoded
CACHE_BYTES = 1 << 30  # decoded crops are kept in memory up to this size, per corpus

Counts = NDArray[np.int64]


class Crops:
    """The fixed training crops of several corpora as one sequence, at the dVAE's resolution.

    The crop box is the pretraining loader's; only the size differs: grid x downsample pixels a
    side (112 for 14 x 14 tokens of 8 pixels), as FLAVA and BEiT feed DALL-E's encoder.
    """

    def __init__(self, job: CodebookJob) -> None:
        self.size = job.grid * job.codebook.downsample
        self.scale_min = job.crop_scale_min
        cut = training_crop if job.codebook.published is None else codebook_crop
        self.corpora = {
            name: ImageCorpus(folder, bad_image_fraction=job.bad_image_fraction, cut=cut)
            for name, folder in sorted(job.corpora.items())
        }
        for corpus in self.corpora.values():
            corpus.cache_crops(self.size, self.scale_min, CACHE_BYTES)
        self.ends = np.cumsum([len(corpus) for corpus in self.corpora.values()])

    def __len__(self) -> int:
        return int(self.ends[-1])

    def pixels(self, name: str, indices: NDArray[np.integer[Any]]) -> Tensor:
        """float BCHW in [0, 1] of images of one corpus; a corrupt one gives the next intact one."""
        corpus = self.corpora[name]
        crops = [corpus.good_crop(int(i), self.size, self.scale_min)[1] for i in indices]
        return to_unit(np.stack(crops))

    def sample(self, drawn: NDArray[np.integer[Any]]) -> Tensor:
        """float BCHW in [0, 1] of images numbered over all corpora."""
        corpus = np.searchsorted(self.ends, drawn, side="right")
        starts = np.concatenate([[0], self.ends[:-1]])
        parts = [
            self.pixels(name, drawn[corpus == n] - starts[n])
            for n, name in enumerate(self.corpora)
            if (corpus == n).any()
        ]
        return torch.cat(parts)


class Progress(Strict):
    """Content of `<corpus>.tokens.json`: how far an export has come.

    Attributes:
        identity: hash of the model, the corpus and the crop.
        file_bytes: size of the file of tokens.
        done: images whose tokens are on the disk.
        corrupt: number of each image found corrupt so far, and why.
    """

    identity: str
    file_bytes: NonNegativeInt
    done: NonNegativeInt
    corrupt: list[tuple[int, str]]


class TokenFile:
    """The unfinished file of a corpus's tokens, and its progress beside it, in `folder`."""

    def __init__(self, folder: Path, name: str, model: ImageTokenizer, crops: Crops) -> None:
        self.path, self.note = folder / f"{name}.tokens.npy", folder / f"{name}.tokens.json"
        self.corpus = crops.corpora[name]
        self.identity = export_identity(model, crops, self.corpus)
        side = crops.size // model.config.downsample
        self.shape = (len(self.corpus), side * side)
        self.dtype = np.uint16 if model.config.codebook_size <= 1 << 16 else np.int32
        self.done = 0
        self.tokens_NP = self._continue() if self._fits() else self._begin()

    def save(self, done: int) -> None:
        """Remembers that the first `done` images' tokens are written, once they are."""
        self.tokens_NP.flush()
        self.done = done
        progress = Progress(
            identity=self.identity,
            file_bytes=self.path.stat().st_size,
            done=done,
            corrupt=sorted(self.corpus.bad.copy().items()),
        )
        write_json(self.note, progress.model_dump(mode="json"))

    def move_to(self, path: Path) -> None:
        """Puts the whole file in its place, on whatever disk that is."""
        del self.tokens_NP
        with atomic_path(path) as temporary:
            shutil.move(self.path, temporary)
        self.note.unlink()

    def _fits(self) -> bool:
        """Whether the files of an earlier process are of the same export and undamaged."""
        if not self.note.is_file() or not self.path.is_file():
            return False
        values = read_json(self.note)
        size = self.path.stat().st_size
        return bool(values["identity"] == self.identity and values["file_bytes"] == size)

    def _continue(self) -> np.memmap[Any, Any]:
        progress = Progress.model_validate(read_json(self.note), strict=False)
        self.done = progress.done
        self.corpus.bad.update(progress.corrupt)
        return np.lib.format.open_memmap(self.path, mode="r+")

    def _begin(self) -> np.memmap[Any, Any]:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.note.unlink(missing_ok=True)
        tokens_NP = np.lib.format.open_memmap(
            self.path, mode="w+", dtype=self.dtype, shape=self.shape
        )
        with open(self.path, "r+b") as file:  # a full disk is an error here, and a crash later
            os.posix_fallocate(file.fileno(), 0, self.path.stat().st_size)
        return tokens_NP


def export_identity(model: ImageTokenizer, crops: Crops, corpus: ImageCorpus) -> str:
    """Hash of all that decides the tokens of a corpus."""
    tensors = sorted(model.state_dict().items())
    return sha256_json(
        {
            "model": sha256_parts(value.cpu().numpy().tobytes() for _, value in tensors),
            "settings": model.config.model_dump(mode="json"),
            "corpus": sha256_file(corpus.directory / "manifest.json"),
            "crop": [crops.size, crops.scale_min],
        }
    )


def encode_corpus(
    model: ImageTokenizer, crops: Crops, name: str, device: torch.device, folder: Path
) -> TokenFile:
    """Tokens [images, P] of a corpus, in the order of its images, as a file in `folder`.

    Killed and called again, it goes on after the last images whose tokens it had saved.

    Raises:
        DataError: too many images are corrupt.
        OSError: the disk is full.
    """
    file = TokenFile(folder, name, model, crops)
    count = len(crops.corpora[name])
    bar = tqdm(range(file.done, count, ENCODE_BATCH), desc=f"tokens of {name}", mininterval=5.0)
    batches = (np.arange(start, min(start + ENCODE_BATCH, count)) for start in bar)
    read = partial(crops.pixels, name)
    model.eval()
    ready = prefetched(read, batches, reading_threads(device))
    for number, (indices, pixels_BCHW) in enumerate(ready, start=1):
        tokens_BP = model.encode_tokens(pixels_BCHW.to(device))
        file.tokens_NP[indices] = tokens_BP.cpu().numpy()
        if number % SAVE_BATCHES == 0:
            file.save(int(indices[-1]) + 1)
    file.save(count)
    return file


def count_codes(file: TokenFile, codes: int) -> Counts:
    """How often each code occurs, [codes]."""
    usage_K, tokens_NP = np.zeros(codes, np.int64), load_array(file.path)
    for start in range(0, len(tokens_NP), COUNT_ROWS):
        usage_K += np.bincount(tokens_NP[start : start + COUNT_ROWS].ravel(), minlength=codes)
    return usage_K


def sampled_codes(model: ImageTokenizer, crops: Crops, seed: int) -> Counts | None:
    """How often each code occurs in a sample, [codes]; None of corpora that are soon encoded."""
    if len(crops) <= 16 * SAMPLE:
        return None
    device = next(model.parameters()).device
    usage_K = np.zeros(model.config.codebook_size, np.int64)
    drawn = np.sort(np.random.default_rng([seed, 2]).integers(len(crops), size=SAMPLE))
    chunks = np.array_split(drawn, -(-SAMPLE // ENCODE_BATCH))
    for _, pixels_BCHW in prefetched(crops.sample, chunks, reading_threads(device)):
        tokens_BP = model.encode_tokens(pixels_BCHW.to(device))
        usage_K += np.bincount(tokens_BP.cpu().numpy().ravel(), minlength=len(usage_K))
    return usage_K
