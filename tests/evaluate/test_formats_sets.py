"""EuroSAT to Country211 in their official layouts: what is read, and every kind of bad file."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections import defaultdict
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

from flava.data.toy.layouts import hold_out
from flava.data.toy.layouts_b import LAYOUTS
from flava.data.toy.vision_tasks import VISION_TASKS
from flava.errors import DataError
from flava.evaluate.datasets import check_counts, load_task
from flava.evaluate.formats import eurosat
from flava.evaluate.formats.tables import table
from flava.io import sha256_parts
from flava.studies import load_tasks
from tests.evaluate.fakes import data_config, task_config, write, write_zip

PACKED = {"sst": "rendered-sst2.zip", "country211": "country211.zip"}
NAMES = {name: list(VISION_TASKS[name].classes) if name in VISION_TASKS else ["bad", "good"]
         for name in LAYOUTS}  # fmt: skip
SIZE = 48


def load(name: str, path: Path, **changes):
    adapter = "image_folder" if name in PACKED else name
    data = data_config(adapter, path / PACKED.get(name, ""), **changes)
    return load_task(name, task_config("linear_probe"), data)


def shades(label_N: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Grey pictures: the label in the brightness, the picture's number in one corner."""
    images = np.repeat((8 * label_N + 30).astype(np.uint8), SIZE * SIZE * 3)
    images = images.reshape(-1, SIZE, SIZE, 3)
    images[:, :8, :8] = rng.integers(0, 256, (len(label_N), 1, 1, 3))
    return images


@pytest.fixture
def written(request, tmp_path) -> tuple[str, Path, dict]:
    """A set in its official layout, whose pictures show their class."""
    name = request.param
    rng, layout = np.random.default_rng(5), LAYOUTS[name]
    label_N, test_N = (rng.permutation(np.arange(n) % len(NAMES[name])) for n in (120, 60))
    parts = {"train": (label_N, shades(label_N, rng)), "test": (test_N, shades(test_N, rng))}
    if layout.validation:
        parts = hold_out(parts)
    layout.write(tmp_path / name, NAMES[name], parts, rng)
    return name, tmp_path / name, parts


def brightness(split) -> np.ndarray:
    pixels = split.images.pixels(np.arange(len(split)), SIZE)
    return pixels[:, 16:, 16:].reshape(len(pixels), -1).astype(float).mean(axis=1)


@pytest.mark.parametrize("written", list(LAYOUTS), indirect=True)
def test_every_picture_has_the_label_that_it_was_written_with(written):
    name, path, parts = written
    task = load(name, path)
    splits = {"train": task.train, "test": task.tests["test"], "validation": task.validation}
    shade_of_class: dict[int, set[int]] = {}
    for part, split in splits.items():
        if split is None:
            assert part not in parts
            continue
        if name != "eurosat":
            assert len(split) == len(parts[part][0])
        found = np.rint((brightness(split) - 30) / 8).astype(int)
        for label, shade in zip(split.targets.tolist(), found.tolist(), strict=True):
            shade_of_class.setdefault(label, set()).add(shade)
        if name not in ("eurosat", "kitti"):  # the others keep the order or sort by class
            assert sorted(found.tolist()) == sorted(parts[part][0].tolist())
    assert all(len(shades) == 1 for shades in shade_of_class.values()), shade_of_class
    assert len(shade_of_class) == len(task.classes) == len(NAMES[name])
    assert len({min(shades) for shades in shade_of_class.values()}) == len(task.classes)


@pytest.mark.parametrize("written", ["eurosat", "clevr"], indirect=True)
def test_drawn_splits_are_fixed_and_apart(written, monkeypatch):
    name, path, _ = written
    first, again = load(name, path), load(name, path)
    assert first.train.images.names == again.train.images.names
    if name == "eurosat":
        test = first.tests["test"]
        assert not set(first.train.images.names) & set(test.images.names)
        assert len(first.train) + len(test) == 180 == first.counts["pictures"]
        card = load_tasks(Path("params/tasks.yaml"))["eurosat"]
        with pytest.raises(DataError, match="pictures: 180 found, 27000 expected"):
            check_counts("eurosat", card, path, first.counts)
        monkeypatch.setattr(eurosat, "A_CLASS", 9)
        fewer = load(name, path)
        assert np.bincount(fewer.train.targets).tolist() == [6] * 8
        assert np.bincount(fewer.tests["test"].targets).tolist() == [3] * 8


@pytest.mark.parametrize("written", ["eurosat", "gtsrb", "kitti", "clevr", "sun397"], indirect=True)
def test_unpacked_archives_read_as_packed_ones_do(written, tmp_path):
    name, path, _ = written
    packed = load(name, path)
    for archive in sorted(path.rglob("*.zip")):
        inside = name in ("eurosat", "kitti", "sun397")
        with zipfile.ZipFile(archive) as members:
            members.extractall(path if inside else archive.with_suffix(""))
        archive.unlink()
    unpacked = load(name, path)
    assert packed.counts == unpacked.counts
    for a, b in ((packed.train, unpacked.train), (packed.tests["test"], unpacked.tests["test"])):
        assert (a.targets == b.targets).all()
        rows = np.arange(20)
        assert (a.images.pixels(rows, 16) == b.images.pixels(rows, 16)).all()


@pytest.mark.parametrize("written", ["eurosat"], indirect=True)
def test_eurosat_s_later_archive(written):
    """Zenodo's file has another name and another top folder."""
    name, path, _ = written
    first = load(name, path)
    with zipfile.ZipFile(path / "EuroSAT.zip") as archive:
        members = {
            member.replace("2750", "EuroSAT_RGB", 1): archive.read(member)
            for member in archive.namelist()
        }
    (path / "EuroSAT.zip").unlink()
    write_zip(path / "EuroSAT_RGB.zip", members)
    later = load(name, path)
    assert any(member.startswith("EuroSAT_RGB/") for member in members)
    assert (first.counts, first.classes) == (later.counts, later.classes)
    assert (first.train.targets == later.train.targets).all()


# --- Bad files: set, file to damage, what to make of it (None: delete), message

FIRST_LABEL = "GTSRB/Training/00000/GT-00000.csv"
ROW = "Filename;ClassId\n00000_00000.ppm;0\n"
MODE = "camelyonpatch_level_2_split_"
BAD = [
    ("gtsrb", FIRST_LABEL, None, r"GT-00000.csv is missing. Unpack GTSRB-Training_fixed.zip"),
    ("gtsrb", FIRST_LABEL, ROW.replace("ClassId", "Class"), r"line 1: column 'ClassId' is missing"),
    ("gtsrb", FIRST_LABEL, ROW + "x.ppm\n", r"csv, line 3: expected 2 cells split by ';', got 1"),
    ("gtsrb", FIRST_LABEL, ROW.replace(";0", ";x"), r"line 2: ClassId 'x' is not a whole number"),
    ("gtsrb", FIRST_LABEL, ROW.replace(";0", ";4"), "line 2: ClassId 4 in folder '00000'"),
    ("gtsrb", FIRST_LABEL, ROW.replace("00_0", "77_0"), r"line 2: .*00077_00000.ppm' is not there"),
    ("gtsrb", "GT-final_test.csv", None, r"GT-final_test.csv is missing"),
    ("gtsrb", "GT-final_test.csv", "Filename;ClassId\n", "'test' has no examples"),
    ("gtsrb", "GT-final_test.csv", "Filename;ClassId\n00000.ppm;16\n", "line 2: label 16 is out"),
    ("gtsrb", "GTSRB/Training.zip", None, "Training holds no picture"),
    ("gtsrb", "GTSRB/Final_Test/Images.zip", None, "Final_Test/Images is missing. Unpack"),
    ("kitti", "devkit_object.zip", None, "neither devkit_object.zip nor mapping/. Get data_obj"),
    ("kitti", "devkit_object.zip", {"a.txt": b""}, "mapping/train_rand.txt is missing"),
    ("kitti", "data_object_label_2.zip", {"a.txt": b""}, "training/label_2/0.*txt is missing"),
    ("kitti", "data_object_image_2.zip", None, "neither data_object_image_2.zip nor training/im"),
    ("kitti", "data_object_image_2.zip", {"training/image_2/1.png": b""}, "'training/image_2/0"),
    ("kitti", "data_object_image_2.zip", {"a.txt": b""}, "holds no picture files"),
    ("pcam", MODE + "valid_x.h5", None, r"split_valid_x.h5 is missing. Get the six .h5.gz"),
    ("pcam", MODE + "valid_y.h5", "text", r"split_valid_y.h5 is not a readable HDF5 file"),
    ("pcam", MODE + "test_y.h5", {"z": [[[[0]]]]}, "test_y.h5 has no dataset 'y'"),
    ("pcam", MODE + "test_y.h5", {"y": [[[[0]]], [[[1]]]]}, "'test' has 60 patches, 2 labels"),
    ("pcam", MODE + "test_y.h5", {"y": [[[[2]]]] * 60}, "label 2 of example 0 is out of range"),
    ("pcam", MODE + "test_y.h5", {"y": [[0.5]] * 60}, "expected one integer each"),
    ("pcam", MODE + "test_x.h5", {"x": [[0]] * 60}, r"'x' is .*expected uint8 \(patches"),
    ("ucf101", "ucfTrainTestlist/classInd.txt", None, "classInd.txt is missing. Unpack UCF101.rar"),
    ("ucf101", "ucfTrainTestlist/classInd.txt", "1 A\n3 B\n", "line 2: expected '2 <class>', got"),
    ("ucf101", "ucfTrainTestlist/testlist01.txt", "Nope/v.avi\n", "line 1: 'Nope' is none of the"),
    ("ucf101", "ucfTrainTestlist/testlist01.txt", "v.avi\n", "expected <class>/<video>, got 'v.av"),
    ("ucf101", "ucfTrainTestlist/testlist01.txt", "\n", "'testlist01' has no examples"),
    ("ucf101", "ucfTrainTestlist/trainlist01.txt", "SquareWithCircle/v.avi 2\n", "class 2, but Sq"),
    ("ucf101", "ucfTrainTestlist/testlist01.txt", "SquareWithCircle/v.avi\n", "line 1: .* not t"),
    ("ucf101", "UCF-101-midframes.zip", None, "UCF-101 is missing. Unpack UCF101.rar"),
    ("clevr", "CLEVR_v1.0/scenes/CLEVR_val_scenes.json", None, "scenes.json is missing. Unpack CL"),
    ("clevr", "CLEVR_v1.0/scenes/CLEVR_val_scenes.json", "{\n,", "line 2: not valid JSON"),
    ("clevr", "CLEVR_v1.0/scenes/CLEVR_val_scenes.json", '{"scenes": [{}]}', r": a list .objects"),
    ("clevr", "CLEVR_v1.0/scenes/CLEVR_val_scenes.json", '{"scenes": []}', "has no examples"),
    ("clevr", "CLEVR_v1.0/scenes/CLEVR_val_scenes.json",
     '{"scenes": [{"image_filename": "a.png", "objects": []}]}', "0 objects never occur in train"),
    ("clevr", "CLEVR_v1.0/scenes/CLEVR_val_scenes.json",
     '{"scenes": [{"image_filename": "a.png", "objects": [1]}]}', r"scenes\[0\]: .*'a.png' is not"),
    ("clevr", "CLEVR_v1.0/images/val.zip", None, "images/val is missing. Unpack CLEVR_v1.0.zip"),
    ("fer2013", "fer2013.csv", None, "fer2013.csv is missing. Unpack fer2013.tar.gz"),
    ("fer2013", "fer2013.csv", "emotion,pixels\n", "line 1: column 'Usage' is missing"),
    ("fer2013", "fer2013.csv", "emotion,pixels,Usage\n0,1 2,Training\n", "line 2: 2 pixels, expec"),
    ("fer2013", "fer2013.csv", "emotion,pixels,Usage\n0,1 256,Training\n", "2: a pixel is not"),
    ("fer2013", "fer2013.csv", "emotion,pixels,Usage\n0,a,Training\n", "2: a pixel is not"),
    ("fer2013", "fer2013.csv", "emotion,pixels,Usage\n7,1,Training\n", "line 2: emotion 7 is out"),
    ("fer2013", "fer2013.csv", "emotion,pixels,Usage\nx,1,Training\n", "emotion 'x' is not a whol"),
    ("fer2013", "fer2013.csv", "emotion,pixels,Usage\n1,1,Test\n", "line 2: Usage 'Test' is none"),
    ("fer2013", "fer2013.csv", "emotion,pixels,Usage\n0,1\n", "line 2: expected 3 cells split by"),
    ("fer2013", "fer2013.csv", "emotion,pixels,Usage\n", "Usage 'Training' has no examples"),
    ("sun397", "Partitions/Training_01.txt", None, "Training_01.txt is missing. Unpack SUN397.tar"),
    ("sun397", "Partitions/ClassName.txt", "/a/b\n/a/b\n", "is empty or lists a class twice"),
    ("sun397", "Partitions/Testing_01.txt", "/a/b/c.jpg\n", "line 1: '/a/b/c.jpg' is in no class"),
    ("sun397", "Partitions/Testing_01.txt", "\n", "split 'Testing_01.txt' has no examples"),
    ("sun397", "SUN397.zip", {"SUN397/a.jpg": b""}, "Training_01.txt, line 1: .* is not there"),
    ("eurosat", "EuroSAT.zip", {"a.jpg": b""}, "'a.jpg' is not at <class>/<file>"),
    ("eurosat", "EuroSAT.zip", {"a/a.jpg": b""}, "class 'a' has 1 pictures, too few to split"),
    ("eurosat", "EuroSAT.zip", None, "holds no picture files"),
    ("sst", "rendered-sst2.zip", {"a/train/x/1.png": b""}, "has no split 'test' or 'val'"),
    ("country211", "country211.zip",
     {"c/train/AD/1.jpg": b"", "c/test/AE/1.jpg": b""}, "class 'AE' of split 'test' never occurs"),
]  # fmt: skip


def damage(file: Path, content) -> None:
    if content is None:
        file.unlink()
    elif isinstance(content, str):
        write(file, content)
    elif file.suffix == ".h5":
        with h5py.File(file, "w") as out:
            out.update({key: np.array(value) for key, value in content.items()})
    else:
        write_zip(file, content)


@pytest.mark.parametrize(
    ("written", "file", "content", "message"),
    BAD,
    indirect=["written"],
    ids=[f"{name}-{i}" for i, (name, *_) in enumerate(BAD)],
)
def test_bad_files_are_named(written, file, content, message):
    name, path, _ = written
    assert (path / file).is_file()
    damage(path / file, content)
    with pytest.raises(DataError, match=message):
        load(name, path)


@pytest.mark.parametrize("name", ["eurosat", "gtsrb", "kitti", "pcam", "ucf101", "clevr", "sun397"])
def test_an_empty_folder_is_refused(name, tmp_path):
    with pytest.raises(DataError, match=str(tmp_path)):
        load(name, tmp_path)


@pytest.mark.parametrize("written", ["gtsrb"], indirect=True)
def test_a_missing_class_folder_shifts_no_label(written):
    name, path, _ = written
    (path / "GTSRB/Training/00003/GT-00003.csv").unlink()
    (path / "GTSRB/Training/00003").rmdir()
    with pytest.raises(
        DataError,
        match=r"ClassId 4 in folder '00004', whose place is 3 .from 0",
    ):
        load(name, path)


def test_the_later_training_set_of_gtsrb_is_named(tmp_path):
    (tmp_path / "GTSRB" / "Final_Training").mkdir(parents=True)
    with pytest.raises(DataError, match="Final_Training is another, later training set"):
        load("gtsrb", tmp_path)


@pytest.mark.parametrize("written", ["pcam"], indirect=True)
def test_compressed_pcam_is_to_be_decompressed(written):
    name, path, _ = written
    file = path / (MODE + "train_x.h5")
    file.rename(file.with_name(file.name + ".gz"))
    with pytest.raises(DataError, match=r"still compressed as .gz, .*gunzip"):
        load(name, path)


@pytest.mark.parametrize("written", ["pcam"], indirect=True)
def test_pcam_reads_only_what_is_asked_for_in_any_order(written, monkeypatch):
    name, path, parts = written
    images = load(name, path).train.images.take(np.array([9, 3, 3, 40]))
    asked = []
    whole = images.pictures

    class Spy:
        file = whole.file

        def __getitem__(self, rows):
            asked.extend(np.asarray(rows).tolist())
            return whole[rows]

    monkeypatch.setattr(images, "block", 3)
    wanted = parts["train"][1][[40, 9, 3, 3, 9]]
    digest = sha256_parts([wanted[:3].tobytes(), wanted[3:].tobytes()])
    assert images.digest(np.array([3, 0, 1, 2, 0])) == digest
    monkeypatch.setattr(images, "pictures", Spy())
    pixels = images.pixels(np.array([3, 0, 1, 2, 0]), SIZE)
    assert asked == [3, 9, 40]
    assert (pixels == wanted).all()
    assert images.digest(np.array([3, 0, 1, 2, 0])) == digest
    assert len(asked) == 3


# --- Real pictures, put into the official layouts


def test_gtsrb_reads_real_signs(real_data, tmp_path):
    archive = zipfile.ZipFile(real_data / "gtsrb" / "images.zip")
    header = "Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId\n"
    lists, pictures = defaultdict(str), defaultdict(dict)
    for name in (n for n in archive.namelist() if n.endswith(".jpg")):
        split, folder, file = name.split("/")[-3:]
        place = f"{folder}/{file}" if split == "train" else f"{folder}_{file}"
        pictures[split][place] = archive.read(name)
        row = f"{place.split('/')[-1]};9;9;1;1;8;8;{int(folder)}\n"
        lists[f"GTSRB/Training/{folder}/GT-{folder}.csv" if split == "train" else "test"] += row
    write(tmp_path / "GT-final_test.csv", header + lists.pop("test"))
    for place, rows in lists.items():
        write(tmp_path / place, header + rows)
    write_zip(tmp_path / "GTSRB/Training.zip", pictures["train"])
    write_zip(tmp_path / "GTSRB/Final_Test/Images.zip", pictures["test"])
    found = load("gtsrb", tmp_path)
    data = data_config("image_folder", real_data / "gtsrb" / "images.zip")
    plain = load_task("gtsrb", task_config("linear_probe"), data)
    assert found.classes == plain.classes and len(found.classes) == 43
    for a, b in ((found.train, plain.train), (found.tests["test"], plain.tests["test"])):
        assert len(a) == len(b) and np.array_equal(np.sort(a.targets), b.targets)
    rows = np.arange(0, len(found.train), 50)
    assert np.array_equal(found.train.targets, plain.train.targets)
    assert (found.train.images.pixels(rows, 24) == plain.train.images.pixels(rows, 24)).all()


def test_fer2013_reads_the_pixels_of_real_faces(real_data, tmp_path):
    archive = zipfile.ZipFile(real_data / "fer2013" / "images.zip")
    rows, faces = [], []
    usages = {"train": ("Training", "PublicTest"), "test": ("PrivateTest",)}
    members = [n for n in sorted(archive.namelist()) if n.endswith((".jpg", ".png"))]
    emotions = sorted({name.split("/")[-2] for name in members})
    for i, name in enumerate(members):
        face = np.asarray(Image.open(io.BytesIO(archive.read(name))).convert("L"))
        split, emotion = name.split("/")[-3:-1]
        usage = usages[split][i % 3 == 0 and split == "train"]
        faces.append((usage, face))
        rows.append([emotions.index(emotion), " ".join(map(str, face.ravel().tolist())), usage])
    with open(tmp_path / "fer2013.csv", "w", newline="") as file:
        csv.writer(file).writerows([["emotion", "pixels", "Usage"], *rows])
    task = load("fer2013", tmp_path)
    assert len(task.classes) == 7 and sum(task.counts.values()) == len(rows) > 1000
    for usage, split in (("PublicTest", task.validation), ("PrivateTest", task.tests["test"])):
        expected = np.stack([face for part, face in faces if part == usage])
        pixels = split.images.pixels(np.arange(len(split)), 48)
        assert (pixels == expected[..., None]).all()
        assert split.targets.tolist() == [row[0] for row in rows if row[2] == usage]


def test_other_columns_and_spaces_of_a_table_are_ignored(tmp_path):
    path = write(tmp_path / "icml_face_data.csv", "emotion, Usage, pixels\n0, Training, 1 2\n")
    found = list(table(path, ("emotion", "pixels", "Usage"), ""))
    assert [cells for _, cells in found] == [["0", "1 2", "Training"]]
    path.write_bytes(b"emotion\n\xff\xfe\n")
    with pytest.raises(DataError, match="is not a readable CSV file"):
        list(table(path, ("emotion",), ""))


def test_clevr_takes_2000_and_500(tmp_path):
    for split, n in (("train", 2100), ("val", 700)):
        scenes = [{"image_filename": f"{i}.png", "objects": [0] * (3 + i % 8)} for i in range(n)]
        write(
            tmp_path / f"CLEVR_v1.0/scenes/CLEVR_{split}_scenes.json",
            json.dumps({"scenes": scenes}),
        )
        write_zip(tmp_path / f"CLEVR_v1.0/images/{split}.zip", {f"{i}.png": b"" for i in range(n)})
    task = load("clevr", tmp_path)
    assert task.counts == {"train scenes": 2100, "val scenes": 700, "train": 2000, "test": 500}
    assert task.classes == [f"{n} objects" for n in range(3, 11)]
    card = load_tasks(Path("params/tasks.yaml"))["clevr"]
    with pytest.raises(DataError, match="train scenes: 2100 found, 70000 expected"):
        check_counts("clevr", card, tmp_path, task.counts)
