"""Reads the data of a task with the adapter that its study names, and checks its counts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from pkgutil import resolve_name

from flava.config import TaskConfig, TaskData
from flava.data.paths import expand
from flava.errors import DataError
from flava.evaluate.adapters import READERS, check_adapter
from flava.evaluate.taskdata import TaskSet


def load_task(name: str, task: TaskConfig, data: TaskData) -> TaskSet:
    """Reads the data of task `name`, at most as many examples as the study's limits say.

    Raises:
        ConfigError: the adapter is unknown or does not serve the task's family.
        DataError: data are missing (says where to get them) or malformed, or they are given as
            the real set (no `stand_in`) and a split has not the official number of examples.
    """
    check_adapter(task.family, data, f"tasks.{name}")
    path = expand(data.path)
    if not path.exists():
        raise DataError(f"{path} is missing: {_wanted(name, task, data)}")
    found = _read(name, task, data, path)
    if data.stand_in is None:
        check_counts(name, task, path, found.counts, data.split)
    return found.limited(data.train_limit, data.test_limit)


def _wanted(name: str, task: TaskConfig, data: TaskData) -> str:
    """What a missing path should hold, and where that comes from."""
    title = task.title or name
    what = f"the data of {title}. Get it from {origin(name, task)}"
    what += f" ({task.licence})" if task.licence else ""
    if data.stand_in is not None:  # the real set would be mislabelled there
        what = f"'{data.stand_in}', which stands in for {title}. Get that (docs/data.md has mini's)"
    return (
        f"{what}, bring it to the layout '{data.adapter}' of docs/evaluation.md, or take the task "
        "out of the study."
    )


def _read(name: str, task: TaskConfig, data: TaskData, path: Path) -> TaskSet:
    """Its adapter's reading; every refusal says where the set comes from."""
    read: Callable[..., TaskSet] = resolve_name(READERS[task.family][data.adapter])
    try:
        # GLUE's files do not tell their task.
        return read(path, data, name) if task.family == "glue" else read(path, data)
    except DataError as error:
        if data.stand_in is not None or (task.obtain and task.obtain in str(error)):
            raise
        raise DataError(f"{error} The set comes from {origin(name, task)}.") from None


def origin(name: str, task: TaskConfig) -> str:
    """Where the real set comes from; a job's configuration does not have the words (`CARD`)."""
    return task.obtain or f"the place that `obtain` of '{name}' in tasks.yaml names"


def official_counts(task: TaskConfig, split: str | None) -> dict[str, int]:
    """Official examples of each split, of the release that the study's `split` names, and of the
    parts that splits are drawn from."""
    counts = task.split_counts.get(split, task.counts) if split else task.counts
    return {**task.drawn_from, **counts}


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
        what, get = f"is not the official {task.title or name}", "the whole set"
        if "train" in expected and sum(found.values()) == sum(expected.values()):
            what, get = (
                f"has the official {task.title or name} in other splits",
                "the official files",
            )
        raise DataError(
            f"{path} {what} ({parts}). Get {get} from {origin(name, task)}, or name what it is "
            f"under tasks.{name}.stand_in, which labels the row."
        )
