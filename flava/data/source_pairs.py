"""Adapters of image-text sources: Karpathy JSON, Flickr8k token files, JSON lines, emoji."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flava.config import SourceConfig
from flava.data.archive import Archive, first_existing
from flava.data.lines import (
    CHECK_SOURCE,
    as_text,
    json_lines,
    list_field,
    numbered_lines,
    read_json,
    text_field,
)
from flava.data.paths import expand
from flava.data.sources import Captioned
from flava.errors import DataError

IMAGE_PLACES = ("images.zip", "Images.zip", "images", "Images", "Flicker8k_Dataset")


def images_beside(source: SourceConfig) -> Archive:
    """`images` of the source, else the image zip or folder in the folder of the captions."""
    if source.images is not None:
        return Archive(expand(source.images))
    path = expand(source.path)
    if not path.exists():
        raise DataError(f"{path} is missing. Check the 'path' of source '{source.name}'.")
    folder = path if path.is_dir() else path.parent
    return Archive(first_existing(folder, IMAGE_PLACES, "image zip or folder"))


def karpathy(source: SourceConfig) -> Iterator[Captioned]:
    """Karpathy's dataset_*.json (Flickr8k, Flickr30K, COCO): the images of `source.split`.

    `split` may join several with "+", e.g. "train+restval" for COCO. `path` is the file or its
    folder.

    Raises:
        DataError: the file is missing or not in this layout (the entry is named), or has no image
            of the split.
    """
    path = karpathy_file(expand(source.path))
    wanted, found = set(source.split.split("+")), set()
    for number, entry in enumerate(list_field(read_json(path), "images", path)):
        split, item = _karpathy_entry(entry, f"{path}, images[{number}]")
        found.add(split)
        if split in wanted:
            yield item
    if wanted - found:
        missing = ", ".join(sorted(wanted - found))
        raise DataError(f"{path} has no image of split {missing}; it has: {sorted(found)}.")


def karpathy_file(path: Path) -> Path:
    """`path`, or the one dataset_*.json in that folder, or else dataset*.json.

    Raises:
        DataError: the folder has none, or several.
    """
    if not path.is_dir():
        return path
    files = sorted(path.glob("dataset_*.json")) or sorted(path.glob("dataset*.json"))
    if len(files) != 1:
        raise DataError(f"{path} holds {len(files)} files dataset*.json; name one as 'path'.")
    return files[0]


def _karpathy_entry(entry: Any, where: str) -> tuple[str, Captioned]:
    file, split = (text_field(entry, name, where) for name in ("filename", "split"))
    sentences = list_field(entry, "sentences", where)
    captions = [
        text_field(each, "raw", f"{where}.sentences[{i}]") for i, each in enumerate(sentences)
    ]
    folder = as_text(entry.get("filepath", ""), f"{where}: 'filepath'")
    member = f"{folder}/{file}" if folder else file
    return split, Captioned(member, member, captions)


def flickr8k_tokens(source: SourceConfig) -> Iterator[Captioned]:
    """Flickr8k.token.txt with the list Flickr_8k.<split>Images.txt; split train, dev or test.

    Raises:
        DataError: a file is missing, a line is malformed, or a listed image has no caption.
    """
    folder = expand(source.path)
    listed = numbered_lines(folder / f"Flickr_8k.{source.split}Images.txt")
    captions = flickr8k_captions(folder / "Flickr8k.token.txt")
    for number, line in listed:
        name = line.strip()
        if name not in captions:
            file = folder / f"Flickr_8k.{source.split}Images.txt"
            raise DataError(f"{file}, line {number}: '{name}' has no caption in the token file.")
        yield Captioned(name, name, captions[name])


def flickr8k_captions(path: Path, how_to_get: str = CHECK_SOURCE) -> dict[str, list[str]]:
    """Captions by image of a token file with lines `<image>#<number><TAB><caption>`.

    Raises:
        DataError: it is missing (`how_to_get` says what to do) or a line is malformed.
    """
    captions: dict[str, list[str]] = defaultdict(list)
    for number, line in numbered_lines(path, how_to_get):
        name, tab, caption = line.partition("\t")
        image, mark, _ = name.rpartition("#")
        if not tab or not mark:
            raise DataError(f"{path}, line {number}: expected '<image>#<number><TAB><caption>'.")
        captions[image].append(caption)
    return captions


def captions_jsonl(source: SourceConfig) -> Iterator[Captioned]:
    """JSON lines {"file": ..., "captions": [...]} beside an image zip or folder; no splits.

    Raises:
        DataError: the file is missing or a line is malformed (file and line are named).
    """
    path = expand(source.path)
    for where, entry in json_lines(path):
        file, captions = text_field(entry, "file", where), list_field(entry, "captions", where)
        texts = (as_text(each, f"{where}: captions[{i}]") for i, each in enumerate(captions))
        yield Captioned(file, file, list(texts))


def emoji_annotations(source: SourceConfig) -> Iterator[Captioned]:
    """JSON lines {"file", "name", "keywords"} beside the pictures, e.g. Noto's; no splits.

    Name and keywords are those of the Unicode CLDR's annotations: the name is one caption, the
    keywords, joined by commas, another.

    Raises:
        DataError: the file is missing or a line is malformed (file and line are named).
    """
    path = expand(source.path)
    for where, entry in json_lines(path):
        file, name = (text_field(entry, key, where) for key in ("file", "name"))
        keywords = list_field(entry, "keywords", where)
        words = [as_text(each, f"{where}: keywords[{i}]") for i, each in enumerate(keywords)]
        yield Captioned(file, file, [name, ", ".join(words)] if words else [name])
