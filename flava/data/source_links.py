"""Adapters of pairs published as links: SBU, CC3M, CC12M, RedCaps, WIT, and img2dataset itself.

PMD's sources (Table 2). Official formats and how to obtain them: docs/pmd.md. The images come
from img2dataset's output and are found by their URL.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from flava.config import SourceConfig
from flava.data.archive import Archive
from flava.data.img2dataset import Img2Dataset, shard_paths
from flava.data.lines import (
    BAD_TEXT,
    all_lines,
    as_text,
    list_field,
    matching_files,
    open_text,
    read_json,
    tab_fields,
    text_field,
)
from flava.data.paths import expand
from flava.data.sources import Captioned
from flava.errors import DataError

WIT_CAPTIONS = ("caption_reference_description", "caption_attribution_description")
WIT_COLUMNS = ("language", "image_url", "attribution_passes_lang_id", *WIT_CAPTIONS)
MAX_FIELD = 10_000_000


def linked_images(source: SourceConfig) -> Img2Dataset:
    """img2dataset's output: `images`, else the folder `images` beside the annotations."""
    return Img2Dataset(_image_place(source))


def downloaded_images(source: SourceConfig) -> Archive | Img2Dataset:
    """As `linked_images`, or a folder or zip with the files by the source's own names."""
    place = _image_place(source)
    return Img2Dataset(place) if shard_paths(place) else Archive(place)


def _image_place(source: SourceConfig) -> Path:
    path = expand(source.path)
    if not path.exists():
        raise DataError(f"{path} is missing. Check the 'path' of source '{source.name}'.")
    if source.images is not None:
        return expand(source.images)
    return (path if path.is_dir() else path.parent) / "images"


def img2dataset_images(source: SourceConfig) -> Img2Dataset:
    """The folder that img2dataset wrote."""
    return Img2Dataset(expand(source.path))


def img2dataset(source: SourceConfig) -> Iterator[Captioned]:
    """Every link of img2dataset's output with the caption it was given.

    Links that are dead are known from the parquet tables; without those they do not appear.

    Raises:
        DataError: no shard is there, or a table is malformed (it is named).
    """
    folder = img2dataset_images(source)
    for shard in range(len(folder.shards)):
        for row in folder.rows(shard):
            yield Captioned(row["key"], f"{shard}/{row['key']}", [row["caption"]])


def sbu(source: SourceConfig) -> Iterator[Captioned]:
    """SBU: sbu-captions-all.json, or the two text files SBU_captioned_photo_dataset_*.txt.

    Raises:
        DataError: a file is missing, or there are not as many captions as URLs.
    """
    path = expand(source.path)
    file = path / "sbu-captions-all.json" if path.is_dir() else path
    if file.is_file():
        value = read_json(file)
        urls, captions = (list_field(value, name, file) for name in ("image_urls", "captions"))
    else:
        stem = file.parent / "SBU_captioned_photo_dataset"
        texts = (Path(f"{stem}_{name}.txt") for name in ("urls", "captions"))
        urls, captions = ([line for _, line in all_lines(text)] for text in texts)
        file = Path(f"{stem}_urls.txt")
    if len(urls) != len(captions):
        raise DataError(f"{file}: {len(urls)} URLs, {len(captions)} captions. Download it again.")
    for number, (url, caption) in enumerate(zip(urls, captions, strict=True)):
        found = (as_text(each, f"{file}, entry {number}") for each in (url, caption))
        yield _link(number, *found)


def cc3m_tsv(source: SourceConfig) -> Iterator[Captioned]:
    """Conceptual Captions' Train_GCC-training.tsv: caption, tab, URL. Raises as `tab_fields`."""
    path = _one(source, "Train*GCC-training*.tsv", "Train*GCC-training*.tsv.gz")
    for number, (caption, url) in tab_fields(path, (2,)):
        yield _link(number, url, caption)


def cc12m_tsv(source: SourceConfig) -> Iterator[Captioned]:
    """Conceptual 12M's cc12m.tsv: URL, tab, caption. Raises as `tab_fields`."""
    for number, (url, caption) in tab_fields(_one(source, "cc12m.tsv", "cc12m.tsv.gz"), (2,)):
        yield _link(number, url, caption)


def wit_tsv(source: SourceConfig) -> Iterator[Captioned]:
    """WIT's wit_v1.train.all-*.tsv.gz: rows of language `en`.

    The caption is the reference description (below the image in the article), else the
    attribution description (of the image's own page) where WIT's language test passes; the paper
    does not say which it took. Several articles may share an image: each is an item.

    Raises:
        DataError: a file or column is missing or a line malformed (file and line are named).
    """
    pattern = f"wit_v1.{source.split}.all-*.tsv"
    for file, path in enumerate(matching_files(expand(source.path), pattern, f"{pattern}.gz")):
        for number, row in _wit_rows(path):
            if row["language"] == "en":
                yield _link(number, row["image_url"], *_wit_captions(row), key=f"{file:02d}-")


def _wit_rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    csv.field_size_limit(MAX_FIELD)
    with open_text(path) as lines:
        reader = csv.reader(lines, delimiter="\t")
        try:
            header = next(reader, [])
            missing = [name for name in WIT_COLUMNS if name not in header]
            if missing:
                raise DataError(f"{path}, line 1: the column '{missing[0]}' of WIT is missing.")
            for fields in reader:
                where = f"{path}, line {reader.line_num}"
                if len(fields) != len(header):
                    raise DataError(f"{where}: {len(fields)} fields, expected {len(header)}.")
                yield reader.line_num, dict(zip(header, fields, strict=True))
        except (csv.Error, *BAD_TEXT) as error:
            raise DataError(
                f"{path} cannot be read after line {reader.line_num} ({error})."
            ) from None


def _wit_captions(row: dict[str, str]) -> list[str]:
    reference, attribution = (row[name].strip() for name in WIT_CAPTIONS)
    # Attributions may be in any language; WIT marks those that are in the row's.
    english = row["attribution_passes_lang_id"].lower() == "true"
    return [reference, attribution.removeprefix("English: ") if english else ""]


def redcaps(source: SourceConfig) -> Iterator[Captioned]:
    """RedCaps' annotations/<subreddit>_<year>.json; images/<subreddit>/<image_id>.jpg or by URL.

    Raises:
        DataError: a file is missing or an entry malformed (it is named).
    """
    path = expand(source.path)
    path = path / "annotations" if (path / "annotations").is_dir() else path
    for file in matching_files(path, "*.json"):
        for number, entry in enumerate(list_field(read_json(file), "annotations", file)):
            where = f"{file}, annotations[{number}]"
            names = ("image_id", "subreddit", "url", "caption")
            identity, subreddit, url, caption = (text_field(entry, n, where) for n in names)
            yield Captioned(identity, f"{subreddit}/{identity}.jpg", [caption], url=url)


def _one(source: SourceConfig, *patterns: str) -> Path:
    path = expand(source.path)
    files = matching_files(path, *patterns)
    if len(files) > 1:
        raise DataError(f"{path} holds {len(files)} files {patterns[0]}; name one as 'path'.")
    return files[0]


def _link(number: int, url: str, *captions: str, key: str = "") -> Captioned:
    """A link; of several captions the first one that passes the filter is taken."""
    return Captioned(
        f"{key}{number:09d}", "", list(captions), url=url.strip(), alternatives=len(captions) > 1
    )
