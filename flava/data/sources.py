"""Registry of source adapters: official file formats in, plain items out.

An adapter is a function of a `SourceConfig`; to add one, write the function in the module of its
kind and name it here (docs/data.md).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

from flava.config import SourceConfig
from flava.data.archive import Archive
from flava.errors import ConfigError, unknown_name

ItemT = TypeVar("ItemT")


@dataclass(frozen=True)
class ImageText:
    """An image with its captions, verbatim.

    Attributes:
        key: name of the image, unique in its source.
        image_bytes: the encoded file.
        captions: at least one; may be empty strings, which preparing skips.
    """

    key: str
    image_bytes: bytes
    captions: list[str]


@dataclass(frozen=True)
class Image:
    """An image and the name of its class, None where the source has no classes."""

    key: str
    image_bytes: bytes
    label: str | None


@dataclass(frozen=True)
class Captioned:
    """Captions of the image in `member` of an archive, before the image is read."""

    key: str
    member: str
    captions: list[str]


@dataclass(frozen=True)
class PairsAdapter:
    """Where the images lie, and the captions in order."""

    images: Callable[[SourceConfig], Archive]
    captions: Callable[[SourceConfig], Iterator[Captioned]]


def _pairs_adapters() -> dict[str, PairsAdapter]:
    from flava.data import source_pairs as pairs

    return {
        "karpathy": PairsAdapter(pairs.karpathy_images, pairs.karpathy),
        "flickr8k_tokens": PairsAdapter(pairs.flickr8k_images, pairs.flickr8k_tokens),
        "captions_jsonl": PairsAdapter(pairs.jsonl_images, pairs.captions_jsonl),
    }


def _image_adapters() -> dict[str, Callable[[SourceConfig], Iterator[Image]]]:
    from flava.data import source_images as images

    return {"image_folder": images.image_folder, "mnist_idx": images.mnist_idx}


def _text_adapters() -> dict[str, Callable[[SourceConfig], Iterator[str]]]:
    from flava.data import source_texts as texts

    return {
        "text_lines": texts.text_lines,
        "wikitext": texts.wikitext,
        "ag_news_csv": texts.ag_news_csv,
        "gutenberg": texts.gutenberg,
        "glue_sentences": texts.glue_sentences,
        "captions": texts.captions,
    }


def _adapter(adapters: Mapping[str, ItemT], source: SourceConfig, kind: str) -> ItemT:
    if source.adapter not in adapters:
        where = f"source '{source.name}' of {kind}"
        raise ConfigError(unknown_name("adapter", source.adapter, list(adapters), where))
    return adapters[source.adapter]


def read_pairs(source: SourceConfig) -> Iterator[ImageText]:
    """Images with captions of a pairs source, at most `source.limit` images.

    Raises:
        ConfigError: no pairs adapter has this name.
        DataError: a file is missing or malformed (file and line are named).
    """
    adapter = _adapter(_pairs_adapters(), source, "pairs")
    archive = adapter.images(source)
    for item in islice(adapter.captions(source), source.limit):
        yield ImageText(item.key, archive.read(archive.find(item.member)), item.captions)


def read_captions(source: SourceConfig) -> Iterator[list[str]]:
    """Captions of a pairs source, one list an image; the images are not read. Raises as above."""
    adapter = _adapter(_pairs_adapters(), source, "pairs")
    for item in islice(adapter.captions(source), source.limit):
        yield item.captions


def read_images(source: SourceConfig) -> Iterator[Image]:
    """Images of an image source, at most `source.limit`. Raises as `read_pairs`."""
    yield from islice(_adapter(_image_adapters(), source, "images")(source), source.limit)


def read_texts(source: SourceConfig) -> Iterator[str]:
    """Documents of a text source, at most `source.limit`; a line is a sentence or paragraph.

    Raises as `read_pairs`.
    """
    yield from islice(_adapter(_text_adapters(), source, "texts")(source), source.limit)


def adapter_names() -> dict[str, list[str]]:
    """All adapters by kind, for messages and documentation."""
    return {
        "pairs": sorted(_pairs_adapters()),
        "images": sorted(_image_adapters()),
        "texts": sorted(_text_adapters()),
    }
