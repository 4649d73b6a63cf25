"""Task readers by adapter name: what a study's `tasks.<name>.adapter` may be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from flava.config import TaskConfig, TaskData
from flava.data.paths import expand
from flava.errors import ConfigError, DataError, unknown_name
from flava.evaluate.formats import (
    captions,
    easy_vqa,
    glue_tsv,
    hateful_memes,
    image_folder,
    mnist_idx,
    prompts,
    snli_ve,
    vqav2,
)
from flava.evaluate.taskdata import TaskSet

Reader = Callable[[Path, TaskData], TaskSet]

READERS: dict[str, dict[str, Reader]] = {
    "linear_probe": {"image_folder": image_folder.load, "mnist_idx": mnist_idx.load},
    "multimodal": {
        "snli_ve": snli_ve.load,
        "vqav2": vqav2.load,
        "easy_vqa": easy_vqa.load,
        "hateful_memes": hateful_memes.load,
    },
    "retrieval": {
        "karpathy": captions.load_karpathy,
        "flickr8k_tokens": captions.load_flickr8k,
    },
    "zero_shot": {
        "image_folder": prompts.load_folder,
        "zero_shot": prompts.load_imagenet_files,
    },
}
GLUE = "glue_tsv"


def adapters(family: str) -> list[str]:
    """Adapter names that a task of `family` may use."""
    return [GLUE] if family == "glue" else list(READERS[family])


def load_task(name: str, task: TaskConfig, data: TaskData) -> TaskSet:
    """Reads the data of task `name`.

    Raises:
        ConfigError: the adapter is unknown or does not serve the task's family.
        DataError: data are missing (says where to get them) or malformed.
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
    if task.family == "glue":
        return glue_tsv.load(path, data, name)
    return READERS[task.family][data.adapter](path, data)
