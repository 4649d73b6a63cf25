"""Adapter of ImageNet-1k in its official layouts: ILSVRC 2012's tars, or class folders."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from flava.config import SourceConfig
from flava.data.archive import (
    IMAGE_SUFFIXES,
    MAX_FILE_BYTES,
    Archive,
    refuse_link,
    tar_members,
)
from flava.data.lines import numbered_lines, whole_number
from flava.data.matlab import read_mat
from flava.data.paths import expand
from flava.data.source_images import image_folder
from flava.data.sources import Image
from flava.errors import DataError

TRUTH = "ILSVRC2012_validation_ground_truth.txt"
GET_AGAIN = "Download it again."
DEVKIT = ("", "data", "ILSVRC2012_devkit_t12/data")


def imagenet(source: SourceConfig) -> Iterator[Image]:
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
    if (path / split).is_dir() and any((path / split).glob("n*/")):
        _refuse_both(path / split)
        return image_folder(source)
    return _train(path) if split == "train" else _val(path)


def _refuse_both(folder: Path) -> None:
    tar = next(folder.glob("n*.tar"), None)
    if tar is not None:
        raise DataError(
            f"{folder} holds class folders and class tars, {tar.name} among them: was it unpacked "
            "in part? Unpack all of them and move the tars away, or remove the folders."
        )


def _train(path: Path) -> Iterator[Image]:
    outer = path / "ILSVRC2012_img_train.tar"
    inner = sorted((path / "train").glob("n*.tar"))
    if not outer.is_file() and not inner:
        raise DataError(
            f"{path} has neither train/<wnid>/, train/<wnid>.tar nor {outer.name}. "
            "See: python -m flava.data.sources --how ImageNet-1k"
        )
    if outer.is_file():
        for name, file in _tar_files(outer):
            yield from _class_tar(name.removesuffix(".tar"), file, f"{outer}, {name}")
        return
    for tar in inner:
        with tar.open("rb") as opened:
            yield from _class_tar(tar.stem, opened, str(tar))


def _class_tar(wnid: str, file: IO[bytes], where: str) -> Iterator[Image]:
    for name, image in _tar_files(where, file):
        if name.lower().endswith(IMAGE_SUFFIXES):
            yield Image(f"train/{wnid}/{name}", _read(image, where, name), wnid)


def _read(file: IO[bytes], where: Path | str, name: str) -> bytes:
    try:
        return file.read()
    except (tarfile.TarError, OSError) as error:
        raise DataError(f"{where}: '{name}' cannot be read ({error}). {GET_AGAIN}") from None


def _tar_files(path: Path | str, file: IO[bytes] | None = None) -> Iterator[tuple[str, IO[bytes]]]:
    """Files of a tar, hard links too, by the last part of their name, in its order.

    `file` is the opened tar where `path` only says which.
    """
    try:
        with tarfile.open(path if file is None else None, "r:", file) as tar:
            for member in tar_members(tar):
                refuse_link(member, path)
                stored = _stored(tar, member)
                opened = tar.extractfile(stored) if stored.isreg() else None
                if opened is None:
                    continue
                if not member.name.endswith(".tar") and stored.size > MAX_FILE_BYTES:
                    raise DataError(f"{path}: '{member.name}' has {stored.size} bytes: too many.")
                yield member.name.rsplit("/", 1)[-1], opened
    except (tarfile.TarError, OSError, KeyError) as error:
        raise DataError(f"{path} is not a readable tar archive ({error}). {GET_AGAIN}") from None


def _stored(tar: tarfile.TarFile, member: tarfile.TarInfo) -> tarfile.TarInfo:
    """The member that has the bytes: another one for a hard link."""
    if not member.islnk():
        return member
    found = tar.getmember(member.linkname)
    if not found.isreg():
        raise tarfile.ReadError(f"'{member.name}' is a link to '{found.name}', which is no file")
    return found


def _val(path: Path) -> Iterator[Image]:
    wnids = validation_labels(path)
    count = 0
    for name, data in _val_files(path):
        number = whole_number(name.removesuffix(".JPEG").rsplit("_", 1)[-1]) or 0
        if not 0 < number <= len(wnids):
            raise DataError(f"{path}: '{name}' is none of the {len(wnids)} validation images.")
        count += 1
        yield Image(f"val/{name}", data, wnids[number - 1])
    if count != len(wnids):
        raise DataError(f"{path}: {count} validation images, but {len(wnids)} labels in {TRUTH}.")


def _val_files(path: Path) -> Iterator[tuple[str, bytes]]:
    tar = path / "ILSVRC2012_img_val.tar"
    if tar.is_file():
        for name, file in _tar_files(tar):
            yield name, _read(file, tar, name)
        return
    archive = Archive(path / "val")
    for name in archive.images():
        yield name, archive.read(name)


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
