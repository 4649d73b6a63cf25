"""Small files in the layouts that PMD's sources and img2dataset publish."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from data_helpers import png


@dataclass(frozen=True)
class Link:
    """A row of a URL list; without an image it is dead."""

    url: str
    caption: str
    image: int | None


def write_images(folder: Path, names: Sequence[str]) -> None:
    """A generated image, of its own colours, under each name."""
    for seed, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(seed))


def add_member(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    """A regular file."""
    info = tarfile.TarInfo(name)
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))


def write_img2dataset(
    folder: Path, links: Sequence[Link], shard: int = 2, layout: str = "tar", table: bool = True
) -> None:
    """img2dataset's output of a URL list, `shard` links a shard."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(0, len(links), shard):
        stem = folder / f"{number // shard:05d}"
        rows = []
        files: dict[str, bytes] = {}
        for i, link in enumerate(links[number : number + shard]):
            key = f"{number // shard:05d}{i:04d}"
            status = "failed_to_download" if link.image is None else "success"
            row = {"url": link.url, "caption": link.caption, "key": key, "status": status}
            rows.append(row | {"error_message": None, "width": 32})
            if link.image is not None:
                files[f"{key}.jpg"] = png(link.image)
                files[f"{key}.txt"] = link.caption.encode()
                files[f"{key}.json"] = json.dumps(row).encode()
        write_shard(stem, files, layout)
        if table:
            pq.write_table(pa.Table.from_pylist(rows), f"{stem}.parquet")
        Path(f"{stem}_stats.json").write_text(json.dumps({"count": len(rows)}))


def write_shard(stem: Path, files: Mapping[str, bytes], layout: str) -> None:
    """A shard as tar or as folder."""
    if layout == "tar":
        with tarfile.open(f"{stem}.tar", "w") as tar:
            for name, data in files.items():
                add_member(tar, name, data)
        return
    stem.mkdir()
    for name, data in files.items():
        (stem / name).write_bytes(data)
