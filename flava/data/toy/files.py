"""Writes the official file formats; equal input gives equal bytes."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from flava.io import sha256_file, write_json

Images = NDArray[np.uint8]
EPOCH = (2000, 1, 1, 0, 0, 0)  # date of all members


def encode(pixels: Images, suffix: str) -> bytes:
    """A picture file: PNG, PPM, else JPEG of quality 90 without chroma subsampling."""
    file = io.BytesIO()
    if suffix == ".png":
        Image.fromarray(pixels).save(file, "PNG", compress_level=1)
    elif suffix == ".ppm":
        Image.fromarray(pixels).save(file, "PPM")
    else:
        Image.fromarray(pixels).save(file, "JPEG", quality=90, subsampling=0)
    return file.getvalue()


def write_images(path: Path, names: Sequence[str], images: Images) -> None:
    """A stored zip of pictures in the order of their names; the suffix chooses the format."""
    path.parent.mkdir(parents=True, exist_ok=True)
    order = sorted(range(len(names)), key=names.__getitem__)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for i in order:
            member = zipfile.ZipInfo(names[i], EPOCH)
            member.external_attr = 0o644 << 16
            archive.writestr(member, encode(images[i], Path(names[i]).suffix))


def write_tsv(path: Path, rows: Iterable[Sequence[object]], header: Sequence[str] | None) -> None:
    """Tab-separated values, unquoted as in GLUE."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = ["\t".join(header)] if header else []
    lines += ["\t".join(str(cell) for cell in row) for row in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_jsonl(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """One JSON object a line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def write_compact_json(path: Path, value: Any) -> None:
    """JSON on one line, as the large official files are."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")


def write_idx(path: Path, array: NDArray[np.uint8]) -> None:
    """A gzipped idx file of unsigned bytes (LeCun's MNIST format)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sizes = np.array(array.shape, ">u4").tobytes()
    header = bytes([0, 0, 8, array.ndim]) + sizes
    path.write_bytes(gzip.compress(header + array.tobytes(), compresslevel=3, mtime=0))


def karpathy(
    name: str, files: Sequence[str], splits: Sequence[str], captions: Sequence[Sequence[str]]
) -> dict[str, Any]:
    """Karpathy's dataset JSON."""
    images, sentence = [], 0
    for number, (file, split, texts) in enumerate(zip(files, splits, captions, strict=True)):
        sentences = []
        for text in texts:
            tokens = text.lower().replace(" .", "").replace(" ,", "").split()
            sentences.append({"raw": text, "tokens": tokens, "imgid": number, "sentid": sentence})
            sentence += 1
        images.append(
            {
                "filename": file,
                "imgid": number,
                "split": split,
                "sentids": [entry["sentid"] for entry in sentences],
                "sentences": sentences,
            }
        )
    return {"dataset": name, "images": images}


def write_manifest(root: Path, content: dict[str, Any]) -> None:
    """manifest.json: `content` and each file's bytes and sha256."""
    files = sorted(path for path in root.rglob("*") if path.is_file())
    table = {
        path.relative_to(root).as_posix(): {
            "bytes": path.stat().st_size,
            "sha256": sha256_file(path),
        }
        for path in files
    }
    write_json(root / "manifest.json", {**content, "files": table})
