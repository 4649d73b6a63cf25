"""Files below a folder, through symbolic links too: shared data are often linked, not copied."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from stat import S_ISDIR, S_ISREG

from flava.errors import DataError

Identity = tuple[int, int]  # device and inode


def files_below(root: Path) -> list[str]:
    """Relative names of the files below a folder, at any depth, sorted as text.

    Links to files and folders are followed, but not into a folder that holds the link: what is
    linked twice is listed under both names. Files themselves need no system call each.

    Raises:
        DataError: a link leads nowhere; it is named.
    """
    return sorted(_names(root))


def files_in_order(root: Path) -> Iterator[Path]:
    """The same files in the order of sorted paths, the names of one folder at each depth in memory.

    Raises:
        DataError: as `files_below`.
    """
    return _in_order(root, frozenset())


def one_file(root: Path, names: Sequence[str]) -> bool:
    """Whether names below a folder are one file, which links give several names."""
    paths = [root / name for name in names]
    return root.is_dir() and all(path.samefile(paths[0]) for path in paths[1:])


def _names(root: Path) -> Iterator[str]:
    waiting: list[tuple[str, frozenset[Identity]]] = [("", frozenset())]
    while waiting:
        folder, above = waiting.pop()
        status = (root / folder).stat()
        identity = (status.st_dev, status.st_ino)
        if identity in above:
            continue
        above |= {identity}
        with os.scandir(root / folder) as entries:
            for entry in entries:
                is_file, is_folder = _kind(entry)
                if is_file:
                    yield folder + entry.name
                elif is_folder:
                    waiting.append((f"{folder}{entry.name}/", above))


def _in_order(folder: Path, above: frozenset[Identity]) -> Iterator[Path]:
    status = folder.stat()
    identity = (status.st_dev, status.st_ino)
    if identity in above:
        return
    with os.scandir(folder) as entries:
        found = sorted((entry.name, *_kind(entry)) for entry in entries)
    for name, is_file, is_folder in found:
        if is_file:
            yield folder / name
        elif is_folder:
            yield from _in_order(folder / name, above | {identity})


def _kind(entry: os.DirEntry[str]) -> tuple[bool, bool]:
    """Whether an entry is a file, and whether a folder, a link being what it leads to."""
    if not entry.is_symlink():
        return entry.is_file(), entry.is_dir()
    try:
        mode = entry.stat().st_mode
    except OSError as error:
        raise DataError(
            f"{entry.path} is a link to {Path(entry.path).readlink()}, which cannot be followed "
            f"({error.strerror}). Mend the link, or remove it."
        ) from None
    return S_ISREG(mode), S_ISDIR(mode)
