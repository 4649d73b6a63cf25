"""Official layouts of EuroSAT, GTSRB, KITTI, PCam, UCF101, CLEVR, FER2013, SUN397 and others."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np

from flava.data.toy.files import EPOCH, write_compact_json, write_images
from flava.data.toy.layouts import (
    Layout,
    Parts,
    Rng,
    folder,
    write_class_folders,
    write_lines,
)
from flava.data.video_split import by_video

EMOTION_CODES = {"happy": 3, "sad": 4, "surprised": 5, "calm": 6, "angry": 0}  # of FER2013
USAGES = {"train": "Training", "validation": "PublicTest", "test": "PrivateTest"}
FACE_SIDE = 48
VIDEOS = 20  # of KITTI's stand-in: two for validation and two for the test
CLIPS = 5  # of one group of UCF101's stand-in
METRES = ((900.0, 900.0), (30.0, 60.0), (9.0, 19.0), (3.0, 8.0))  # by the nearest square's size
OBJECT = "{kind} 0.00 0 0.00 0.00 0.00 9.00 9.00 1.50 1.60 3.90 0.00 1.50 {z:.2f} 0.00"


def write_eurosat(root: Path, classes: Sequence[str], parts: Parts, rng: Rng) -> None:
    """EuroSAT.zip: 2750/<Class>/<Class>_<number>.jpg, without a split."""
    label_N = np.concatenate([label for label, _ in parts.values()])
    names = [f"2750/{_camel(classes[k])}/{_camel(classes[k])}_{i + 1}.jpg"
             for i, k in enumerate(label_N.tolist())]  # fmt: skip
    write_images(root / "EuroSAT.zip", names, np.concatenate([p for _, p in parts.values()]))


def write_gtsrb(root: Path, classes: Sequence[str], parts: Parts, rng: Rng) -> None:
    """GTSRB/ with a list in each class folder, pictures in zips beside; GT-final_test.csv."""
    header = "Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId"
    label_N, images = parts["train"]
    side = images.shape[1]
    row = f"{{}};{side};{side};0;0;{side - 1};{side - 1};{{}}"
    names = [f"{i // 30:05d}_{i % 30:05d}.ppm" for i in range(len(label_N))]
    for k in range(len(classes)):
        mine = [row.format(names[i], k) for i in np.flatnonzero(label_N == k)]
        write_lines(root / f"GTSRB/Training/{k:05d}/GT-{k:05d}.csv", [header, *mine])
    files = [f"{k:05d}/{name}" for k, name in zip(label_N.tolist(), names, strict=True)]
    write_images(root / "GTSRB/Training.zip", files, images)
    label_N, images = parts["test"]
    names = [f"{i:05d}.ppm" for i in range(len(label_N))]
    rows = [row.format(name, k) for name, k in zip(names, label_N.tolist(), strict=True)]
    write_lines(root / "GT-final_test.csv", [header, *rows])
    write_images(root / "GTSRB/Final_Test/Images.zip", names, images)


def write_kitti(root: Path, classes: Sequence[str], parts: Parts, rng: Rng) -> None:
    """The three official zips; the nearest square is a car, the others are vans behind it.

    The smallest squares are further than anything that is labelled.
    """
    names = [f"2011_09_26_drive_{i:04d}_sync" for i in range(VIDEOS)]
    split = by_video(names)
    rows = [(part, i) for part, (label_N, _) in parts.items() for i in range(len(label_N))]
    order = rng.permutation(len(rows))
    pictures, labels, drives = [], [], []
    for n, (part, i) in enumerate(rows[k] for k in order):
        label_N, images = parts[part]
        pictures.append(images[i])
        labels.append(_objects(int(label_N[i]), rng))
        video = names[split[part][i % len(split[part])]]
        drives.append(f"2011_09_26 {video} {n:010d}")
    files = [f"training/image_2/{i:06d}.png" for i in range(len(rows))]
    write_images(root / "data_object_image_2.zip", files, np.stack(pictures))
    texts = {f"training/label_2/{i:06d}.txt": text for i, text in enumerate(labels)}
    _write_texts(root / "data_object_label_2.zip", texts)
    shuffled = rng.permutation(len(rows))  # the mapping's lines are not in the pictures' order
    lines = [""] * len(rows)
    for i, place in enumerate(shuffled.tolist()):
        lines[place] = drives[i]
    mapping = {
        "mapping/train_rand.txt": ",".join(str(place + 1) for place in shuffled.tolist()),
        "mapping/train_mapping.txt": "\n".join(lines) + "\n",
    }
    _write_texts(root / "devkit_object.zip", mapping)


def _objects(label: int, rng: Rng) -> str:
    """A label file: the nearest vehicle in the range of its class, and what is left unlabelled."""
    lines = [OBJECT.format(kind="DontCare", z=-1000.0)]
    if label > 0:
        near = rng.uniform(*METRES[label])
        lines += [OBJECT.format(kind="Van", z=near + 25), OBJECT.format(kind="Car", z=near)]
        lines += [OBJECT.format(kind="Pedestrian", z=2.0)]
    return "\n".join(lines) + "\n"


def write_pcam(root: Path, classes: Sequence[str], parts: Parts, rng: Rng) -> None:
    """Six HDF5 files: pictures in `x`, labels of shape (N, 1, 1, 1) in `y`."""
    root.mkdir(parents=True)
    for part, name in (("train", "train"), ("validation", "valid"), ("test", "test")):
        label_N, images = parts[part]
        stem = f"camelyonpatch_level_2_split_{name}"
        with h5py.File(root / f"{stem}_x.h5", "w") as file:
            file["x"] = images
        with h5py.File(root / f"{stem}_y.h5", "w") as file:
            file["y"] = label_N.astype(np.uint8).reshape(-1, 1, 1, 1)


def write_ucf101(root: Path, classes: Sequence[str], parts: Parts, rng: Rng) -> None:
    """UCF-101-midframes.zip of one frame a video, and the lists of ucfTrainTestlist/."""
    names = [_camel(name) for name in classes]
    lists = root / "ucfTrainTestlist"
    write_lines(lists / "classInd.txt", [f"{k + 1} {name}" for k, name in enumerate(names)])
    videos: list[str] = []
    for part, numbered in (("train", True), ("test", False)):
        label_N, _ = parts[part]
        start, lines = len(videos), []
        for i, k in enumerate(label_N.tolist(), start=start):
            group, clip = divmod(i, CLIPS)
            videos.append(f"{names[k]}/v_{names[k]}_g{group:02d}_c{clip + 1:02d}")
            lines.append(f"{videos[-1]}.avi" + (f" {k + 1}" if numbered else ""))
        write_lines(lists / f"{part}list01.txt", lines)
    images = np.concatenate([parts["train"][1], parts["test"][1]])
    write_images(root / "UCF-101-midframes.zip", [f"{video}.jpg" for video in videos], images)


def write_clevr(root: Path, classes: Sequence[str], parts: Parts, rng: Rng) -> None:
    """CLEVR_v1.0/ with scene files that say no more than how many objects there are."""
    base = root / "CLEVR_v1.0"
    for part, split in (("train", "train"), ("test", "val")):
        label_N, images = parts[part]
        names = [f"CLEVR_{split}_{i:06d}.png" for i in range(len(label_N))]
        counts = [int(classes[k].split()[1]) for k in label_N.tolist()]
        scenes = [
            {"split": split, "image_index": i, "image_filename": name, "objects": [{}] * n}
            for i, (name, n) in enumerate(zip(names, counts, strict=True))
        ]
        write_images(base / "images" / f"{split}.zip", names, images)
        write_compact_json(
            base / "scenes" / f"CLEVR_{split}_scenes.json", {"info": {}, "scenes": scenes}
        )


def write_fer2013(root: Path, classes: Sequence[str], parts: Parts, rng: Rng) -> None:
    """fer2013.csv of grey pixels; five of the seven emotions."""
    codes = [EMOTION_CODES[name] for name in classes]
    lines = ["emotion,pixels,Usage"]
    for part, usage in USAGES.items():
        label_N, images = parts[part]
        grey_NP = images.astype(np.float32).mean(axis=3).astype(np.uint8).reshape(len(label_N), -1)
        lines += [
            f"{codes[k]},{' '.join(map(str, face))},{usage}"
            for k, face in zip(label_N.tolist(), grey_NP.tolist(), strict=True)
        ]
    write_lines(root / "fer2013.csv", lines)


def write_sun397(root: Path, classes: Sequence[str], parts: Parts, rng: Rng) -> None:
    """SUN397.zip: SUN397/<letter>/<class>/sun_<number>.jpg; the lists of Partitions/."""
    places = [f"/{folder(name)[0]}/{folder(name)}" for name in classes]
    write_lines(root / "Partitions" / "ClassName.txt", sorted(places))
    names: list[str] = []
    for part, file in (("train", "Training_01.txt"), ("test", "Testing_01.txt")):
        start = len(names)
        names += [f"{places[k]}/sun_{start + i:06d}.jpg"
                  for i, k in enumerate(parts[part][0].tolist())]  # fmt: skip
        write_lines(root / "Partitions" / file, names[start:])
    images = np.concatenate([parts["train"][1], parts["test"][1]])
    write_images(root / "SUN397.zip", [f"SUN397{name}" for name in names], images)


def write_sst(root: Path, classes: Sequence[str], parts: Parts, rng: Rng) -> None:
    """rendered-sst2.zip: rendered-sst2/{train,valid,test}/<class>/<number>.png."""
    _write_splits(root / "rendered-sst2.zip", "rendered-sst2", classes, parts, "png")


def write_country211(root: Path, classes: Sequence[str], parts: Parts, rng: Rng) -> None:
    """country211.zip: country211/{train,valid,test}/<country>/<number>.jpg."""
    _write_splits(root / "country211.zip", "country211", classes, parts, "jpg")


def _write_splits(path: Path, top: str, classes: Sequence[str], parts: Parts, suffix: str) -> None:
    named = {"valid" if part == "validation" else part: held for part, held in parts.items()}
    name = f"{top}/{{split}}/{{folder}}/{{number:05d}}.{suffix}"
    write_class_folders(path, classes, named, name)


def _write_texts(path: Path, texts: dict[str, str]) -> None:
    """A stored zip of text files."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, text in sorted(texts.items()):
            member = zipfile.ZipInfo(name, EPOCH)
            member.external_attr = 0o644 << 16
            archive.writestr(member, text)


def _camel(name: str) -> str:
    return "".join(word.capitalize() for word in name.split())


LAYOUTS: dict[str, Layout] = {
    "eurosat": Layout(write_eurosat),
    "gtsrb": Layout(write_gtsrb),
    "kitti": Layout(write_kitti, validation=True),
    "pcam": Layout(write_pcam, validation=True),
    "ucf101": Layout(write_ucf101),
    "clevr": Layout(write_clevr),
    "fer2013": Layout(write_fer2013, validation=True, side=FACE_SIDE),
    "sun397": Layout(write_sun397),
    "sst": Layout(write_sst, validation=True),
    "country211": Layout(write_country211, validation=True),
}
