"""Adapters of pairs whose images come as whole archives: COCO, Visual Genome, Localized Narratives.

PMD's sources (Table 2). Official formats and how to obtain them: docs/pmd.md.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

from flava.config import SourceConfig
from flava.data.archive import Archive
from flava.data.lines import json_lines, list_field, matching_files, read_json, text_field
from flava.data.paths import expand
from flava.data.sources import Captioned
from flava.errors import DataError

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")


def image_folder_of(source: SourceConfig) -> Archive:
    """The folder or zip `images` of the source, else the folder of its annotations."""
    if source.images is not None:
        return Archive(expand(source.images))
    path = expand(source.path)
    return Archive(path if path.is_dir() else path.parent)


def coco_captions(source: SourceConfig) -> Iterator[Captioned]:
    """COCO's captions_train2017.json (or 2014): lists `images` and `annotations`.

    `path` is the file, or a folder that has it as annotations/captions_<split>2017.json.

    Raises:
        DataError: a file is missing, or an entry malformed, twice there or of an unknown image.
    """
    path = expand(source.path)
    if path.is_dir():
        path = path / "annotations" / f"captions_{source.split}2017.json"
    value = read_json(path)
    captions: dict[str, list[str]] = defaultdict(list)
    for number, entry in enumerate(list_field(value, "annotations", path)):
        where = f"{path}, annotations[{number}]"
        captions[text_field(entry, "image_id", where)].append(text_field(entry, "caption", where))
    out = left_out(source)
    for number, entry in enumerate(list_field(value, "images", path)):
        where = f"{path}, images[{number}]"
        identity, file = (text_field(entry, name, where) for name in ("id", "file_name"))
        texts = captions.pop(identity, [])
        if identity not in out:
            yield Captioned(identity, file, texts)
    if captions:
        raise DataError(f"{path}: captions of image {next(iter(captions))}, which is not listed.")


def visual_genome(source: SourceConfig) -> Iterator[Captioned]:
    """Visual Genome's region_descriptions.json: every region's phrase with the whole image.

    Images lie as VG_100K/<id>.jpg and VG_100K_2/<id>.jpg.

    Raises:
        DataError: the file is missing or an entry malformed (it is named).
    """
    path = expand(source.path)
    path = path / "region_descriptions.json" if path.is_dir() else path
    value = read_json(path)
    if not isinstance(value, list):
        raise DataError(f"{path}: expected a list of images with their regions.")
    for number, entry in enumerate(value):
        where = f"{path}, [{number}]"
        regions = list_field(entry, "regions", where)
        phrases = [text_field(region, "phrase", where) for region in regions]
        identity = text_field(entry, "id", where)
        yield Captioned(identity, f"{identity}.jpg", phrases)


def localized_narratives(source: SourceConfig) -> Iterator[Captioned]:
    """Localized Narratives' *.jsonl; a whole narrative is a caption. See `_narratives`."""
    return _narratives(source, lambda narrative: [narrative])


def localized_narratives_sentences(source: SourceConfig) -> Iterator[Captioned]:
    """Localized Narratives' *.jsonl; every sentence of a narrative is a caption of its image.

    Table 2 counts 1.9M pairs, more than two for each of the 849k images, and the files published
    with PMD are called `captions_multi`. The paper does not say how it split.
    """
    return _narratives(source, _SENTENCE_END.split)


def _narratives(source: SourceConfig, split: Callable[[str], list[str]]) -> Iterator[Captioned]:
    """Narratives of all <split> files: an item each, several annotators' of one image apart.

    `path` is a file or a folder of *<split>*.jsonl, `images` the folder that holds the images of
    all of them: COCO's <id, 12 digits>.jpg, and <image_id>.jpg of Open Images, Flickr30K, ADE20K.

    Raises:
        DataError: a file is missing or a line malformed (file and line are named).
    """
    out = left_out(source)
    for path in matching_files(expand(source.path), f"*{source.split}*.jsonl"):
        for where, entry in json_lines(path):
            data, image, annotator = (
                text_field(entry, name, where)
                for name in ("dataset_id", "image_id", "annotator_id")
            )
            if image in out:
                continue
            file = f"{image.zfill(12)}.jpg" if "coco" in data.lower() else f"{image}.jpg"
            captions = split(text_field(entry, "caption", where).strip())
            yield Captioned(f"{data}/{image}-{annotator}", file, captions)


def left_out(source: SourceConfig) -> frozenset[str]:
    """Names (COCO ids, file names without suffix) of the val and test images of `exclude`.

    Raises:
        DataError: the file is missing or not in the Karpathy layout.
    """
    if source.exclude is None:
        return frozenset()
    path = expand(source.exclude)
    names = set()
    for number, entry in enumerate(list_field(read_json(path), "images", path)):
        where = f"{path}, images[{number}]"
        if text_field(entry, "split", where) in ("val", "test"):
            names.add(Path(text_field(entry, "filename", where)).stem)
            names.add(str(entry.get("cocoid", "")))
    return frozenset(names - {""})
