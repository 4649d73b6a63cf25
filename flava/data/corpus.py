"""Random access to prepared corpora; corrupt images are skipped, counted and reported."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PILImage

from flava.data.shards import ShardReader, check_size, load_array, read_manifest
from flava.data.transforms import Pixels, decode_image, training_crop
from flava.errors import DataError

Ids = NDArray[np.int64]
Found = TypeVar("Found")


class ImageCorpus:
    """Images of a prepared folder of kind images or pairs.

    Args:
        directory: prepared corpus.
        image_tokens: array [N, P] of dVAE tokens of the fixed crops, in the order of the images.
        bad_image_fraction: more undecodable images than this share are an error.
        cut: makes the fixed crop of (image, key, scale_min, size).

    Raises:
        DataError: a file is missing, truncated or does not belong to the corpus.
    """

    def __init__(
        self,
        directory: Path | str,
        image_tokens: Path | str | None = None,
        bad_image_fraction: float = 0.01,
        cut: Callable[[PILImage.Image, str, float, int], Pixels] = training_crop,
    ) -> None:
        self.directory, self.cut = Path(directory), cut
        self.reader = ShardReader(self.directory)
        self.bad_image_fraction = bad_image_fraction
        self.bad: dict[int, str] = {}
        self._tokens = None if image_tokens is None else load_array(Path(image_tokens))
        if self._tokens is not None and (self._tokens.ndim != 2 or len(self._tokens) != len(self)):
            raise DataError(
                f"{image_tokens} has shape {self._tokens.shape}, but {directory} holds "
                f"{len(self)} images. Run the codebook step again."
            )
        self._cache: Pixels | None = None
        self._cached: NDArray[np.bool_] | None = None
        self._cache_crop = (0, 0.0)
        self._images: dict[int, PILImage.Image] = {}
        self._image_bytes_left = 0

    def __len__(self) -> int:
        return len(self.reader)

    def key(self, index: int) -> str:
        """Name of an image: <source>/<name in the source>."""
        return self.reader.key(index)

    def image_bytes(self, index: int) -> bytes:
        """The encoded file of an image."""
        return self.reader.read(index)

    def cache_crops(self, size: int, scale_min: float, limit_bytes: int) -> int:
        """Keeps crops of this size in memory from now on, if all of them fit; returns the bytes.

        Exact, since an image has only one crop. 0 is returned where they do not fit.
        """
        needed = len(self) * size * size * 3
        if needed > limit_bytes:
            return 0
        self._cache = np.zeros((len(self), size, size, 3), np.uint8)
        self._cached = np.zeros(len(self), bool)
        self._cache_crop = (size, scale_min)
        return needed

    def crop(self, index: int, size: int, scale_min: float) -> Pixels | None:
        """The fixed training crop, uint8 [size, size, 3]; None if the image is corrupt.

        Raises:
            DataError: the share of corrupt images exceeds `bad_image_fraction`.
        """
        if index in self.bad:
            return None
        cached = self._cached if self._cache_crop == (size, scale_min) else None
        if cached is not None and self._cache is not None and cached[index]:
            row: Pixels = self._cache[index]
            return row
        image = self.image(index)
        if image is None:
            return None
        pixels = self.cut(image, self.key(index), scale_min, size)
        if cached is not None and self._cache is not None:
            self._cache[index] = pixels
            cached[index] = True
        return pixels

    def cache_images(self, limit_bytes: int) -> None:
        """Keeps decoded images in memory from now on, up to this size."""
        self._image_bytes_left = limit_bytes

    def image(self, index: int, min_side: int = 1) -> PILImage.Image | None:
        """The whole image, RGB; None if it is corrupt or a side is shorter than `min_side` pixels.

        Raises:
            DataError: the share of such images exceeds `bad_image_fraction`.
        """
        if index in self.bad:
            return None
        if index in self._images:
            return self._images[index]
        try:
            image = decode_image(self.reader.read(index))
            if min(image.size) < min_side:
                width, height = image.size
                raise DataError(f"image of {width}x{height} pixels is smaller than a patch")
        except DataError as error:
            self._count_bad(index, str(error))
            return None
        size = 3 * image.width * image.height
        if size <= self._image_bytes_left:
            self._image_bytes_left -= size
            self._images[index] = image
        return image

    def good_image(self, index: int, min_side: int = 1) -> tuple[int, PILImage.Image]:
        """The first usable image from `index` on (cyclic), and its index."""
        return first_good(index, len(self), lambda i: self.image(i, min_side), self.directory)

    def _count_bad(self, index: int, reason: str) -> None:
        self.bad[index] = reason
        if len(self.bad) > self.bad_image_fraction * len(self):
            raise DataError(
                f"{self.directory}: {len(self.bad)} of {len(self)} images cannot be used, more "
                f"than the declared share of {self.bad_image_fraction}. The last is "
                f"'{self.key(index)}': {reason}. Prepare the corpus from intact files."
            )

    def good_crop(self, index: int, size: int, scale_min: float) -> tuple[int, Pixels]:
        """The crop of the first intact image from `index` on (cyclic), and that image's index."""
        return first_good(index, len(self), lambda i: self.crop(i, size, scale_min), self.directory)

    @property
    def tokens_per_image(self) -> int:
        """P of the image tokens; 0 without."""
        return 0 if self._tokens is None else int(self._tokens.shape[1])

    def image_tokens(self, indices: NDArray[np.int64]) -> Ids:
        """dVAE tokens of images, int64 [B, P].

        Raises:
            DataError: the corpus was opened without image tokens.
        """
        if self._tokens is None:
            raise DataError(f"{self.directory} was opened without image tokens.")
        return np.asarray(self._tokens[indices], np.int64)

    def report(self) -> dict[str, Any]:
        """Number of images and of those skipped as corrupt so far, with the first ten names."""
        names = {self.key(index): reason for index, reason in sorted(self.bad.items())[:10]}
        return {"images": len(self), "corrupt_images": len(self.bad), "corrupt": names}


def first_good(
    index: int, count: int, read: Callable[[int], Found | None], where: Path
) -> tuple[int, Found]:
    """First index from `index` on, cyclic, for which `read` gives something, and that."""
    for step in range(count):
        candidate = (index + step) % count
        found = read(candidate)
        if found is not None:
            return candidate, found
    raise DataError(f"{where}: no image can be used.")


class TokenArray:
    """Token lists of one tokenizer, flat on disk.

    Raises:
        DataError: the corpus was not prepared for this tokenizer, or a file is damaged.
    """

    def __init__(self, directory: Path, name: str) -> None:
        manifest = read_manifest(directory)
        if name not in manifest["tokenizers"]:
            known = ", ".join(manifest["tokenizers"]) or "none"
            raise DataError(
                f"{directory} was not prepared with tokenizer '{name}' (it has: {known}). "
                "Prepare it again."
            )
        self.tokenizer_sha256 = str(manifest["tokenizers"][name])
        for stem in (f"tokens_{name}.npy", f"offsets_{name}.npy"):
            check_size(directory / stem, int(manifest["files"][stem]["bytes"]))
        self.flat = load_array(directory / f"tokens_{name}.npy")
        self.offsets = load_array(directory / f"offsets_{name}.npy")

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> Ids:
        return self.slice(int(self.offsets[index]), int(self.offsets[index + 1]))

    def slice(self, start: int, end: int) -> Ids:
        """Tokens of a range of the flat array, int64."""
        return np.asarray(self.flat[start:end], np.int64)


class PairCorpus:
    """Pairs of an image and one caption; an image with five captions is five pairs.

    Args and raises: as `ImageCorpus`; `tokenizer_name` is the one whose caption ids are read.
    """

    def __init__(
        self,
        directory: Path | str,
        tokenizer_name: str,
        image_tokens: Path | str | None = None,
        bad_image_fraction: float = 0.01,
    ) -> None:
        self.directory = Path(directory)
        self.images = ImageCorpus(directory, image_tokens, bad_image_fraction)
        self.captions = TokenArray(self.directory, tokenizer_name)
        self.pair_image: Ids = load_array(self.directory / "pair_image.npy")
        if len(self.pair_image) != len(self.captions):
            raise DataError(
                f"{directory}: {len(self.pair_image)} pairs but {len(self.captions)} captions. "
                "Prepare the corpus anew."
            )

    def __len__(self) -> int:
        return len(self.captions)

    def caption(self, pair: int) -> Ids:
        """Ids of the caption without special tokens, int64."""
        return self.captions[pair]

    def image_index(self, pair: int) -> int:
        """Index of the pair's image in `images`."""
        return int(self.pair_image[pair])

    def key(self, pair: int) -> str:
        """Name of a pair: its image's name and the number of the pair."""
        return f"{self.images.key(self.image_index(pair))}#{pair}"

    def good_crop(self, pair: int, size: int, scale_min: float) -> tuple[int, Pixels]:
        """First pair from `pair` on (cyclic) whose image is intact, and its crop."""

        def crop(candidate: int) -> Pixels | None:
            return self.images.crop(self.image_index(candidate), size, scale_min)

        return first_good(pair, len(self), crop, self.directory)


class TextCorpus:
    """Text lines of a prepared folder of kind texts; `lines` holds their tokens."""

    def __init__(self, directory: Path | str, tokenizer_name: str) -> None:
        self.directory = Path(directory)
        self.lines = TokenArray(self.directory, tokenizer_name)

    def __len__(self) -> int:
        return len(self.lines)
