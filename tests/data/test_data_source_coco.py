"""COCO, Visual Genome and Localized Narratives in their official layouts."""

from __future__ import annotations

import json
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from data_helpers import png, source
from pmd_files import write_images

from flava.data.sources import count_pairs, read_captions, read_pairs
from flava.errors import DataError

COCO = {
    "info": {}, "licenses": [],
    "images": [
        {"id": 9, "file_name": "000000000009.jpg", "coco_url": "http://", "height": 480},
        {"id": 25, "file_name": "000000000025.jpg"},
        {"id": 30, "file_name": "000000000030.jpg"},
    ],
    "annotations": [
        {"image_id": 25, "id": 1, "caption": "A giraffe."},
        {"image_id": 9, "id": 2, "caption": "A meal. "},
        {"image_id": 9, "id": 3, "caption": "Trays of food."},
    ],
}  # fmt: skip
KARPATHY = {
    "images": [
        {"filename": "COCO_val2014_000000000025.jpg", "cocoid": 25, "split": "test"},
        {"filename": "COCO_val2014_000000000009.jpg", "cocoid": 9, "split": "restval"},
        {"filename": "1001.jpg", "split": "val"},
    ]
}


def write(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def test_coco_captions(tmp_path: Path) -> None:
    write(tmp_path / "annotations" / "captions_train2017.json", COCO)
    write_images(tmp_path / "train2017", ["000000000009.jpg", "000000000025.jpg"])
    tally: Counter[str] = Counter()
    pairs = list(read_pairs(source("coco_captions", tmp_path), tally))
    assert [(pair.key, pair.captions) for pair in pairs] == [
        ("9", ["A meal. ", "Trays of food."]),
        ("25", ["A giraffe."]),
    ]
    assert [pair.image_bytes for pair in pairs] == [png(0), png(1)]
    assert tally == {"listed pairs": 3, "missing images": 1, "pairs of missing images": 0}


@pytest.mark.parametrize("text", ["[" * 100_000, '{"images": [{"id": ' + "9" * 5000 + "}]}", "{"])
def test_a_damaged_annotation_file_is_one_sentence(tmp_path: Path, text: str) -> None:
    (tmp_path / "captions.json").write_text(text)
    with pytest.raises(DataError, match=r"captions\.json: not valid JSON \(.*\)\.$"):
        list(read_captions(source("coco_captions", tmp_path / "captions.json")))


def test_an_annotation_file_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    (tmp_path / "captions.json").write_text("\ufeff" + json.dumps(COCO))
    captions = list(read_captions(source("coco_captions", tmp_path / "captions.json")))
    assert captions[1] == ["A giraffe."]


def test_a_missing_annotation_file_is_no_step_of_the_project(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"x\.json is missing\. Check the 'path' and 'split'"):
        list(read_captions(source("coco_captions", tmp_path / "x.json")))


def test_coco_images_in_a_zip_and_evaluation_images_left_out(tmp_path: Path) -> None:
    write(tmp_path / "captions.json", COCO)
    write(tmp_path / "dataset_coco.json", KARPATHY)
    with zipfile.ZipFile(tmp_path / "train2017.zip", "w") as archive:
        for name in ("000000000009.jpg", "000000000025.jpg"):
            archive.writestr(f"train2017/{name}", png(1))
    place = {"images": str(tmp_path / "train2017.zip")}
    whole = source("coco_captions", tmp_path / "captions.json", **place)
    assert [pair.key for pair in read_pairs(whole)] == ["9", "25"]
    without = whole.model_copy(update={"exclude": str(tmp_path / "dataset_coco.json")})
    assert [pair.key for pair in read_pairs(without)] == ["9"]


def test_visual_genome(tmp_path: Path) -> None:
    regions = [{"region_id": i, "image_id": 2, "phrase": f"phrase {i}", "x": 1} for i in range(3)]
    value = [{"id": 2, "regions": regions}, {"id": 1, "regions": []}, {"id": 7, "regions": regions}]
    write(tmp_path / "region_descriptions.json", value)
    write_images(tmp_path, ["VG_100K/1.jpg", "VG_100K_2/2.jpg"])
    tally: Counter[str] = Counter()
    pairs = [pair for pair in read_pairs(source("visual_genome", tmp_path), tally) if pair.captions]
    assert [(pair.key, len(pair.captions)) for pair in pairs] == [("2", 3)]
    assert pairs[0].image_bytes == png(1)
    assert tally["pairs of missing images"] == 3


def narrative(data: str, image: str, annotator: int, caption: str) -> str:
    timed = [{"utterance": "x", "start_time": 0.1, "end_time": 0.2}]
    value = {"dataset_id": data, "image_id": image, "annotator_id": annotator}
    return json.dumps({**value, "caption": caption, "timed_caption": timed, "traces": []}) + "\n"


@pytest.fixture
def narratives(tmp_path: Path) -> Path:
    (tmp_path / "coco_train_localized_narratives-00000-of-00004.jsonl").write_text(
        narrative("mscoco_train2017", "25", 1, "A giraffe.")
        + narrative("mscoco_train2017", "9", 1, "In this image we see a meal. It is hot! Is it?")
        + narrative("mscoco_train2017", "9", 2, "Food.")
    )
    (tmp_path / "open_images_train_v6_captions.jsonl").write_text(
        narrative("open_images_train", "00a1", 3, "A boat on the sea.")
    )
    (tmp_path / "open_images_validation_captions.jsonl").write_text("broken")
    write_images(tmp_path / "images", ["coco/000000000009.jpg", "coco/000000000025.jpg"])
    write_images(tmp_path / "images" / "open", ["00a1.jpg"])
    write(tmp_path / "dataset_coco.json", KARPATHY)
    return tmp_path


def test_localized_narratives(narratives: Path) -> None:
    place = {"images": str(narratives / "images")}
    whole = list(read_captions(source("localized_narratives", narratives, **place)))
    assert whole[1] == ["In this image we see a meal. It is hot! Is it?"]
    sentences = source("localized_narratives_sentences", narratives, **place)
    pairs = list(read_pairs(sentences))
    assert [pair.key for pair in pairs] == [
        "mscoco_train2017/25-1",
        "mscoco_train2017/9-1",
        "mscoco_train2017/9-2",
        "open_images_train/00a1-3",
    ]
    assert pairs[1].captions == ["In this image we see a meal.", "It is hot!", "Is it?"]
    assert pairs[1].image_bytes == pairs[2].image_bytes == png(0)
    without = sentences.model_copy(update={"exclude": str(narratives / "dataset_coco.json")})
    assert [pair.key for pair in read_pairs(without)] == [pair.key for pair in pairs[1:]]


def change(value: Any, *path: Any, to: Any) -> Any:
    copy = json.loads(json.dumps(value))
    parent = copy
    for part in path[:-1]:
        parent = parent[part]
    parent[path[-1]] = to
    return copy


MALFORMED: dict[str, tuple[str, str, Any, str]] = {
    "coco without captions": ("coco_captions", "c.json", {"images": []}, "list 'annotations'"),
    "coco caption": (
        "coco_captions", "c.json", change(COCO, "annotations", 1, "caption", to=None),
        r"c\.json, annotations\[1\]: 'caption' is missing or no text",
    ),
    "coco image": (
        "coco_captions", "c.json", change(COCO, "annotations", 1, "image_id", to=77),
        "captions of image 77, which is not listed",
    ),
    "coco file": (
        "coco_captions", "c.json", change(COCO, "images", 0, "file_name", to="../../x.jpg"),
        "no name of a file in it",
    ),
    "vg": ("visual_genome", "v.json", [{"id": 1}], r"v\.json, \[0\]: a list 'regions'"),
    "vg phrase": (
        "visual_genome", "v.json", [{"id": 1, "regions": [{"phrase": 3.5}]}], "'phrase' is missing",
    ),
    "vg top": ("visual_genome", "v.json", {}, "expected a list of images"),
}  # fmt: skip


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed_files(tmp_path: Path, case: str) -> None:
    adapter, name, value, message = MALFORMED[case]
    write(tmp_path / name, value)
    with pytest.raises(DataError, match=message):
        list(read_pairs(source(adapter, tmp_path / name)))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", r"x_train\.jsonl, line 2: not valid JSON"),
        ("[1]", "line 2: expected a JSON object"),
        ('{"dataset_id": "a", "image_id": "b"}', "line 2: 'annotator_id' is missing"),
    ],
)
def test_malformed_narratives(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "x_train.jsonl"
    path.write_text(narrative("open", "1", 1, "a") + line + "\n")
    with pytest.raises(DataError, match=message):
        count_pairs(source("localized_narratives", tmp_path), Counter())


def test_duplicate_ids_are_counted(tmp_path: Path) -> None:
    twice = change(COCO, "images", 2, to=COCO["images"][0])  # type: ignore[index]
    write(tmp_path / "c.json", twice)
    write_images(tmp_path, ["000000000009.jpg", "000000000025.jpg"])
    same = narrative("open", "1", 1, "a b c")
    (tmp_path / "x_train.jsonl").write_text(same + same)
    write_images(tmp_path, ["1.jpg"])
    tally: Counter[str] = Counter()
    assert count_pairs(source("localized_narratives", tmp_path), tally) == 1
    assert tally["duplicate keys"] == 1
    assert len(list(read_captions(source("coco_captions", tmp_path / "c.json")))) == 2
