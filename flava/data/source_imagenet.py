"""Adapter of ImageNet-1k in its official layouts: ILSVRC 2012's tars, or class folders."""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO

from flava.config import SourceConfig
from flava.data.archive import IMAGE_SUFFIXES, MAX_FILE_BYTES, Archive, read_span, tar_files
from flava.data.lines import numbered_lines, whole_number
from flava.data.matlab import read_mat
from flava.data.paths import expand
from flava.data.source_images import image_folder, is_hidden
from flava.data.sources import ListedImage
from flava.errors import DataError

TRUTH = "ILSVRC2012_validation_ground_truth.txt"
GET_AGAIN = "Download it again."
DEVKIT = ("", "data", "ILSVRC2012_devkit_t12/data")


def imagenet(source: SourceConfig) -> Iterator[ListedImage]:
    """Images of ILSVRC 2012 with their synset (wnid) as label; split train or val.

    train: ILSVRC2012_img_train.tar (a tar of one tar a class), train/<wnid>.tar, or
    train/<wnid>/*.JPEG. val: val/<wnid>/*.JPEG, or ILSVRC2012_img_val.tar or val/*.JPEG with the
    development kit's ground truth and meta.mat.

    Raises:
        DataError: no layout is there, or two in one folder; an archive is damaged; or the ground
            truth does not fit.
    """
    path, split = expand(source.path), source.split
    if split not in ("train", "val"):
        raise DataError(f"ImageNet has no split '{split}' with labels. Allowed: train, val.")
    if has_class_folders(path, split):
        return image_folder(source)
    return _train(path) if split == "train" else _val(path)


def has_class_folders(path: Path, split: str) -> bool:
    """Whether a split is unpacked to <split>/<wnid>/.

    Raises:
        DataError: tars of classes lie beside the folders.
    """
    folder = path / split
    if not any(folder.glob("n*/")):
        return False
    tar = next(folder.glob("n*.tar"), None)
    if tar is not None:
        raise DataError(
            f"{folder} holds class folders and class tars, {tar.name} among them: was it unpacked "
            "in part? Unpack all of them and move the tars away, or remove the folders."
        )
    return True


def official_tars(path: Path, split: str) -> list[Path]:
    """The official archive of a split, else of train the tars that it holds; may be none."""
    whole = path / f"ILSVRC2012_img_{split}.tar"
    if whole.is_file():
        return [whole]
    return sorted((path / "train").glob("n*.tar")) if split == "train" else []


def tar_images(tar: Path, file: IO[bytes]) -> Iterator[tuple[str, int, int]]:
    """Name, offset and size of each image in an opened tar of `official_tars`, in its order.

    Only headers are read. Names are <wnid>/<file> of training images, <file> of validation images.

    Raises:
        DataError: the archive is damaged, or holds a symbolic link or too large a file.
    """
    wnid = tar.stem if tar.name.startswith("n") else None
    return _images(str(tar), file, 0, wnid)


def _images(
    where: str, file: IO[bytes], start: int, wnid: str | None
) -> Iterator[tuple[str, int, int]]:
    """`start` is where the tar, of one class or of several tars, lies in the outermost file."""
    try:
        with tarfile.open(None, "r:", file) as tar:
            for path, stored in tar_files(tar, where):
                name, offset = path.rsplit("/", 1)[-1], start + stored.offset_data
                if wnid is None and name.endswith(".tar"):
                    inner = tar.extractfile(stored)
                    assert inner is not None
                    yield from _images(f"{where}, {name}", inner, offset, name[: -len(".tar")])
                elif name.lower().endswith(IMAGE_SUFFIXES) and not is_hidden(name):
                    if stored.size > MAX_FILE_BYTES:
                        raise DataError(f"{where}: '{path}' has {stored.size} bytes: too many.")
                    yield name if wnid is None else f"{wnid}/{name}", offset, stored.size
    except (tarfile.TarError, OSError) as error:
        raise DataError(f"{where} is not a readable tar archive ({error}). {GET_AGAIN}") from None


def _read(tar: Path, file: IO[bytes], name: str, offset: int, size: int) -> bytes:
    try:
        return read_span(file, offset, size)
    except (OSError, EOFError) as error:
        raise DataError(f"{tar}: '{name}' cannot be read ({error}). {GET_AGAIN}") from None


def _packed(tars: list[Path]) -> Iterator[tuple[str, Callable[[], bytes]]]:
    """Images of tars, and what reads each of them before the next comes."""
    for tar in tars:
        with tar.open("rb") as file:
            for name, offset, size in tar_images(tar, file):
                yield name, partial(_read, tar, file, name, offset, size)


def _train(path: Path) -> Iterator[ListedImage]:
    tars = official_tars(path, "train")
    if not tars:
        raise DataError(
            f"{path} has neither train/<wnid>/, train/<wnid>.tar nor ILSVRC2012_img_train.tar. "
            "See: python -m flava.data.sources --how ImageNet-1k"
        )
    for name, read in _packed(tars):
        wnid, _, file = name.rpartition("/")
        if not wnid:
            raise DataError(f"{tars[0]}: '{file}' lies in none of its class tars. {GET_AGAIN}")
        yield ListedImage(f"train/{name}", wnid, read)


def _val(path: Path) -> Iterator[ListedImage]:
    wnids = validation_labels(path)
    count = 0
    for name, read in _val_files(path):
        yield ListedImage(f"val/{name}", validation_label(name, wnids, path), read)
        count += 1
    if count != len(wnids):
        raise DataError(f"{path}: {count} validation images, but {len(wnids)} labels in {TRUTH}.")


def _val_files(path: Path) -> Iterator[tuple[str, Callable[[], bytes]]]:
    tars = official_tars(path, "val")
    if tars:
        yield from _packed(tars)
        return
    archive = Archive(path / "val")
    for name in archive.images():
        yield name, partial(archive.read, name)


def validation_label(name: str, wnids: Sequence[str], where: Path) -> str:
    """Synset of the validation image of a file name, out of `validation_labels`.

    Raises:
        DataError: the name has no number, or one beyond the labels; begins with `where`.
    """
    number = whole_number(PurePosixPath(name).stem.rpartition("_")[2]) or 0
    if not 0 < number <= len(wnids):
        raise DataError(f"{where}: '{name}' is none of the {len(wnids)} validation images.")
    return wnids[number - 1]


def validation_labels(path: Path) -> list[str]:
    """Synset of validation images 1, 2, ... from the development kit below `path`.

    Raises:
        DataError: the ground truth or meta.mat is missing, or does not fit the other.
    """
    truth, meta = (_devkit_file(path, name) for name in (TRUTH, "meta.mat"))
    wnids = _synsets(meta)
    labels = []
    for number, line in numbered_lines(truth):
        identity = whole_number(line.strip())
        if identity is None or identity not in wnids:
            raise DataError(f"{truth}, line {number}: '{line}' is no ILSVRC2012_ID of {meta}.")
        labels.append(wnids[identity])
    return labels


def _devkit_file(path: Path, name: str) -> Path:
    for folder in DEVKIT:
        if (path / folder / name).is_file():
            return path / folder / name
    raise DataError(
        f"{path} has no {name}: unpack ILSVRC2012_devkit_t12.tar.gz there, or sort the validation "
        "images into val/<wnid>/."
    )


def _synsets(path: Path) -> dict[int, str]:
    try:
        rows = read_mat(path, "synsets", "Unpack ILSVRC2012_devkit_t12.tar.gz anew.")
        return {int(row["ILSVRC2012_ID"]): str(row["WNID"]) for row in rows}
    except (TypeError, ValueError, IndexError) as error:
        raise DataError(f"{path} is not the development kit's meta.mat ({error}).") from None
