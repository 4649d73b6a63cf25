"""The toy study's task data, moved to another folder."""

from __future__ import annotations

from pathlib import Path

from flava.config import TaskData
from flava.studies import load_study

RAW = "data/toy/raw"


def toy_data(name: str, world: Path) -> TaskData:
    """What params/toy.yaml says of a task, for the toy world in `world`.

    A task that the study does not have is taken to be class folders in a zip.
    """
    given = load_study(Path(__file__).parents[1] / "params", "toy").config.tasks.get(name)
    if given is None:
        path = world / "tasks" / name / "images.zip"
        return TaskData(adapter="image_folder", path=str(path), stand_in="toy")
    moved = {
        key: value.replace(RAW, str(world))
        for key, value in (("path", given.path), ("prompts", given.prompts))
        if value
    }
    return given.model_copy(update={"stand_in": "toy", **moved})
