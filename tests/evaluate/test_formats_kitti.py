"""KITTI's task: the distance of the nearest vehicle, on videos kept apart."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from flava.data.video_split import by_video
from flava.errors import DataError
from flava.evaluate.datasets import load_task
from flava.evaluate.formats import kitti
from tests.evaluate.fakes import data_config, task_config, write


def label_line(kind: str, z: float) -> str:
    return f"{kind} 0.00 0 -1.57 599.41 156.40 629.75 189.25 2.85 2.63 12.34 0.47 1.49 {z} -1.56"


@pytest.mark.parametrize(
    ("objects", "expected"),
    [
        ([("Car", 8.0)], 0), ([("Car", 8.01)], 1), ([("Truck", 20.0)], 1), ([("Van", 20.5)], 2),
        ([("Pedestrian", 3.0)], 3), ([("Pedestrian", 3.0), ("Car", 30.0), ("Van", 12.0)], 1),
        ([("DontCare", -1000.0), ("Tram", 5.0), ("Car", -0.5)], 0), ([], 3),
    ],
)  # fmt: skip
def test_distance_of_the_nearest_vehicle(objects, expected):
    text = "\n".join(label_line(*item) for item in objects) + "\n"
    assert kitti.distance_class(text, "x") == expected


@pytest.mark.parametrize(
    "line", ["Car 0 0", *(label_line("Car", 5).replace(" 5 ", f" {d} ") for d in ("near", "nan"))]
)
def test_bad_label_lines(line):
    with pytest.raises(DataError, match=r"a.txt, line 2: expected 15 cells of a KITTI object"):
        kitti.distance_class(label_line("Van", 4) + "\n" + line, "a.txt")


def test_videos_are_drawn_as_tensorflow_datasets_does():
    names = [f"2011_09_26_drive_{i:04d}_sync" for i in (9, 1, 5, 11, 2, 60, 35, 36, 39, 46) * 3]
    names += [f"2011_10_03_drive_{i:04d}_sync" for i in range(14)]
    state = np.random.get_state()  # noqa: NPY002
    np.random.seed(seed=123)  # noqa: NPY002
    videos = sorted(set(names))
    test = set(np.random.choice(videos, 2, replace=False))  # noqa: NPY002
    rest = sorted(set(videos) - test)
    validation = set(np.random.choice(rest, 2, replace=False))  # noqa: NPY002
    np.random.set_state(state)  # noqa: NPY002
    parts = by_video(names)
    assert {names[i] for i in parts["test"]} == test
    assert {names[i] for i in parts["validation"]} == validation
    assert sorted(i for rows in parts.values() for i in rows) == list(range(len(names)))


@pytest.mark.parametrize(
    ("rand", "mapping"),
    [
        ("1,2,x", "d v 1\nd v 2\nd v 3\n"),
        ("1,2,4", "d v 1\nd v 2\nd v 3\n"),
        ("1,2,3", "d v 1\nd\n"),
    ],
)
def test_a_bad_mapping_is_named(rand, mapping, tmp_path):
    write(tmp_path / "mapping/train_rand.txt", rand)
    write(tmp_path / "mapping/train_mapping.txt", mapping)
    write(tmp_path / "training/label_2/000000.txt", label_line("Car", 3))
    picture = tmp_path / "training/image_2/000000.png"
    picture.parent.mkdir()
    Image.new("RGB", (8, 8)).save(picture)
    with pytest.raises(DataError, match=r"train_rand.txt, entry \d: '.' is no line of train_map"):
        load_task("kitti", task_config("linear_probe"), data_config("kitti", tmp_path))
