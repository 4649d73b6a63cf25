"""`clevr`: how many objects are in a picture, from CLEVR's scene files."""

from __future__ import annotations

from pathlib import Path

from flava.config import TaskData
from flava.data.lines import list_field, read_json
from flava.errors import DataError
from flava.evaluate.formats.official import Listed, Release, listed_split
from flava.evaluate.formats.text_files import field_of
from flava.evaluate.taskdata import LabelledTask, subset

HOW_TO_GET = "Unpack CLEVR_v1.0.zip of cs.stanford.edu/people/jcjohns/clevr there."
TRAIN, TEST = 2000, 500  # CLIP's Table 9; which pictures is not published


def load(path: Path, data: TaskData) -> LabelledTask:
    """CLEVR_v1.0/images/{train,val}/ and scenes/CLEVR_{train,val}_scenes.json.

    The class is the number of objects (3 to 10). 2,000 pictures of train are trained on and 500 of
    val scored, drawn with a fixed seed, or all where there are fewer.

    Raises:
        DataError: a file or picture is missing, a scene is malformed, or a number of objects that
            is scored never occurs in training.
    """
    release = Release.find(path, "CLEVR_v1.0", HOW_TO_GET)
    counts = {split: _counts(release, split) for split in ("train", "val")}
    drawn = {"train": _drawn(counts["train"], TRAIN), "val": _drawn(counts["val"], TEST)}
    classes = sorted({count for _, _, count in drawn["train"]})
    unknown = [(where, n) for where, _, n in drawn["val"] if n not in classes]
    if unknown:
        raise DataError(f"{unknown[0][0]}: {unknown[0][1]} objects never occur in training.")
    train, test = (
        listed_split(
            release.images(f"images/{split}"),
            [(where, name, classes.index(count)) for where, name, count in drawn[split]],
            len(classes),
            split,
        )
        for split in ("train", "val")
    )
    return LabelledTask(
        train=train,
        tests={"test": test},
        classes=[f"{n} objects" for n in classes],
        drawn_from={f"{split} scenes": len(found) for split, found in counts.items()},
    )


def _counts(release: Release, split: str) -> list[Listed]:
    """Where it stands, picture and number of objects of each scene."""
    path = release.root / "scenes" / f"CLEVR_{split}_scenes.json"
    found = []
    for i, scene in enumerate(list_field(read_json(path, HOW_TO_GET), "scenes", path)):
        where = f"{path}, scenes[{i}]"
        objects = list_field(scene, "objects", where)
        found.append((where, field_of(scene, "image_filename", where), len(objects)))
    return found


def _drawn(rows: list[Listed], limit: int) -> list[Listed]:
    chosen = subset(len(rows), limit)
    return rows if chosen is None else [rows[i] for i in chosen]
