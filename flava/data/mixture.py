"""The mixture of pairs, images and texts: each update draws one kind (Section 3.3, Table A.2).

Everything is a function of (seed, update): a resumed run needs only its update counter, and any
number of ranks sees the same global batch.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from flava.config import Kind
from flava.data.batch import Batch
from flava.data.corpus import ImageCorpus, PairCorpus, TextCorpus
from flava.data.kinds import (
    CaptionBatches,
    ImageBatches,
    KindBatches,
    PairBatches,
    TextBatches,
)
from flava.data.masking import BlockMasker
from flava.data.model_sizes import grid, image_size, max_text_length, model_config
from flava.data.packing import pack
from flava.data.schedule import Order, Schedule, Share
from flava.data.tokenizer import Tokenizer, load_tokenizer
from flava.errors import ConfigError, DataError
from flava.io import sha256_file
from flava.jobs import RunConfig

CACHE_BYTES = 512_000_000
CORPUS_OF: dict[Kind, str] = {
    "pairs": "pairs",
    "pair_images": "pairs",
    "pair_texts": "pairs",
    "images": "images",
    "texts": "texts",
}
TOKEN_OBJECTIVES = frozenset({"mim", "mmm_image"})


class MixtureLoader:
    """Batches of a run.

    `batch` may be called in any order and from several threads. Crops are kept in memory where
    all of a corpus fit into `cache_bytes`.

    Args:
        run: resolved configuration of the run.
        rank, world_size: this process among those of the run.
        cache_bytes: limit of the crops kept in memory, all corpora together.

    Raises:
        ConfigError: sizes do not fit together (batch and ranks, text and position table, ...).
        DataError: prepared data are missing, damaged or made with another tokenizer.
    """

    def __init__(
        self, run: RunConfig, rank: int = 0, world_size: int = 1, cache_bytes: int = CACHE_BYTES
    ) -> None:
        check_sizes(run)
        self.run = run
        options = run.pretrain
        self._share = Share(
            options.batch_size,
            options.accumulate,
            rank,
            world_size,
            by_micro_batch=options.contrastive_batch == "micro",
        )
        self._schedule = Schedule(run)
        self._corpora: dict[str, ImageCorpus] = {}
        tokenizer = load_tokenizer(run.tokenizer_path)
        if tokenizer.vocab_size > model_config(run).vocab_size:
            raise ConfigError(
                f"{run.tokenizer_path} has {tokenizer.vocab_size} entries, the model's vocab_size "
                f"is {model_config(run).vocab_size}. Make vocab_size at least as large."
            )
        self.kinds = self._open(tokenizer)
        self._orders = {
            kind: Order(run.seed, kind, len(batches)) for kind, batches in self.kinds.items()
        }
        for corpus in self._corpora.values():
            size, scale = image_size(run), run.pretrain.crop_scale_min
            cache_bytes -= corpus.cache_crops(size, scale, cache_bytes)

    def _open(self, tokenizer: Tokenizer) -> dict[Kind, KindBatches]:
        run, used = self.run, {CORPUS_OF[kind] for kind in self.run.objectives}
        if missing := used - set(run.corpora):
            raise ConfigError(f"run {run.column}: corpora lacks {', '.join(sorted(missing))}.")
        share, kinds = run.pretrain.bad_image_fraction, dict[Kind, KindBatches]()
        if "pairs" in used:
            tokens = self._token_path("pairs")
            pairs = PairCorpus(run.corpora["pairs"], run.tokenizer, tokens, share)
            self._check(pairs.images, pairs.captions.tokenizer_sha256, "pairs")
            if "pairs" in run.objectives:
                kinds["pairs"] = PairBatches(run, tokenizer, pairs)
            if "pair_images" in run.objectives:
                kinds["pair_images"] = self._images("pair_images", pairs.images)
            if "pair_texts" in run.objectives:
                kinds["pair_texts"] = CaptionBatches(run, tokenizer, pairs)
        if "images" in used:
            images = ImageCorpus(run.corpora["images"], self._token_path("images"), share)
            self._check(images, None, "images")
            kinds["images"] = self._images("images", images)
        if "texts" in used:
            texts = TextCorpus(run.corpora["texts"], run.tokenizer)
            self._check(None, texts.lines.tokenizer_sha256, "texts")
            ranges_S2 = pack(texts.lines.offsets, run.pretrain.text_batch_length - 2)
            kinds["texts"] = TextBatches(run.seed, run.masking, tokenizer, texts, ranges_S2)
        for kind, batches in kinds.items():
            if len(batches) == 0:
                raise DataError(f"{run.corpora[CORPUS_OF[kind]]} holds no sample for '{kind}'.")
        return kinds

    def _images(self, kind: str, corpus: ImageCorpus) -> ImageBatches:
        run = self.run
        masker = BlockMasker(run.masking, grid(run))
        size, scale = image_size(run), run.pretrain.crop_scale_min
        return ImageBatches(kind, corpus, run.seed, masker, size, scale)

    def _token_path(self, corpus: str) -> str | None:
        """Path of the image tokens, where a loss on this corpus reads them."""
        needing = [
            kind
            for kind, objectives in self.run.objectives.items()
            if CORPUS_OF[kind] == corpus and TOKEN_OBJECTIVES & set(objectives)
        ]
        if needing and corpus not in self.run.image_tokens:
            raise ConfigError(f"image_tokens lacks '{corpus}', needed by {', '.join(needing)}.")
        return self.run.image_tokens[corpus] if needing else None

    def _check(self, images: ImageCorpus | None, tokenizer: str | None, name: str) -> None:
        run, patches = self.run, grid(self.run) ** 2
        if tokenizer is not None and tokenizer != sha256_file(run.tokenizer_path):
            raise DataError(
                f"{run.corpora[name]} was prepared with another tokenizer than "
                f"{run.tokenizer_path}. Prepare it again."
            )
        if images is None:
            return
        if images.tokens_per_image not in (0, patches):
            raise DataError(
                f"{run.image_tokens[name]} has {images.tokens_per_image} tokens an image, the "
                f"model {patches} patches. Run the codebook step again."
            )
        if any(CORPUS_OF[kind] == name and kind != "pair_texts" for kind in run.objectives):
            self._corpora[name] = images

    def schedule(self) -> NDArray[np.str_]:
        """Kind of each update, [updates]."""
        return self._schedule.kinds

    def batch(self, update: int, micro: int = 0) -> Batch:
        """This rank's rows of micro-batch `micro` of an update.

        Raises:
            IndexError: there is no such update or micro-batch.
            DataError: too many corrupt images, or a damaged shard.
        """
        pretrain = self.run.pretrain
        if not (0 <= update < len(self.schedule()) and 0 <= micro < pretrain.accumulate):
            raise IndexError(f"no micro-batch {micro} of update {update}")
        kind: Kind = str(self.schedule()[update])  # type: ignore[assignment]
        ordinal = int(self._schedule.ordinals[update])
        return self.kinds[kind].batch(self._share.rows(self._orders[kind], update, ordinal, micro))

    def report(self) -> dict[str, Any]:
        """Per image corpus: images, corrupt ones met so far and their names; samples an epoch."""
        return {
            "samples": {kind: len(batches) for kind, batches in self.kinds.items()},
            "images": {name: corpus.report() for name, corpus in self._corpora.items()},
        }


def check_sizes(run: RunConfig) -> None:
    """Raises ConfigError where text lengths and model do not fit."""
    longest = max_text_length(run)
    if "texts" in run.objectives and run.pretrain.text_batch_length > longest:
        raise ConfigError(
            f"text_batch_length {run.pretrain.text_batch_length} exceeds the model's {longest} "
            "text positions."
        )
    if min(run.pretrain.text_batch_length, run.pretrain.pair_text_length) < 3:
        raise ConfigError("text lengths must hold two special tokens and one more: at least 3.")
