"""`food101`, `aircraft`, `dtd`, `pets`: pictures listed in text files, a line each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from flava.config import TaskData
from flava.data.lines import whole_number
from flava.errors import DataError
from flava.evaluate.formats.official import Listed, Release, listed_split, position
from flava.evaluate.images import ImageSource
from flava.evaluate.taskdata import LabelledTask, Split, require

FOOD101 = "Unpack food-101.tar.gz of data.vision.ee.ethz.ch/cvl/datasets_extra/food-101 there."
AIRCRAFT = "Unpack fgvc-aircraft-2013b.tar.gz of www.robots.ox.ac.uk/~vgg/data/fgvc-aircraft there."
DTD = "Unpack dtd-r1.0.1.tar.gz of www.robots.ox.ac.uk/~vgg/data/dtd there."
PETS = (
    "Unpack images.tar.gz and annotations.tar.gz of www.robots.ox.ac.uk/~vgg/data/pets there, "
    "both into the same folder."
)

Entries = Iterator[tuple[str, str, str]]  # where it is listed, picture, class name


def load_food101(path: Path, data: TaskData) -> LabelledTask:
    """meta/{train,test}.txt of `<class>/<number>` and images/<class>/<number>.jpg.

    Raises:
        DataError: a file or picture is missing, or a line is malformed (file and line are named).
    """
    release = Release.find(path, "food-101", FOOD101)
    lists = {split: f"meta/{split}.txt" for split in ("train", "test")}
    return _by_class_folder(release, lists)


def load_dtd(path: Path, data: TaskData) -> LabelledTask:
    """The first of ten official splits: labels/{train,val,test}1.txt of `<class>/<file>`.

    Raises:
        DataError: a file or picture is missing, or a line is malformed (file and line are named).
    """
    release = Release.find(path, "dtd", DTD)
    lists = {
        split: f"labels/{name}1.txt"
        for split, name in (("train", "train"), ("validation", "val"), ("test", "test"))
    }
    return _by_class_folder(release, lists)


def load_aircraft(path: Path, data: TaskData) -> LabelledTask:
    """data/images_variant_{train,val,test}.txt of `<picture> <variant>`, data/variants.txt.

    The annotation is by variant (100 classes), the finest of three levels.

    Raises:
        DataError: a file or picture is missing, or a line is malformed (file and line are named).
    """
    release = Release.find(path, "fgvc-aircraft-2013b", AIRCRAFT)
    classes = release.names("data/variants.txt")
    source = release.images("data/images")

    def entries(name: str) -> Entries:
        for where, line in release.lines(f"data/images_variant_{name}.txt"):
            picture, space, variant = line.partition(" ")
            require(bool(space), f"{where}: expected <picture> <variant>, got '{line}'.")
            yield where, picture, variant.strip()

    return LabelledTask(
        train=_split(source, entries("train"), classes, "train"),
        validation=_split(source, entries("val"), classes, "validation"),
        tests={"test": _split(source, entries("test"), classes, "test")},
        classes=classes,
    )


def load_pets(path: Path, data: TaskData) -> LabelledTask:
    """annotations/{trainval,test}.txt of `<Class>_<number> <class id> <species> <breed id>`.

    Raises:
        DataError: a file or picture is missing, a line is malformed, or a class has two names.
    """
    release = Release(path, PETS)
    names: dict[int, str] = {}
    parts = {name: list(_pets_lines(release, name, names)) for name in ("trainval", "test")}
    missing = [number for number in range(1, len(names) + 1) if number not in names]
    if missing:
        raise DataError(f"{path}: annotations/ list no picture of class {missing[0]}. {PETS}")
    source = release.images("images")
    train, test = (
        listed_split(source, parts[name], len(names), name) for name in ("trainval", "test")
    )
    classes = [names[number] for number in sorted(names)]
    return LabelledTask(train=train, tests={"test": test}, classes=classes)


def _pets_lines(release: Release, name: str, names: dict[int, str]) -> Iterator[Listed]:
    """The lines of a list; `names` collects class id -> class name."""
    for where, line in release.lines(f"annotations/{name}.txt"):
        if line.startswith("#"):
            continue
        cells = line.split()
        number = whole_number(cells[1]) if len(cells) == 4 else None
        if not number:
            raise DataError(f"{where}: expected <picture> <class> <species> <breed>, got '{line}'.")
        breed = cells[0].rpartition("_")[0]
        if names.setdefault(number, breed) != breed:
            raise DataError(f"{where}: class {number} is '{breed}' here, '{names[number]}' before.")
        yield where, cells[0], number - 1


def _by_class_folder(release: Release, lists: dict[str, str]) -> LabelledTask:
    """Splits listed as `<class>/<file>`; classes are those of the training list, sorted."""

    def entries(name: str) -> Entries:
        for where, line in release.lines(name):
            label, slash, file = line.partition("/")
            good = slash and label and file and "/" not in file
            require(bool(good), f"{where}: expected <class>/<picture>, got '{line}'.")
            yield where, line, label

    source = release.images("images")
    classes = sorted({label for _, _, label in entries(lists["train"])})
    found = {split: _split(source, entries(name), classes, split) for split, name in lists.items()}
    return LabelledTask(
        train=found["train"],
        validation=found.get("validation"),
        tests={"test": found["test"]},
        classes=classes,
    )


def _split(source: ImageSource, entries: Entries, classes: Sequence[str], name: str) -> Split:
    listed = ((where, file, position(label, classes, where)) for where, file, label in entries)
    return listed_split(source, listed, len(classes), name)
