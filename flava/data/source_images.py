"""Adapter of image sources: ImageFolder trees or zips."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from flava.config import SourceConfig
from flava.data.archive import Archive
from flava.data.paths import expand
from flava.data.sources import ListedImage
from flava.errors import DataError


def image_folder(source: SourceConfig) -> Iterator[ListedImage]:
    """Files <split>/<class>/<file> or <split>/<file> of a folder or zip, sorted by name.

    Raises:
        DataError: the path is missing or has no image in the split; the splits there are named.
    """
    archive = open_image_folder(expand(source.path))
    prefix = f"{source.split}/"
    pictures = [name for name in archive.images() if not is_hidden(name)]
    names = [name for name in pictures if name.startswith(prefix)]
    if not names:
        found = sorted({name.split("/")[0] for name in pictures if "/" in name})
        raise DataError(
            f"{archive.path} has no image in '{prefix}'. Its top folders: {', '.join(found)}."
        )
    for name in names:
        parts = name.split("/")
        yield ListedImage(name, parts[1] if len(parts) > 2 else None, partial(archive.read, name))


def is_hidden(name: str) -> bool:
    """Whether it is a file that a system put beside the pictures, such as macOS's `._1.jpg`."""
    return any(part.startswith((".", "__MACOSX")) for part in name.split("/"))


def open_image_folder(path: Path) -> Archive:
    """The archive of an ImageFolder: a zip, a folder with an images.zip, or a tree."""
    inside = path / "images.zip"
    return Archive(inside if inside.is_file() else path)
