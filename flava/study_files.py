"""The file of a study, with the study that it builds on and its budgets, as one tree."""

from __future__ import annotations

from pathlib import Path

from flava.bases import Load, chain, with_bases
from flava.errors import ConfigError, unknown_name
from flava.params import Tree, merge, read_yaml

WHOLE = frozenset({"evaluate_jobs"})  # replaced as a whole, by a budget and over a base
OWN = ("name", "title", "scale", "budgets")  # never taken from a base


def study_tree(params: Path, name: str, budget: str | None = None) -> Tree:
    """What study `name` declares over its base, changed by one of its own budgets.

    Raises:
        ConfigError: an unknown study, base or budget, bases that are each other's, or the name of
            its base.
    """
    path = params / f"{name}.yaml"
    tree = with_bases(name, _reader(params, name), str(path), WHOLE, OWN)
    for base, other in list(chain(name, _reader(params, name), str(path)).items())[1:]:
        if "name" in tree and tree["name"] == other.get("name"):
            raise ConfigError(
                f"{path}: its name '{tree['name']}' is that of its base '{base}', whose results "
                "it would replace. Give it one of its own."
            )
    budgets = tree.pop("budgets", {})
    if budget is not None:
        if budget not in budgets:
            raise ConfigError(unknown_name("budget", budget, list(budgets), str(path)))
        tree = merge(tree, budgets[budget], WHOLE)
        if "name" in tree:
            tree["name"] = f"{tree['name']}-{budget}"
    return tree


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
            kind, where = "study", str(params)
            if name != study:
                kind, where = "base study", str(params / f"{study}.yaml")
            raise ConfigError(unknown_name(kind, name, known, where))
        return read_yaml(params / f"{name}.yaml")

    return read
