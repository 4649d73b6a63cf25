"""Task readers by adapter name: what a study's `tasks.<name>.adapter` may be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from flava.config import TaskConfig, TaskData
from flava.data.paths import expand
from flava.errors import ConfigError, DataError, unknown_name
from flava.evaluate.formats import (
    caltech101,
    captions,
    cifar_binary,
    clevr,
    daquar,
    easy_vqa,
    eurosat,
    fer2013,
    glue_tsv,
    gtsrb,
    hateful_memes,
    image_folder,
    imagenet,
    kitti,
    listed_folders,
    matlab_lists,
    mnist_idx,
    nlvr,
    pcam,
    prompts,
    rendered_sst2,
    snli_ve,
    stl10,
    sun397,
    ucf101,
    vqav2,
    webdataset,
)
from flava.evaluate.taskdata import TaskSet

Reader = Callable[[Path, TaskData], TaskSet]

READERS: dict[str, dict[str, Reader]] = {
    "linear_probe": {
        "image_folder": image_folder.load,
        "webdataset": webdataset.load,
        "imagenet": imagenet.load,
        "food101": listed_folders.load_food101,
        "cifar10": cifar_binary.load10,
        "cifar100": cifar_binary.load100,
        "cars": matlab_lists.load_cars,
        "aircraft": listed_folders.load_aircraft,
        "dtd": listed_folders.load_dtd,
        "pets": listed_folders.load_pets,
        "caltech101": caltech101.load,
        "flowers": matlab_lists.load_flowers,
        "stl10": stl10.load,
        "mnist_idx": mnist_idx.load,
        "nlvr_counts": nlvr.load_counts,
        "eurosat": eurosat.load,
        "gtsrb": gtsrb.load,
        "kitti": kitti.load,
        "pcam": pcam.load,
        "ucf101": ucf101.load,
        "clevr": clevr.load,
        "fer2013": fer2013.load,
        "sun397": sun397.load,
        "rendered_sst2": rendered_sst2.load,
    },
    "multimodal": {
        "snli_ve": snli_ve.load,
        "vqav2": vqav2.load,
        "easy_vqa": easy_vqa.load,
        "daquar_csv": daquar.load,
        "nlvr": nlvr.load,
        "hateful_memes": hateful_memes.load,
    },
    "retrieval": {
        "karpathy": captions.load_karpathy,
        "flickr8k_tokens": captions.load_flickr8k,
        "webdataset": webdataset.load_retrieval,
    },
    "zero_shot": {
        "image_folder": prompts.load_folder,
        "imagenet": imagenet.load_zero_shot,
        "zero_shot": prompts.load_imagenet_files,
        "webdataset": webdataset.load_zero_shot,
    },
}
GLUE = "glue_tsv"


def adapters(family: str) -> list[str]:
    """Adapter names that a task of `family` may use."""
    return [GLUE] if family == "glue" else list(READERS[family])


def load_task(name: str, task: TaskConfig, data: TaskData) -> TaskSet:
    """Reads the data of task `name`, at most as many examples as the study's limits say.

    Raises:
        ConfigError: the adapter is unknown or does not serve the task's family.
        DataError: data are missing (says where to get them) or malformed, or they are given as
            the real set (no `stand_in`) and a split has not the official number of examples.
    """
    if data.adapter not in adapters(task.family):
        raise ConfigError(
            unknown_name("adapter", data.adapter, adapters(task.family), f"tasks.{name}")
        )
    path = expand(data.path)
    if not path.exists():
        raise DataError(
            f"{path} is missing: the data of {task.title}. Get it from {task.obtain} "
            f"({task.licence}), bring it to the layout '{data.adapter}' of docs/evaluation.md, or "
            "take the task out of the study."
        )
    found = _read(name, task, data, path)
    if data.stand_in is None:
        check_counts(name, task, path, found.counts, data.split)
    return found.limited(data.train_limit, data.test_limit)


def _read(name: str, task: TaskConfig, data: TaskData, path: Path) -> TaskSet:
    """Its adapter's reading; every refusal says where the set comes from."""
    try:
        if task.family == "glue":
            return glue_tsv.load(path, data, name)
        return READERS[task.family][data.adapter](path, data)
    except DataError as error:
        if data.stand_in is not None or task.obtain in str(error):
            raise
        raise DataError(f"{error} The set comes from {task.obtain}.") from None


def official_counts(task: TaskConfig, split: str | None) -> dict[str, int]:
    """Official examples of each split: those of the release that the study's `split` names."""
    return task.split_counts.get(split, task.counts) if split else task.counts


def check_counts(
    name: str, task: TaskConfig, path: Path, found: dict[str, int], split: str | None = None
) -> None:
    """The real set has the official splits with the official numbers of examples.

    Raises:
        DataError: a split is missing or has another number; names both numbers.
    """
    expected = official_counts(task, split)
    wrong = {part: n for part, n in expected.items() if found.get(part) != n}
    if wrong:
        parts = "; ".join(
            f"{part}: {found.get(part, 'none')} found, {n} expected" for part, n in wrong.items()
        )
        what, get = f"is not the official {task.title}", "the whole set"
        if "train" in expected and sum(found.values()) == sum(expected.values()):
            what, get = f"has the official {task.title} in other splits", "the official files"
        raise DataError(
            f"{path} {what} ({parts}). Get {get} from {task.obtain}, or name what it is under "
            f"tasks.{name}.stand_in, which labels the row."
        )
