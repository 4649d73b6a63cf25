"""`pcam`: tissue patches in HDF5 files, read from disk as they are needed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np

from flava.config import TaskData
from flava.errors import DataError
from flava.evaluate.content import Hashed
from flava.evaluate.images import ArrayImages
from flava.evaluate.taskdata import IntArray, LabelledTask, PixelArray, Split, check_labels

HOW_TO_GET = (
    "Get the six .h5.gz files of github.com/basveeling/pcam (CC0) and decompress them there "
    "(gunzip *.h5.gz)."
)
CLASSES = ["no tumour in the middle", "tumour in the middle"]


class H5Images(Hashed):
    """Pictures of a dataset of an HDF5 file, uint8 (N, H, W, 3), read from disk when asked for.

    Args:
        pictures: the dataset; its file is open as long as it is held.
        row_N: rows of it, in the order of the images.
    """

    block = 1024

    def __init__(self, pictures: Any, row_N: IntArray) -> None:
        self.pictures, self.row_N = pictures, row_N

    def __len__(self) -> int:
        return len(self.row_N)

    def pixels(self, indices: IntArray, size: int) -> PixelArray:
        """uint8 RGB (B, size, size, 3).

        Raises:
            DataError: the file cannot be read there.
        """
        return ArrayImages(self._read(indices)).pixels(np.arange(len(indices)), size)

    def _read(self, indices: IntArray) -> PixelArray:
        distinct_D, place_B = np.unique(self.row_N[indices], return_inverse=True)
        try:
            found_DHWC: PixelArray = self.pictures[distinct_D]
        except OSError as error:
            raise DataError(f"{self.pictures.file.filename} cannot be read ({error}).") from None
        return found_DHWC[place_B]

    def content(self, indices: IntArray) -> bytes:
        """Pixels of the pictures at `indices`.

        Raises:
            DataError: the file cannot be read there.
        """
        return self._read(indices).tobytes()

    def take(self, indices: IntArray) -> H5Images:
        """The images at `indices`."""
        return H5Images(self.pictures, self.row_N[indices])


def load(path: Path, data: TaskData) -> LabelledTask:
    """camelyonpatch_level_2_split_{train,valid,test}_{x,y}.h5.

    Raises:
        DataError: a file is missing, still compressed or malformed, or pictures and labels differ
            in number.
    """
    folder = path / "pcam" if (path / "pcam").is_dir() else path
    return LabelledTask(
        train=_split(folder, "train"),
        validation=_split(folder, "valid"),
        tests={"test": _split(folder, "test")},
        classes=CLASSES,
    )


def _split(folder: Path, name: str) -> Split:
    pictures_NHWC = _dataset(folder / f"camelyonpatch_level_2_split_{name}_x.h5", "x")
    labels = _dataset(folder / f"camelyonpatch_level_2_split_{name}_y.h5", "y")
    file = labels.file.filename
    if labels.dtype.kind not in "ui" or labels.size != labels.shape[0]:
        raise DataError(f"{file}: 'y' is {labels.dtype} {labels.shape}, expected one integer each.")
    try:
        label_N = np.asarray(labels[...]).astype(np.int64).reshape(-1)
    except OSError as error:
        raise DataError(f"{file} cannot be read ({error}).") from None
    shape = pictures_NHWC.shape
    if pictures_NHWC.dtype != np.uint8 or len(shape) != 4 or shape[3] != 3:
        raise DataError(
            f"{pictures_NHWC.file.filename}: 'x' is {pictures_NHWC.dtype} {shape}, expected uint8 "
            "(patches, height, width, 3)."
        )
    if len(label_N) != shape[0]:
        raise DataError(f"{folder}: split '{name}' has {shape[0]} patches, {len(label_N)} labels.")
    check_labels(label_N, len(CLASSES), file)
    rows_N = np.arange(len(label_N))
    return Split(label_N, H5Images(pictures_NHWC, rows_N), rows_N)


def _dataset(path: Path, key: str) -> Any:
    """Dataset `key` of an HDF5 file, left on disk."""
    if not path.is_file():
        zipped = path.with_name(path.name + ".gz").is_file()
        state = "is still compressed as .gz, which has no random access" if zipped else "is missing"
        raise DataError(f"{path} {state}. {HOW_TO_GET}")
    try:
        found = h5py.File(path, "r").get(key)
    except OSError as error:
        raise DataError(f"{path} is not a readable HDF5 file ({error}). Get it anew.") from None
    if not isinstance(found, h5py.Dataset):
        raise DataError(f"{path} has no dataset '{key}'. {HOW_TO_GET}")
    return found
