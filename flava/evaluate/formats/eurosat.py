"""`eurosat`: satellite pictures in class folders; there is no official split."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from flava.config import TaskData
from flava.errors import DataError
from flava.evaluate.formats.official import SPLIT_SEED, Listed, by_class_folder, members_split
from flava.evaluate.images import ImageSource, pictures
from flava.evaluate.taskdata import LabelledTask

A_CLASS = 1500  # of 2,000 to 3,000: CLIP (Table 9) has 10,000 + 5,000 pictures of 10 classes


def load(path: Path, data: TaskData) -> LabelledTask:
    """<top>/<class>/<file> of EuroSAT.zip (top 2750) or EuroSAT_RGB.zip, as it is or unpacked:
    1,500 pictures of each class.

    Two thirds are trained on, one third is scored, drawn with a fixed seed; a class with fewer
    pictures is split in the same proportion.

    Raises:
        DataError: there is no picture, one is in no class folder, or a class has fewer than 3.
    """
    found = (pictures(path / name) for name in ("EuroSAT", "EuroSAT_RGB", "2750"))
    source = ImageSource(next((packed for packed in found if packed), path))
    rng = np.random.default_rng(SPLIT_SEED)
    train: list[Listed] = []
    test: list[Listed] = []
    classes = by_class_folder(source)
    for label, (name, members) in enumerate(classes.items()):
        if len(members) < 3:
            raise DataError(
                f"{source.path}: class '{name}' has {len(members)} pictures, too few to split. "
                "Unpack EuroSAT.zip anew."
            )
        drawn = [members[i] for i in rng.permutation(len(members))[:A_CLASS]]
        n_train = len(drawn) * 2 // 3
        train += [(name, member, label) for member in drawn[:n_train]]
        test += [(name, member, label) for member in drawn[n_train:]]
    return LabelledTask(
        train=members_split(source, train),
        tests={"test": members_split(source, test)},
        classes=list(classes),
        drawn_from={"pictures": sum(len(members) for members in classes.values())},
    )
