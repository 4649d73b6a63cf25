"""Batches of one kind of data, from sample indices: pairs, images, texts or captions alone."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from flava.config import MaskingConfig
from flava.data.batch import Batch
from flava.data.corpus import ImageCorpus, PairCorpus, TextCorpus
from flava.data.masking import IGNORE, BlockMasker, TextMasker
from flava.data.model_sizes import caption_length, grid, image_size
from flava.data.schedule import Rows, Stream, generator
from flava.data.tokenizer import Tokenizer
from flava.data.transforms import normalise
from flava.errors import DataError
from flava.jobs import RunConfig

Ids = NDArray[np.int64]
MULTIMODAL = frozenset({"mmm_image", "mmm_text", "itm"})
_NEGATIVE_DRAWS = 1000


class KindBatches(Protocol):
    """What the mixture asks of a kind of data."""

    def __len__(self) -> int: ...

    def batch(self, rows: Rows) -> Batch: ...


class ImageBatches:
    """Images with block masks and dVAE tokens (MIM), of an image or a pairs corpus.

    Args:
        kind: of the data.
        corpus: opened with image tokens.
        seed: of the run.
        masker: of block masks.
        size, scale_min: of the fixed crops.
    """

    def __init__(
        self,
        kind: str,
        corpus: ImageCorpus,
        seed: int,
        masker: BlockMasker,
        size: int,
        scale_min: float,
    ) -> None:
        self.kind, self.corpus, self.seed, self.masker = kind, corpus, seed, masker
        self.size, self.scale_min = size, scale_min

    def __len__(self) -> int:
        return len(self.corpus)

    def batch(self, rows: Rows) -> Batch:
        """See `MixtureLoader.batch`."""
        crop = partial(self.corpus.good_crop, size=self.size, scale_min=self.scale_min)
        found = [crop(index) for index in rows.samples.tolist()]
        indices = np.array([index for index, _ in found])
        return Batch(
            kind=self.kind,
            pixels_BCHW=normalise(np.stack([crop for _, crop in found])),
            patch_mask_BP=patch_masks(self.seed, self.masker, rows),
            image_tokens_BP=torch.from_numpy(self.corpus.image_tokens(indices)),
            keys=[self.corpus.key(index) for index in indices.tolist()],
        )


class TextBatches:
    """Packed text (MLM): [CLS], whole lines, [SEP], up to `text_batch_length` tokens."""

    kind = "texts"

    def __init__(
        self,
        seed: int,
        masking: MaskingConfig,
        tokenizer: Tokenizer,
        corpus: TextCorpus,
        ranges_S2: Ids,
    ) -> None:
        self.corpus, self.ranges_S2 = corpus, ranges_S2
        self.texts = Texts(seed, tokenizer, masking)

    def __len__(self) -> int:
        return len(self.ranges_S2)

    def batch(self, rows: Rows) -> Batch:
        """See `MixtureLoader.batch`."""
        ids = [self._sample(index) for index in rows.samples.tolist()]
        keys = [f"texts/{index}" for index in rows.samples.tolist()]
        return Batch(kind=self.kind, keys=keys, **self.texts.tensors(ids, rows))

    def _sample(self, index: int) -> Ids:
        start, end = self.ranges_S2[index].tolist()
        content = self.corpus.lines.slice(start, end)
        if content[-1] == self.texts.tokenizer.sep_id:  # the sample ends with a document
            content = content[:-1]
        return self.texts.wrap(content)


class CaptionBatches:
    """Captions of a pairs corpus alone (MLM), one a sample."""

    kind = "pair_texts"

    def __init__(self, run: RunConfig, tokenizer: Tokenizer, corpus: PairCorpus) -> None:
        self.corpus, self.length = corpus, caption_length(run)
        self.texts = Texts(run.seed, tokenizer, run.masking)

    def __len__(self) -> int:
        return len(self.corpus)

    def batch(self, rows: Rows) -> Batch:
        """See `MixtureLoader.batch`."""
        samples = rows.samples.tolist()
        ids = [self.texts.wrap(self.corpus.caption(pair)[: self.length - 2]) for pair in samples]
        keys = [self.corpus.key(pair) for pair in samples]
        return Batch(kind=self.kind, keys=keys, **self.texts.tensors(ids, rows))


class PairBatches:
    """Image-text pairs; masks, tokens and ITM negatives as the objectives need them.

    With ITM (and only then) a caption is replaced, with `itm_negative_probability`, by a random
    one of another image before masking (torchmultimodal; label 1 = match). ITM and MMM share one
    pass over masked image and masked text, so each of them needs both masks.
    """

    kind = "pairs"

    def __init__(self, run: RunConfig, tokenizer: Tokenizer, corpus: PairCorpus) -> None:
        objectives = set(run.objectives["pairs"])
        self.run, self.corpus, self.length = run, corpus, caption_length(run)
        self.masks, self.tokens = bool(objectives & MULTIMODAL), "mmm_image" in objectives
        self.itm = "itm" in objectives
        self.masker = BlockMasker(run.masking, grid(run))
        self.texts = Texts(run.seed, tokenizer, run.masking if self.masks else None)

    def __len__(self) -> int:
        return len(self.corpus)

    def batch(self, rows: Rows) -> Batch:
        """See `MixtureLoader.batch`."""
        size, scale = image_size(self.run), self.run.pretrain.crop_scale_min
        found = [self.corpus.good_crop(pair, size, scale) for pair in rows.samples.tolist()]
        pairs = [pair for pair, _ in found]
        texts = self._texts(pairs, rows)
        labels = self._labels(pairs, texts) if self.itm else None
        captions = [self.corpus.caption(pair)[: self.length - 2] for pair in texts]
        return Batch(
            kind=self.kind,
            pixels_BCHW=normalise(np.stack([crop for _, crop in found])),
            patch_mask_BP=patch_masks(self.run.seed, self.masker, rows) if self.masks else None,
            image_tokens_BP=self._image_tokens(pairs) if self.tokens else None,
            itm_labels_B=labels,
            counted_B=None if labels is None else self._counted(labels, rows.update),
            keys=[self.corpus.key(pair) for pair in pairs],
            **self.texts.tensors([self.texts.wrap(caption) for caption in captions], rows),
        )

    def _image_tokens(self, pairs: list[int]) -> Tensor:
        images = np.array([self.corpus.image_index(pair) for pair in pairs])
        return torch.from_numpy(self.corpus.images.image_tokens(images))

    @staticmethod
    def _labels(pairs: list[int], texts: list[int]) -> Tensor:
        return torch.tensor([int(a == b) for a, b in zip(pairs, texts, strict=True)])

    def _counted(self, labels_B: Tensor, update: int) -> Tensor:
        """Matching rows, or all where the update's whole batch, on all ranks, has none."""
        matching_B = labels_B.ne(0)
        rows = range(self.run.pretrain.batch_size)
        if matching_B.any() or not all(self._draw(update, row)[0] for row in rows):
            return matching_B
        return torch.ones_like(matching_B)

    def _draw(self, update: int, row: int) -> tuple[bool, np.random.Generator]:
        """Whether the row's caption is replaced, and the random numbers to choose another by."""
        random = generator(self.run.seed, Stream.ITM, update, row)
        return random.random() < self.run.masking.itm_negative_probability, random

    def _texts(self, pairs: list[int], rows: Rows) -> list[int]:
        """The pair that each row takes its caption from."""
        if not self.itm:
            return pairs
        chosen = []
        for pair, row in zip(pairs, rows.numbers, strict=True):
            negative, random = self._draw(rows.update, row)
            chosen.append(self._other(pair, random) if negative else pair)
        return chosen

    def _other(self, pair: int, random: np.random.Generator) -> int:
        """A random pair with another image and another caption."""
        image, caption = self.corpus.image_index(pair), self.corpus.caption(pair)
        for _ in range(_NEGATIVE_DRAWS):
            other = int(random.integers(len(self.corpus)))
            if self.corpus.image_index(other) != image and not np.array_equal(
                self.corpus.caption(other), caption
            ):
                return other
        raise DataError(
            f"{self.corpus.directory}: no caption that differs from that of "
            f"'{self.corpus.key(pair)}' was found for ITM; the corpus needs more captions."
        )


class Texts:
    """Token lists to padded tensors, masked where `masking` is given.

    Raises:
        ConfigError: masking is asked of a tokenizer without [MASK].
    """

    def __init__(self, seed: int, tokenizer: Tokenizer, masking: MaskingConfig | None) -> None:
        self.seed, self.tokenizer = seed, tokenizer
        self.masker: TextMasker | None = None
        if masking is not None:
            starts = tokenizer.word_starts() if masking.whole_word else None
            self.masker = TextMasker(masking, tokenizer.mask_id, tokenizer.specials(), starts)

    def wrap(self, content_L: Ids) -> Ids:
        """[CLS] content [SEP]."""
        return np.concatenate([[self.tokenizer.cls_id], content_L, [self.tokenizer.sep_id]])

    def tensors(self, texts: Sequence[Ids], rows: Rows) -> dict[str, Tensor]:
        """Fields of a batch, padded to the longest of `texts`."""
        text_BL = pad(texts, self.tokenizer.pad_id)
        lengths = torch.tensor([len(text) for text in texts])
        attention_BL = torch.arange(text_BL.shape[1])[None] < lengths[:, None]
        fields = {"text_BL": text_BL, "text_attention_BL": attention_BL}
        if self.masker is None:
            return fields
        masked, labels = [], []
        for text, row in zip(texts, rows.numbers, strict=True):
            random = generator(self.seed, Stream.TEXT_MASK, rows.update, row)
            text_masked, text_labels = self.masker.mask(text, random)
            masked.append(text_masked)
            labels.append(text_labels)
        fields["text_masked_BL"] = pad(masked, self.tokenizer.pad_id)
        fields["text_labels_BL"] = pad(labels, IGNORE)
        return fields


def pad(texts: Sequence[Ids], value: int) -> Tensor:
    """int64 [B, longest], filled up with `value`."""
    padded = np.full((len(texts), max(map(len, texts))), value, np.int64)
    for row, text in zip(padded, texts, strict=True):
        row[: len(text)] = text
    return torch.from_numpy(padded)


def patch_masks(seed: int, masker: BlockMasker, rows: Rows) -> Tensor:
    """Block masks of the rows, bool [B, P]."""
    bits = [
        masker.bits(generator(seed, Stream.IMAGE_MASK, rows.update, row)) for row in rows.numbers
    ]
    return torch.from_numpy(masker.unpack(bits))
