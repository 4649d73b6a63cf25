"""Corpora, tokenizers, the toy world, and sampling."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from flava.config.base import Fraction, Strict

PAIRS_KEYS = ("images", "exclude", "filter", "expected_pairs", "max_shortfall")
IMAGES_KEYS = ("expected_images",)


class CaptionFilterConfig(Strict):
    """Which captions of a source are kept (Section 3.5: the filter of YFCC100M)."""

    min_words: PositiveInt = Field(3, description="fewer words: dropped (3.5: 'more than two')")
    english: Literal["function_words", "ascii", "any"] = Field(
        "function_words",
        description="how English is told (3.5 names no method; docs/pmd.md): by letters and "
        "function words, by letters alone, or every language is kept",
    )


class SourceConfig(Strict):
    """One source of a corpus in its official format."""

    adapter: str = Field(description="a name of flava.data.adapters")
    path: str = Field(description="file or folder; may begin with $FLAVA_DATA")
    split: str = Field("train", description="the source's own split name")
    limit: PositiveInt | None = Field(None, description="first N items only")
    name: str = Field(description="name in manifests and Table 2")
    licence: str = Field(description="licence, for the manifest")
    version: str = Field(description="release or commit, for the manifest")
    stand_in_for: str | None = Field(None, description="the paper's source it takes the place of")
    images: str | None = Field(
        None, description="pairs: image folder, zip or img2dataset output, where apart from path"
    )
    exclude: str | None = Field(
        None, description="pairs: Karpathy JSON whose val and test images are left out"
    )
    filter: CaptionFilterConfig | None = Field(None, description="pairs: captions to keep")
    expected_pairs: PositiveInt | None = Field(None, description="pairs: the count of Table 2")
    max_shortfall: Fraction | None = Field(
        None,
        description="pairs: if more than this share of the expected (else of the listed) pairs is "
        "missing, preparing stops before it writes; none: it warns",
    )
    expected_images: PositiveInt | None = Field(
        None, description="images: the official count; any other number is an error"
    )


class TokenizerConfig(Strict):
    """A tokenizer: a published vocabulary file or one trained on the study's text."""

    kind: Literal["wordpiece", "bpe"] = Field(description="BERT WordPiece or CLIP's lower-case BPE")
    vocab_file: str | None = Field(None, description="published vocabulary; none: train one")
    vocab_size: PositiveInt | None = Field(None, description="size to train to")

    @model_validator(mode="after")
    def _one(self) -> TokenizerConfig:
        return self.require_one("vocab_file", "vocab_size")


class ToyWorldConfig(Strict):
    """Sizes of the generated toy world."""

    seed: NonNegativeInt = Field(0, description="of all that is drawn")
    image_size: PositiveInt = Field(32, description="pixels a side")
    pairs: PositiveInt = Field(20000, description="captioned scenes for pretraining")
    large_pairs: NonNegativeInt = Field(
        0, description="captioned scenes for the CLIP that stands in for the released one"
    )
    images: PositiveInt = Field(5000, description="image-only scenes")
    sentences: PositiveInt = Field(20000, description="text-only sentences")
    task_train: PositiveInt = Field(2000, description="training examples a task")
    task_test: PositiveInt = Field(1000, description="test examples a task")


class DataConfig(Strict):
    """Corpora of a study: pairs (PMD), images (ImageNet-1k) and texts (CCNews, BookCorpus)."""

    toy_world: ToyWorldConfig | None = None
    tokenizers: dict[Literal["wordpiece", "bpe"], TokenizerConfig]
    pairs: list[SourceConfig]
    images: list[SourceConfig]
    texts: list[SourceConfig]
    shard_bytes: PositiveInt = Field(100_000_000, description="a tar shard's size at most")

    @model_validator(mode="after")
    def _keys_of_a_kind(self) -> DataConfig:
        for kind, keys in {"pairs": PAIRS_KEYS, "images": IMAGES_KEYS}.items():
            others = {"pairs": self.pairs, "images": self.images, "texts": self.texts}
            del others[kind]
            for source in (source for sources in others.values() for source in sources):
                given = [key for key in keys if getattr(source, key) is not None]
                if given:
                    raise ValueError(
                        f"source '{source.name}' has the key '{given[0]}', which only {kind} have"
                    )
        return self


class SamplingConfig(Strict):
    """Sampling probabilities of the three corpora (Table A.2)."""

    pairs: Fraction = Field(0.70, description="of updates")
    images: Fraction = Field(0.15, description="of updates")
    texts: Fraction = Field(0.15, description="of updates")
