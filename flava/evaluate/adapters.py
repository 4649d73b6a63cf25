"""Adapters of tasks by family: what a study's `tasks.<name>.adapter` may be.

Functions are named, not imported, so that a study is checked without torch
(`pkgutil.resolve_name`).
"""

from __future__ import annotations

from flava.config import TaskData
from flava.errors import ConfigError, unknown_name

READERS: dict[str, dict[str, str]] = {
    "glue": {"glue_tsv": "flava.evaluate.formats.glue_tsv:load"},
    "linear_probe": {
        "image_folder": "flava.evaluate.formats.image_folder:load",
        "webdataset": "flava.evaluate.formats.webdataset:load",
        "imagenet": "flava.evaluate.formats.imagenet:load",
        "food101": "flava.evaluate.formats.listed_folders:load_food101",
        "cifar10": "flava.evaluate.formats.cifar_binary:load10",
        "cifar100": "flava.evaluate.formats.cifar_binary:load100",
        "cars": "flava.evaluate.formats.matlab_lists:load_cars",
        "aircraft": "flava.evaluate.formats.listed_folders:load_aircraft",
        "dtd": "flava.evaluate.formats.listed_folders:load_dtd",
        "pets": "flava.evaluate.formats.listed_folders:load_pets",
        "caltech101": "flava.evaluate.formats.caltech101:load",
        "flowers": "flava.evaluate.formats.matlab_lists:load_flowers",
        "stl10": "flava.evaluate.formats.stl10:load",
        "mnist_idx": "flava.evaluate.formats.mnist_idx:load",
        "nlvr_counts": "flava.evaluate.formats.nlvr:load_counts",
        "eurosat": "flava.evaluate.formats.eurosat:load",
        "gtsrb": "flava.evaluate.formats.gtsrb:load",
        "kitti": "flava.evaluate.formats.kitti:load",
        "pcam": "flava.evaluate.formats.pcam:load",
        "ucf101": "flava.evaluate.formats.ucf101:load",
        "clevr": "flava.evaluate.formats.clevr:load",
        "fer2013": "flava.evaluate.formats.fer2013:load",
        "sun397": "flava.evaluate.formats.sun397:load",
        "rendered_sst2": "flava.evaluate.formats.rendered_sst2:load",
    },
    "multimodal": {
        "snli_ve": "flava.evaluate.formats.snli_ve:load",
        "vqav2": "flava.evaluate.formats.vqav2:load",
        "easy_vqa": "flava.evaluate.formats.easy_vqa:load",
        "daquar_csv": "flava.evaluate.formats.daquar:load",
        "nlvr": "flava.evaluate.formats.nlvr:load",
        "hateful_memes": "flava.evaluate.formats.hateful_memes:load",
    },
    "retrieval": {
        "karpathy": "flava.evaluate.formats.captions:load_karpathy",
        "flickr8k_tokens": "flava.evaluate.formats.captions:load_flickr8k",
        "webdataset": "flava.evaluate.formats.webdataset:load_retrieval",
    },
    "zero_shot": {
        "image_folder": "flava.evaluate.formats.prompts:load_folder",
        "imagenet": "flava.evaluate.formats.imagenet:load_zero_shot",
        "zero_shot": "flava.evaluate.formats.prompts:load_imagenet_files",
        "webdataset": "flava.evaluate.formats.webdataset:load_zero_shot",
    },
}


# Keys of a task's data that some adapters alone read -> family -> these.
OPTIONAL: dict[str, dict[str, tuple[str, ...]]] = {
    "images": {
        "linear_probe": ("nlvr_counts",),
        "multimodal": tuple(READERS["multimodal"]),
        "retrieval": ("karpathy", "flickr8k_tokens"),
    },
    "prompts": {"zero_shot": tuple(READERS["zero_shot"])},
    "split": {"multimodal": ("hateful_memes",), "retrieval": ("karpathy", "webdataset")},
    "answers": {"multimodal": ("vqav2",)},
}


def check_adapter(family: str, data: TaskData, where: str) -> None:
    """Refuses an adapter that reads no task of the family, and keys that it does not read.

    Raises:
        ConfigError: with `where` the data are named.
    """
    adapter = data.adapter
    if adapter not in READERS[family]:
        raise ConfigError(unknown_name("adapter", adapter, list(READERS[family]), where))
    for key, readers in OPTIONAL.items():
        given = getattr(data, key) != TaskData.model_fields[key].default
        if given and adapter not in readers.get(family, ()):
            raise ConfigError(
                f"{where}.{key}: adapter '{adapter}' does not read it. Take it out, or set it as "
                "in docs/options.md where a base sets it."
            )
