"""Prepares one corpus: sources in official formats to shards, token arrays and a manifest.

    python -m flava.data.prepare --config results/<study>/configs/prepare_pairs.json

The layout of the folder it writes is in docs/data.md.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import IO, Any

import numpy as np
from tqdm import tqdm

from flava.config import SourceConfig
from flava.data.archive import image_extension
from flava.data.shards import FORMAT, ShardWriter
from flava.data.shortfall import LISTED, check, count, expectation, table
from flava.data.sources import ImageText, count_images, read_images, read_pairs, read_texts
from flava.data.tokenizer import Tokenizer, load_tokenizer
from flava.errors import ConfigError, DataError, run_cli, unknown_name
from flava.io import atomic_directory, sha256_file, without_leftovers, write_json
from flava.jobs import PrepareJob, load_job
from flava.records import make_record

TEXTS_A_CALL = 1024
IMAGES_A_CALL = 256


@dataclass
class Totals:
    """What a source gave, for the manifest."""

    counts: Counter[str] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)
    tally: Counter[str] = field(default_factory=Counter)
    words: int = 0
    texts: int = 0
    image_bytes: int = 0

    def text(self, text: str) -> None:
        """Counts a text that was kept."""
        self.texts += 1
        self.words += len(text.split())

    def row(self, source: SourceConfig) -> dict[str, Any]:
        """The source's entry in the manifest; paths keep their $VARIABLES."""
        about = source.model_dump(
            include={"name", "version", "licence", "stand_in_for", "adapter", "path", "split"}
        )
        skipped = Counter({k: n for k, n in self.tally.items() if k != LISTED})
        skipped.update(self.skipped)
        pairs = expectation(source, self.tally, self.counts["pairs"]) if self.tally else {}
        return {
            **about,
            "counts": dict(self.counts),
            "skipped": dict(skipped),
            "image_bytes": self.image_bytes,
            "mean_words": self.words / self.texts if self.texts else None,
            **pairs,
        }


class TokenWriter:
    """Writes token lists of one tokenizer flat, with offsets; a text takes no memory."""

    def __init__(self, directory: Path, name: str, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.dtype = np.dtype("<u2" if tokenizer.vocab_size <= 2**16 else "<i4")
        self.directory, self.name = directory, name
        # Closed by save.
        self._raw = tempfile.TemporaryFile(dir=directory)  # noqa: SIM115
        self._ends = tempfile.TemporaryFile(dir=directory)  # noqa: SIM115
        self._ends.write(bytes(8))
        self._end = 0

    def add(self, ids: list[int]) -> None:
        """Appends one text."""
        self._raw.write(np.array(ids, self.dtype).tobytes())
        self._end += len(ids)
        self._ends.write(self._end.to_bytes(8, "little"))

    def save(self) -> None:
        """Writes tokens_<name>.npy (flat) and offsets_<name>.npy (int64, one more than texts)."""
        self._copy("offsets", self._ends, np.dtype("<i8"), self._ends.tell() // 8)
        self._copy("tokens", self._raw, self.dtype, self._end)

    def _copy(self, what: str, raw: IO[bytes], dtype: np.dtype[Any], count: int) -> None:
        header = {"descr": dtype.str, "fortran_order": False, "shape": (count,)}
        with raw, (self.directory / f"{what}_{self.name}.npy").open("wb") as file:
            np.lib.format.write_array_header_1_0(file, header)
            raw.seek(0)
            shutil.copyfileobj(raw, file)


def prepare_pairs(job: PrepareJob, directory: Path) -> list[dict[str, Any]]:
    """Shards, caption tokens and pair_image.npy (int64, the image of each caption)."""
    shards = ShardWriter(directory, job.shard_bytes)
    writers = _writers(job, directory)
    pair_image = array("q")
    rows = []
    for source in job.sources:
        totals = Totals()
        pairs = read_pairs(source, totals.tally)
        progress = tqdm(pairs, desc=source.name, unit=" images", disable=None)
        for item, captions, ids in _encoded(progress, writers, totals):
            if not _is_image(item.image_bytes, totals):
                continue
            pair_image.extend([len(shards)] * len(captions))
            for writer, texts in zip(writers, ids, strict=True):
                for text in texts:
                    writer.add(text)
            _count_image(totals, item.image_bytes)
            for caption in captions:
                totals.text(caption)
            totals.counts["pairs"] += len(captions)
            shards.add(f"{source.name}/{item.key}", item.image_bytes, {"captions": captions})
        rows.append(totals.row(source))
    shards.close()
    np.save(directory / "pair_image.npy", np.array(pair_image, np.int64))
    for writer in writers:
        writer.save()
    return rows


def _encoded(
    items: Iterable[ImageText], writers: list[TokenWriter], totals: Totals
) -> Iterator[tuple[ImageText, list[str], list[list[list[int]]]]]:
    """Images with their usable captions, stripped, and the captions' ids by tokenizer.

    A caption is usable if it has a token under every tokenizer; images without one are skipped.
    """
    stream = iter(items)
    while chunk := list(islice(stream, IMAGES_A_CALL)):
        texts = [caption.strip() for item in chunk for caption in item.captions]
        ids = [writer.tokenizer.encode_batch(texts) for writer in writers]
        start = 0
        for item in chunk:
            end = start + len(item.captions)
            kept = [i for i in range(start, end) if texts[i] and all(of[i] for of in ids)]
            totals.skipped["empty captions"] += end - start - len(kept)
            totals.skipped["images without caption"] += not kept
            if kept:
                yield item, [texts[i] for i in kept], [[of[i] for i in kept] for of in ids]
            start = end


def prepare_images(job: PrepareJob, directory: Path) -> list[dict[str, Any]]:
    """Shards of images with their class names."""
    shards = ShardWriter(directory, job.shard_bytes)
    rows = []
    for source in job.sources:
        totals = Totals()
        for item in tqdm(read_images(source), desc=source.name, unit=" images", disable=None):
            if _is_image(item.image_bytes, totals):
                _count_image(totals, item.image_bytes)
                shards.add(f"{source.name}/{item.key}", item.image_bytes, {"label": item.label})
        bad = totals.skipped["files that are no image"]
        _check_images(source, totals.counts["images"], f"images and {bad:,} files that are none")
        rows.append(totals.row(source))
    shards.close()
    return rows


def _check_images(source: SourceConfig, found: int, what: str) -> None:
    """Refuses a set that is there in part: it would be trained on for weeks."""
    expected = source.expected_images
    if expected is not None and found != min(expected, source.limit or expected):
        raise DataError(
            f"Source '{source.name}' has {found:,} {what} in {source.path}, but the study expects "
            f"{expected:,} (expected_images). Unpack or get the whole set, and nothing beside it: "
            f"python -m flava.data.sources --how '{source.name}'"
        )


def _is_image(data: bytes, totals: Totals) -> bool:
    """Whether the bytes begin as an image file; others are counted as skipped."""
    known = image_extension(data) is not None
    totals.skipped["files that are no image"] += not known
    return known


def _count_image(totals: Totals, data: bytes) -> None:
    totals.counts["images"] += 1
    totals.image_bytes += len(data)


def prepare_texts(job: PrepareJob, directory: Path) -> list[dict[str, Any]]:
    """Tokens of every line; the last line of a document ends with the separator token."""
    writers = _writers(job, directory)
    rows = []
    for source in job.sources:
        totals = Totals()
        texts = tqdm(read_texts(source), desc=source.name, unit=" documents", disable=None)
        for lines, ends in _line_batches(texts, totals):
            for writer in writers:
                batch = writer.tokenizer.encode_batch(lines)
                for ids, end in zip(batch, ends, strict=True):
                    writer.add([*ids, writer.tokenizer.sep_id] if end else ids)
        rows.append(totals.row(source))
    for writer in writers:
        writer.save()
    return rows


def _line_batches(
    documents: Iterable[str], totals: Totals
) -> Iterator[tuple[list[str], list[bool]]]:
    """Lines with content, and whether each is the last of its document."""

    def lines() -> Iterator[tuple[str, bool]]:
        for document in documents:
            kept = [line.strip() for line in document.split("\n") if line.strip()]
            totals.skipped["empty documents"] += not kept
            totals.counts["documents"] += bool(kept)
            totals.counts["lines"] += len(kept)
            if kept:
                totals.text(document)
            yield from ((line, i == len(kept) - 1) for i, line in enumerate(kept))

    stream = lines()
    while batch := list(islice(stream, TEXTS_A_CALL)):
        yield [line for line, _ in batch], [end for _, end in batch]


def _writers(job: PrepareJob, directory: Path) -> list[TokenWriter]:
    return [
        TokenWriter(directory, name, load_tokenizer(path)) for name, path in job.tokenizers.items()
    ]


def _try_sources(job: PrepareJob) -> None:
    """Reads the first item of every source: the last one is met only after days of writing."""
    read: dict[str, Callable[[SourceConfig], Iterator[object]]] = {
        "pairs": read_pairs, "images": read_images, "texts": read_texts,
    }  # fmt: skip
    for source in job.sources:
        if next(read[job.kind](source), None) is None:
            raise DataError(
                f"Source '{source.name}' of {job.kind} gave nothing to use: not one item in "
                f"{source.path}. Check its 'path', 'split', 'images' and 'filter'."
            )


def _count_sources(job: PrepareJob) -> None:
    """Refuses wrong numbers by what is listed: copying shows them hours later."""
    if any(source.max_shortfall is not None for source in job.sources):
        check(job.sources, count(job.sources))
    for source in job.sources:
        if source.expected_images is not None:
            _check_images(source, count_images(source), "images")


PREPARE = {"pairs": prepare_pairs, "images": prepare_images, "texts": prepare_texts}
COUNTED = {"pairs": "pairs", "images": "images", "texts": "documents"}


def prepare(job: PrepareJob) -> None:
    """Writes the corpus folder of `job` whole, or not at all.

    Raises:
        ConfigError: unknown kind or adapter.
        DataError: a source is missing or malformed, gave nothing, falls short of its expected
            pairs by more than its `max_shortfall`, or has not its expected images.
    """
    if job.kind not in PREPARE:
        raise ConfigError(unknown_name("kind", job.kind, list(PREPARE), "prepare"))
    started = time.time()
    _try_sources(job)
    _count_sources(job)
    with without_leftovers(job.output), atomic_directory(job.output) as directory:
        rows = PREPARE[job.kind](job, directory)
        for row in rows:
            if not row["counts"].get(COUNTED[job.kind]):
                raise DataError(_nothing(job.kind, row))
        write_json(directory / "manifest.json", _manifest(job, directory, rows))
        write_json(directory / "record.json", _record(job, directory, started))
    for row in rows:
        print(f"{row['name']}: {row['counts']}, skipped {row['skipped']}")
    if job.kind == "pairs":
        print(table(rows))
        check(job.sources, rows)


def _nothing(kind: str, row: dict[str, Any]) -> str:
    left_out = ", ".join(f"{count} {what}" for what, count in row["skipped"].items() if count)
    return (
        f"Source '{row['name']}' of {kind} gave nothing to use: {row['path']}, split "
        f"'{row['split']}', left out: {left_out or 'nothing'}. Check its path, split and filter."
    )


def _manifest(job: PrepareJob, directory: Path, rows: list[dict[str, Any]]) -> dict[str, Any]:
    files = sorted(path for path in directory.rglob("*") if path.is_file())
    counts: Counter[str] = Counter()
    for row in rows:
        counts.update(row["counts"])
    tokenizers = {name: sha256_file(path) for name, path in job.tokenizers.items()}
    return {
        "format": FORMAT,
        "study": job.study,
        "kind": job.kind,
        "counts": dict(counts),
        "bytes": sum(path.stat().st_size for path in files),
        "sources": rows,
        "tokenizers": tokenizers,
        "files": {
            path.relative_to(directory).as_posix(): {
                "bytes": path.stat().st_size,
                "sha256": sha256_file(path),
            }
            for path in files
        },
    }


def _record(job: PrepareJob, directory: Path, started: float) -> dict[str, Any]:
    """The record names the corpus's own manifest, and the toy world's where sources lie in it."""
    raw = Path("data", job.study, "raw")
    generated = any(Path(source.path).is_relative_to(raw) for source in job.sources)
    manifests = [raw / "manifest.json"] if generated and (raw / "manifest.json").is_file() else []
    extra = {"manifest_sha256": sha256_file(directory / "manifest.json")}
    return make_record("prepare", job, started, manifests=manifests, extra=extra)


def main() -> None:
    """Command-line entry point."""
    from flava.data.commands import config_argument

    prepare(load_job(PrepareJob, config_argument(__doc__)))


if __name__ == "__main__":
    run_cli(main)
