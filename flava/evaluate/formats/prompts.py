"""Zero-shot classification: labelled images with class names and prompt templates."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path, PurePosixPath

from flava.config import TaskData
from flava.data.lines import read_json
from flava.data.paths import expand
from flava.errors import DataError
from flava.evaluate.formats import image_folder
from flava.evaluate.formats.official import members_split
from flava.evaluate.images import ImageSource
from flava.evaluate.taskdata import ZeroShotTask, require

HOW_TO_GET = (
    "Set the task's 'prompts' to a folder with classnames.json (names in the order of the sorted "
    "class folders) and templates.json (texts with one {} each). For ImageNet's, run python -m "
    "flava.evaluate.imagenet_prompts on CLIP's notebook."
)


def load_folder(path: Path, data: TaskData) -> ZeroShotTask:
    """Scored split of an `image_folder`; names belong to its class folders in sorted order.

    Raises:
        DataError: files are missing, or there are not as many names as class folders.
    """
    names, templates = read_prompts(data)
    source = ImageSource(path)
    splits = image_folder.members_by_split(source)
    members = splits[image_folder.scored_split(splits, path)]
    folders = sorted({label for split in splits.values() for label in split})
    positions = _positions(folders, names, str(path))
    listed = [
        (name, name, positions[label]) for label in sorted(members) for name in members[label]
    ]
    return ZeroShotTask(members_split(source, listed), names, templates)


def load_imagenet_files(path: Path, data: TaskData) -> ZeroShotTask:
    """Flat pictures `<wnid>_<anything>`, scored against all 1,000 ImageNet names.

    Raises:
        DataError: files are missing, or a picture's name begins with no ImageNet wnid.
    """
    names, templates = read_prompts(data)
    positions = _positions([], names, str(path))
    source = ImageSource(path)
    listed = []
    for name in source.names:
        wnid = PurePosixPath(name).name.split("_")[0]
        if wnid not in positions:
            raise DataError(f"{path}: '{name}' does not begin with one of ImageNet's wnids.")
        listed.append((name, name, positions[wnid]))
    return ZeroShotTask(members_split(source, listed), names, templates)


def read_prompts(data: TaskData) -> tuple[list[str], list[str]]:
    """Class names and templates of the task's `prompts` folder.

    Raises:
        DataError: a file is missing, is not a list of texts, or a template lacks its one {}.
    """
    if data.prompts is None:
        raise DataError(f"The task at {data.path} names no prompts. {HOW_TO_GET}")
    folder = expand(data.prompts)
    names, templates = (_texts(folder, kind) for kind in ("classnames", "templates"))
    check_templates(templates, str(folder))
    return names, templates


def check_templates(templates: list[str], where: str) -> None:
    """Raises DataError, with `where` they are, if one has not exactly one {}."""
    for template in templates:
        if template.count("{}") != 1:
            raise DataError(f"{where}: template '{template}' must have exactly one {{}}.")


def _texts(folder: Path, kind: str) -> list[str]:
    path = folder / f"{kind}.json"
    if not path.exists():
        path = folder / f"imagenet_{kind}.json"
    value = read_json(path, HOW_TO_GET)
    good = isinstance(value, list) and value and all(isinstance(v, str) and v for v in value)
    require(bool(good), f"{path}: expected a non-empty list of texts.")
    return list(value)


def _positions(folders: list[str], names: list[str], where: str) -> dict[str, int]:
    """Class folder -> position of its name; ImageNet's wnids may be a subset of the 1,000."""
    wnids = imagenet_wnids()
    if len(names) == len(wnids) and set(folders) <= set(wnids):
        return {wnid: position for position, wnid in enumerate(wnids)}
    require(
        len(folders) == len(names),
        f"{where}: {len(folders)} class folders, but {len(names)} class names. {HOW_TO_GET}",
    )
    return {folder: position for position, folder in enumerate(folders)}


def imagenet_wnids() -> list[str]:
    """The 1,000 WordNet ids of ILSVRC 2012, sorted: the order of its class names."""
    text = files("flava.evaluate.formats").joinpath("imagenet_wnids.txt").read_text("ascii")
    return text.split()
