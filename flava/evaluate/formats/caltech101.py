"""`caltech101`: class folders without a published split; 30 pictures a class are trained on."""

from __future__ import annotations

from pathlib import Path

from flava.config import TaskData
from flava.evaluate.formats.official import Release, by_class_folder, seeded_split
from flava.evaluate.taskdata import LabelledTask

HOW_TO_GET = (
    "Unpack caltech-101.zip of data.caltech.edu/records/mzrjq-6wc02 and the "
    "101_ObjectCategories.tar.gz in it there."
)
FOLDER = "101_ObjectCategories"
TRAIN_A_CLASS = 30  # CLIP's 3,060 training images are 30 of each of 102 folders


def load(path: Path, data: TaskData) -> LabelledTask:
    """101_ObjectCategories/<class>/image_<4 digits>.jpg, BACKGROUND_Google counted as a class.

    Which 30 pictures of a class CLIP took is not known: here they are drawn with a fixed seed.

    Raises:
        DataError: the folder is missing, or a class has no more than 30 pictures.
    """
    release = Release.find(path, "caltech-101", HOW_TO_GET)
    source = release.images(FOLDER)
    return seeded_split(source, by_class_folder(source), TRAIN_A_CLASS)
