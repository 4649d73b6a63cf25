"""A split made ready for fine-tuning: token ids, decoded pixels and targets."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from flava.data.transforms import normalise
from flava.evaluate.features import batches, pad
from flava.evaluate.taskdata import Images, IntArray, PixelArray, Split

if TYPE_CHECKING:
    from flava.data.tokenizer import Tokenizer

CACHE_BYTES = 4 * 2**30


class ExampleBatch(NamedTuple):
    """Some examples.

    Attributes:
        text_BL: ids, padded.
        attention_BL: bool, False on padding.
        types_BL: token types of pairs of texts; None: 0 everywhere.
        pixels_BCHW: normalised; None for a task of text alone.
    """

    text_BL: Tensor
    attention_BL: Tensor
    types_BL: Tensor | None
    pixels_BCHW: Tensor | None

    def to(self, device: torch.device) -> ExampleBatch:
        """The same on another device."""
        types_BL = None if self.types_BL is None else self.types_BL.to(device)
        pixels_BCHW = None if self.pixels_BCHW is None else self.pixels_BCHW.to(device)
        text_BL, attention_BL = self.text_BL.to(device), self.attention_BL.to(device)
        return ExampleBatch(text_BL, attention_BL, types_BL, pixels_BCHW)


class Examples:
    """Examples of one split; texts are tokenised once, images decoded once where they fit.

    Args:
        split: texts and, for multimodal tasks, images.
        max_length: longest token sequence; the longer text of a pair is cut first.
        size: image side in pixels.
        types: whether the second text of a pair has BERT's token type 1.
    """

    def __init__(
        self, split: Split, tokenizer: Tokenizer, max_length: int, size: int, types: bool = True
    ) -> None:
        assert split.texts is not None
        self.targets = split.targets
        self._pad_id = tokenizer.pad_id
        self._tokens = [tokenizer.pair(a, b, max_length) for a, b in split.texts]
        pairs = types and any(b is not None for _, b in split.texts)
        self._types = [tokenizer.types(ids) for ids in self._tokens] if pairs else None
        self.lengths_N = np.array([len(ids) for ids in self._tokens], np.int64)
        self._pixels = None
        if split.images is not None:
            assert split.image_N is not None
            self._pixels = PixelStore(split.images, split.image_N, size)

    def __len__(self) -> int:
        return len(self._tokens)

    @property
    def has_images(self) -> bool:
        """Whether the task is multimodal."""
        return self._pixels is not None

    def batch(self, rows: IntArray) -> ExampleBatch:
        """The examples at `rows`, in the machine's memory."""
        text_BL, attention_BL = pad([self._tokens[row] for row in rows], self._pad_id)
        types_BL = None
        if self._types is not None:
            types_BL, _ = pad([self._types[row] for row in rows], 0)
        pixels_BCHW = None if self._pixels is None else self._pixels.batch(rows)
        return ExampleBatch(text_BL, attention_BL, types_BL, pixels_BCHW)


class PixelStore:
    """Pixels of the examples' images: one uint8 array, or decoded on demand if that is too big."""

    def __init__(self, images: Images, image_N: IntArray, size: int) -> None:
        self.images, self.size = images, size
        self.distinct, self.position_N = np.unique(image_N, return_inverse=True)
        self.array: PixelArray | None = None
        if len(self.distinct) * size * size * 3 <= CACHE_BYTES:
            self.array = np.empty((len(self.distinct), size, size, 3), np.uint8)
            for chosen in batches(len(self.distinct)):
                self.array[chosen] = images.pixels(self.distinct[chosen], size)

    def batch(self, rows: IntArray) -> Tensor:
        """Normalised pixels (B, 3, size, size) of the examples at `rows`."""
        positions = self.position_N[rows]
        if self.array is None:
            return normalise(self.images.pixels(self.distinct[positions], self.size))
        return normalise(self.array[positions])
