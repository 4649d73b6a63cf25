"""Reads sources with their adapters: official file formats in, plain items out.

An adapter is a function of a `SourceConfig`; to add one, write the function in the module of its
kind and name it in flava/data/adapters.py (docs/data.md).

    python -m flava.data.sources --how SBU      how to obtain a data set of the paper
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from hashlib import blake2b
from itertools import islice
from pkgutil import resolve_name

from flava.config import SourceConfig
from flava.data.adapters import IMAGES, PAIRS, TEXTS, check_source
from flava.data.archive import Archive
from flava.data.caption_filter import why_dropped
from flava.data.img2dataset import Img2Dataset
from flava.data.paths import check_encodable
from flava.errors import DataError, MissingFileError, run_cli

MAX_KEY = 255


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
class ListedImage:
    """An image before it is read: its key and class, and `read`, called before the next comes."""

    key: str
    label: str | None
    read: Callable[[], bytes]


@dataclass(frozen=True)
class Captioned:
    """Captions of an image, before the image is read.

    Attributes:
        key: name of the image, unique in its source.
        member: its name in the archive of images; empty where it has only a URL.
        captions: captions of the image or, with `alternatives`, one and what may replace it.
        url: where the image was published, for images that img2dataset brought.
        alternatives: only the first caption that passes the source's filter is taken.
    """

    key: str
    member: str
    captions: list[str]
    url: str | None = None
    alternatives: bool = False


def read_pairs(source: SourceConfig, tally: Counter[str] | None = None) -> Iterator[ImageText]:
    """Images with captions of a pairs source, of the first `source.limit` images it lists.

    Args:
        source: the source.
        tally: counts what `listed_captions` counts, and images and pairs that are missing.

    Raises:
        ConfigError: no pairs adapter has this name.
        DataError: a file is missing or malformed (file and line are named).
    """
    archive, items = _located(source, Counter() if tally is None else tally)
    for item, member in items:
        yield ImageText(item.key, archive.read(member), item.captions)


def count_pairs(source: SourceConfig, tally: Counter[str]) -> int:
    """Number of pairs that `read_pairs` would give; no image is read. Raises as it does."""
    _, items = _located(source, tally)
    return sum(len(item.captions) for item, _ in items)


def _located(
    source: SourceConfig, tally: Counter[str]
) -> tuple[Archive | Img2Dataset, Iterator[tuple[Captioned, str]]]:
    check_source("pairs", source)
    adapter = PAIRS[source.adapter]
    archive: Archive | Img2Dataset = resolve_name(adapter.images)(source)

    def items() -> Iterator[tuple[Captioned, str]]:
        for item in listed_captions(source, tally):
            try:
                yield item, _find(archive, item, adapter.exact)
            except MissingFileError:
                if not adapter.partial:
                    raise
                tally["missing images"] += 1
                tally["pairs of missing images"] += len(item.captions)

    return archive, items()


def _find(archive: Archive | Img2Dataset, item: Captioned, exact: bool) -> str:
    if isinstance(archive, Archive):
        return archive.find(item.member, anywhere=not exact)
    return archive.find(item.member) if item.url is None else archive.find_url(item.url)


def listed_captions(source: SourceConfig, tally: Counter[str]) -> Iterator[Captioned]:
    """Images of the annotations that have a caption left after `source.filter`.

    `tally` counts the pairs listed ("listed pairs"), those dropped by reason, and what stands
    twice under one key, of which the first is kept (80 bytes of memory an image).
    """
    check_source("pairs", source)
    read: Callable[[SourceConfig], Iterator[Captioned]] = resolve_name(
        PAIRS[source.adapter].captions
    )
    seen: set[int] = set()
    for item in islice(read(source), source.limit):
        listed = min(len(item.captions), 1) if item.alternatives else len(item.captions)
        tally["listed pairs"] += listed
        captions = _kept(item, source, tally)
        if listed and not captions:
            tally["images without caption"] += 1
            continue
        if len(item.key) > MAX_KEY:
            start = item.key[:40]
            raise DataError(
                f"Source '{source.name}': the key '{start}...' has over {MAX_KEY} characters."
            )
        check_encodable(item.key, f"Source '{source.name}'")
        key = int.from_bytes(blake2b(item.key.encode(), digest_size=8).digest(), "big")
        if key in seen:
            tally["duplicate keys"] += len(captions)
            continue
        seen.add(key)
        yield replace(item, captions=captions)


def _kept(item: Captioned, source: SourceConfig, tally: Counter[str]) -> list[str]:
    """The captions that pass; of alternatives the first, reasons being those of the last."""
    kept: list[str] = []
    reasons: list[str] = []
    for caption in item.captions:
        if item.alternatives and not caption.strip():
            continue
        reason = why_dropped(caption, source.filter) if source.filter else None
        if reason:
            reasons.append(reason)
            continue
        kept.append(caption)
        if item.alternatives:
            return kept
    if item.alternatives:
        reasons = reasons[-1:] or ["empty captions"]
    tally.update(reasons)
    return kept


def read_captions(source: SourceConfig) -> Iterator[list[str]]:
    """Captions of a pairs source, one list an image; the images are not read. Raises as above."""
    for item in listed_captions(source, Counter()):
        yield item.captions


def read_images(source: SourceConfig) -> Iterator[Image]:
    """Images of an image source, at most `source.limit`. Raises as `read_pairs`."""
    for item in _listed_images(source):
        yield Image(item.key, item.read(), item.label)


def count_images(source: SourceConfig) -> int:
    """Number of images that `read_images` would give; none is read. Raises as it does."""
    return sum(1 for _ in _listed_images(source))


def _listed_images(source: SourceConfig) -> Iterator[ListedImage]:
    check_source("images", source)
    for item in islice(resolve_name(IMAGES[source.adapter])(source), source.limit):
        check_encodable(item.key, f"Source '{source.name}'")
        yield item


def read_texts(source: SourceConfig) -> Iterator[str]:
    """Documents of a text source, at most `source.limit`; a line is a sentence or paragraph.

    Raises as `read_pairs`.
    """
    check_source("texts", source)
    yield from islice(resolve_name(TEXTS[source.adapter])(source), source.limit)


def main() -> None:
    """Prints how to obtain a data set; without a name, the names."""
    import argparse

    from flava.data.obtain import how_to_obtain

    parser = argparse.ArgumentParser(description="How to obtain the paper's data sets.")
    parser.add_argument("--how", metavar="NAME", default="", help="a source, or 'all'")
    print(how_to_obtain(parser.parse_args().how))


if __name__ == "__main__":
    run_cli(main)
