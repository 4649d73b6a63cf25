"""Official layouts of Food101, CIFAR, Cars, Aircraft, DTD, Pets, Caltech101, Flowers and STL10."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flava.data.toy.files import Images, write_images
from flava.data.toy.layouts import Layout, Parts, Rng, folder, write_lines

MAT_HEADER = 116  # bytes of free text at the start of a MATLAB file, where scipy writes the date
CALTECH_TRAIN = 30  # training pictures a class, by the set's protocol


def food101(root: Path, classes: Sequence[str], parts: Parts, rng: Rng) -> None:
    """food-101: images.zip with <class>/<number>.jpg; meta/{train,test}.txt."""
    top = root / "food-101"
    names = _shared_folder(top / "images.zip", classes, parts, "{folder}/{number}")
    for split, listed in names.items():
        write_lines(top / "meta" / f"{split}.txt", listed)


def dtd(root: Path, classes: Sequence[str], parts: Parts, rng: Rng) -> None:
    """dtd: images.zip with <class>/<class>_<number>.jpg; labels/{train,val,test}1.txt."""
    top = root / "dtd"
    names = _shared_folder(top / "images.zip", classes, parts, "{folder}/{folder}_{number:04d}")
    for split, file in (("train", "train1"), ("validation", "val1"), ("test", "test1")):
        write_lines(top / "labels" / f"{file}.txt", [f"{name}.jpg" for name in names[split]])


def aircraft(root: Path, classes: Sequence[str], parts: Parts, rng: Rng) -> None:
    """fgvc-aircraft-2013b/data: images.zip, variants.txt, images_variant_{train,val,test}.txt."""
    top = root / "fgvc-aircraft-2013b" / "data"
    write_lines(top / "variants.txt", classes)
    names = _shared_folder(top / "images.zip", classes, parts, "{number:07d}")
    for split, file in (("train", "train"), ("validation", "val"), ("test", "test")):
        labels = parts[split][0].tolist()
        lines = [f"{n} {classes[k]}" for n, k in zip(names[split], labels, strict=True)]
        write_lines(top / f"images_variant_{file}.txt", lines)


def pets(root: Path, classes: Sequence[str], parts: Parts, rng: Rng) -> None:
    """images.zip; annotations/{trainval,test}.txt of picture, class, species and breed."""
    names = _shared_folder(root / "images.zip", classes, parts, "{folder}_{number}")
    for split, file in (("train", "trainval"), ("test", "test")):
        labels = parts[split][0].tolist()
        lines = [f"{n} {k + 1} 1 {k + 1}" for n, k in zip(names[split], labels, strict=True)]
        write_lines(root / "annotations" / f"{file}.txt", lines)


def caltech101(root: Path, classes: Sequence[str], parts: Parts, rng: Rng) -> None:
    """101_ObjectCategories.zip with <class>/image_<number>.jpg; there is no published split."""
    path = root / "101_ObjectCategories.zip"
    _shared_folder(path, classes, parts, "{folder}/image_{number:04d}")


def _shared_folder(
    path: Path, classes: Sequence[str], parts: Parts, name: str
) -> dict[str, list[str]]:
    """One zip for all splits, pictures numbered through it; their names without suffix by split."""
    names: dict[str, list[str]] = {}
    number = 0
    for split, (label_N, _) in parts.items():
        names[split] = []
        for k in label_N.tolist():
            number += 1
            names[split].append(name.format(folder=folder(classes[k]), number=number))
    files = [f"{stem}.jpg" for stems in names.values() for stem in stems]
    write_images(path, files, np.concatenate([images for _, images in parts.values()]))
    return names


def cars(root: Path, classes: Sequence[str], parts: Parts, rng: Rng) -> None:
    """cars_train.zip, cars_test.zip and three MATLAB files in devkit/."""
    devkit = root / "devkit"
    write_mat(devkit / "cars_meta.mat", {"class_names": np.array([list(classes)], object)})
    for split, file in (("train", "cars_train_annos"), ("test", "cars_test_annos_withlabels")):
        label_N, images = parts[split]
        names = [f"{i:05d}.jpg" for i in range(1, len(label_N) + 1)]
        write_images(root / f"cars_{split}.zip", names, images)
        side = images.shape[1]
        rows = [(1, 1, side, side, k + 1, name) for k, name in zip(label_N, names, strict=True)]
        fields = ("bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2", "class", "fname")
        table = np.array([rows], [(field, object) for field in fields])
        write_mat(devkit / f"{file}.mat", {"annotations": table})


def flowers(root: Path, classes: Sequence[str], parts: Parts, rng: Rng) -> None:
    """jpg.zip with image_<number>.jpg; imagelabels.mat; setid.mat with the three splits."""
    ends = np.cumsum([0] + [len(label_N) for label_N, _ in parts.values()])
    numbers = {
        split: np.arange(start + 1, end + 1)
        for split, start, end in zip(parts, ends[:-1], ends[1:], strict=True)
    }
    names = [f"image_{i:05d}.jpg" for i in range(1, int(ends[-1]) + 1)]
    write_images(root / "jpg.zip", names, np.concatenate([images for _, images in parts.values()]))
    label_N = np.concatenate([label for label, _ in parts.values()])
    write_mat(root / "imagelabels.mat", {"labels": label_N[None].astype(np.uint8) + 1})
    ids = {"trnid": "train", "valid": "validation", "tstid": "test"}
    write_mat(
        root / "setid.mat",
        {name: numbers[split][None].astype(np.uint16) for name, split in ids.items()},
    )


def write_mat(path: Path, variables: dict[str, NDArray[Any]]) -> None:
    """A MATLAB file without the date that scipy puts into its header."""
    from scipy.io import savemat

    file = io.BytesIO()
    savemat(file, variables)
    header = b"MATLAB 5.0 MAT-file".ljust(MAT_HEADER)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(header + file.getvalue()[MAT_HEADER:])


def cifar10(root: Path, classes: Sequence[str], parts: Parts, rng: Rng) -> None:
    """cifar-10-batches-bin: data_batch_{1..5}.bin, test_batch.bin, batches.meta.txt."""
    top = root / "cifar-10-batches-bin"
    write_lines(top / "batches.meta.txt", [*classes, ""])
    label_N, images = parts["train"]
    for number, rows in enumerate(np.array_split(np.arange(len(label_N)), 5), start=1):
        records = _records(label_N[rows][:, None], images[rows])
        (top / f"data_batch_{number}.bin").write_bytes(records)
    label_N, images = parts["test"]
    (top / "test_batch.bin").write_bytes(_records(label_N[:, None], images))


def cifar100(root: Path, classes: Sequence[str], parts: Parts, rng: Rng) -> None:
    """cifar-100-binary: train.bin, test.bin, fine_label_names.txt."""
    top = root / "cifar-100-binary"
    write_lines(top / "fine_label_names.txt", [folder(name) for name in classes])
    for split, (label_N, images) in parts.items():
        labels = np.stack([label_N // 4, label_N], axis=1)  # coarse: the shape; fine: all
        (top / f"{split}.bin").write_bytes(_records(labels, images))


def _records(labels_NL: NDArray[Any], images: Images) -> bytes:
    """Label bytes, then the planes of red, green and blue of each picture."""
    planes = images.transpose(0, 3, 1, 2).reshape(len(images), -1)
    return np.concatenate([labels_NL.astype(np.uint8), planes], axis=1).tobytes()


def stl10(root: Path, classes: Sequence[str], parts: Parts, rng: Rng) -> None:
    """stl10_binary: {train,test}_{X,y}.bin, class_names.txt, ten folds in fold_indices.txt.

    The pictures keep the world's size. A fold is half of train, of the official one a fifth.
    """
    top = root / "stl10_binary"
    write_lines(top / "class_names.txt", classes)
    for split, (label_N, images) in parts.items():
        (top / f"{split}_X.bin").write_bytes(images.transpose(0, 3, 2, 1).tobytes())
        (top / f"{split}_y.bin").write_bytes((label_N + 1).astype(np.uint8).tobytes())
    n = len(parts["train"][0])
    folds = [np.sort(rng.permutation(n)[: max(n // 2, 1)]) for _ in range(10)]
    write_lines(top / "fold_indices.txt", [" ".join(map(str, fold)) for fold in folds])


LAYOUTS: dict[str, Layout] = {
    "food101": Layout(food101),
    "cifar10": Layout(cifar10, side=32),
    "cifar100": Layout(cifar100, side=32),
    "cars": Layout(cars),
    "aircraft": Layout(aircraft, validation=True),
    "dtd": Layout(dtd, validation=True),
    "pets": Layout(pets),
    "caltech101": Layout(caltech101, train_a_class=CALTECH_TRAIN),
    "flowers": Layout(flowers, validation=True),
    "stl10": Layout(stl10),
}
