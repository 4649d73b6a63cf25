"""The file of a study, with the study that it builds on and its budgets, as one tree."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from flava.bases import Load, chain, with_bases
from flava.errors import ConfigError, unknown_name
from flava.params import Tree, check_name, merge, read_yaml

WHOLE = frozenset({"evaluate_jobs"})  # replaced as a whole, by a budget and over a base
OWN = ("name", "title", "scale", "budgets")  # never taken from a base


def study_tree(params: Path, name: str, budget: str | None = None) -> Tree:
    """What study `name` declares over its base, changed by one of its own budgets.

    Files of a generated toy world lie below data/<study>/raw, so such paths of a base become those
    of the study: each study generates its own.

    Raises:
        ConfigError: an unknown study, base or budget, bases that are each other's, or a name that
            is not the file's.
    """
    path = params / f"{name}.yaml"
    tree = with_bases(name, _reader(params, name), str(path), WHOLE, OWN)
    declared = chain(name, _reader(params, name), str(path))
    check_name(name, "study", str(params))
    if tree.get("name", name) != name:
        raise ConfigError(
            f"{path}: its name is {tree['name']!r}. Write `name: {name}`, as the file is called: "
            "two studies of one name would replace each other's data and results."
        )
    tree = _with_budget(tree, name, budget, str(path))
    worlds = {f"data/{study}/raw/" for study in declared}
    moved: Tree = _moved(tree, worlds, f"data/{tree.get('name')}/raw/")
    return moved


def _with_budget(tree: Tree, name: str, budget: str | None, where: str) -> Tree:
    budgets = tree.pop("budgets", {})
    if budget is None:
        return tree
    if budget not in budgets:
        raise ConfigError(unknown_name("budget", budget, list(budgets), where))
    tree = merge(tree, budgets[budget], WHOLE)
    return tree | ({"name": f"{name}-{budget}"} if "name" in tree else {})


def _moved(value: Any, folders: Collection[str], to: str) -> Any:
    """`value` with all paths in one of the folders put into `to`."""
    if isinstance(value, dict):
        return {key: _moved(each, folders, to) for key, each in value.items()}
    if isinstance(value, list):
        return [_moved(each, folders, to) for each in value]
    if isinstance(value, str):
        return next((to + value.removeprefix(f) for f in folders if value.startswith(f)), value)
    return value


def study_names(params: Path, name: str) -> list[str]:
    """The study and those that it builds on, the nearest first: all files that it is read from.

    Raises:
        ConfigError: as `study_tree`.
    """
    return list(chain(name, _reader(params, name), str(params / f"{name}.yaml")))


def _reader(params: Path, study: str) -> Load:
    def read(name: str) -> Tree:
        """What a study's own file declares."""
        if not (params / f"{name}.yaml").is_file():
            known = [p.stem for p in params.glob("*.yaml") if p.stem not in ("columns", "tasks")]
            if not known:
                raise ConfigError(f"{params.absolute()} holds no study. Run it in the checkout.")
            kind, where = "study", str(params)
            if name != study:
                kind, where = "base study", str(params / f"{study}.yaml")
            raise ConfigError(unknown_name(kind, name, known, where))
        return read_yaml(params / f"{name}.yaml")

    return read
