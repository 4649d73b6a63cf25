"""`gtsrb`: traffic signs, each class folder with its own list, as the benchmark publishes them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from flava.config import TaskData
from flava.errors import DataError
from flava.evaluate.formats.official import Listed, Release, listed_split
from flava.evaluate.formats.tables import number, table
from flava.evaluate.taskdata import LabelledTask

HOW_TO_GET = (
    "Unpack GTSRB-Training_fixed.zip, GTSRB_Final_Test_Images.zip and GTSRB_Final_Test_GT.zip of "
    "benchmark.ini.rub.de there."
)
COLUMNS = ("Filename", "ClassId")


def load(path: Path, data: TaskData) -> LabelledTask:
    """GTSRB/Training/<class>/ with GT-<class>.csv; GTSRB/Final_Test/Images; GT-final_test.csv.

    The training set is the competition's (26,640 pictures), as in CLIP's Table 9, not the later
    one of 39,209 (GTSRB/Final_Training).

    Raises:
        DataError: a list or picture is missing, a row is malformed, or its class is not that of
            its folder.
    """
    release = Release.find(path, "GTSRB", HOW_TO_GET)
    folders = sorted(folder for folder in (release.root / "Training").glob("*") if folder.is_dir())
    if not folders:
        later = (release.root / "Final_Training").is_dir()
        raise DataError(
            f"{release.root / 'Training'} has no class folder"
            + (" (Final_Training is another, later training set). " if later else ". ")
            + HOW_TO_GET
        )
    classes = [folder.name for folder in folders]
    train = [row for label, folder in enumerate(folders) for row in _class_rows(folder, label)]
    truth = next((p for p in _truth_files(release) if p.is_file()), path / "GT-final_test.csv")
    return LabelledTask(
        train=listed_split(release.images("Training"), train, len(classes), "train"),
        tests={
            "test": listed_split(
                release.images("Final_Test/Images"), _rows(truth), len(classes), "test"
            )
        },
        classes=classes,
    )


def _truth_files(release: Release) -> Iterator[Path]:
    for folder in (release.root, release.root.parent, release.root / "Final_Test" / "Images"):
        yield folder / "GT-final_test.csv"


def _rows(path: Path) -> Iterator[Listed]:
    for where, (name, label) in table(path, COLUMNS, HOW_TO_GET, ";"):
        yield where, name, number(label, where, "ClassId")


def _class_rows(folder: Path, label: int) -> Iterator[Listed]:
    for where, name, found in _rows(folder / f"GT-{folder.name}.csv"):
        if found != label:
            raise DataError(
                f"{where}: ClassId {found} in folder '{folder.name}', whose place is {label} "
                f"(from 0). A class folder is missing or misplaced. {HOW_TO_GET}"
            )
        yield where, f"{folder.name}/{name}", found
