"""Reads `params/*.yaml`, and lays one tree of settings over another."""

from __future__ import annotations

import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from flava.errors import ConfigError

Tree = dict[str, Any]
MERGE = "tag:yaml.org,2002:merge"  # the key "<<"


class _Loader(yaml.SafeLoader):
    """Safe YAML that gives what JSON can hold, and refuses a key given twice.

    As in YAML 1.2, 1e-3 is a number and 2017-09-01 a text.
    """


def _unique_mapping(loader: _Loader, node: yaml.MappingNode) -> Tree:
    _refuse_doubles(loader, node)
    loader.flatten_mapping(node)  # what is merged in comes first, so that a key given here wins
    return {
        loader.construct_object(key, deep=True): loader.construct_object(value, deep=True)
        for key, value in node.value
    }


def _refuse_doubles(loader: _Loader, node: yaml.MappingNode) -> None:
    seen = set[Any]()
    for key_node, _ in node.value:
        if key_node.tag == MERGE:
            continue
        key = loader.construct_object(key_node, deep=True)
        where = f"{node.start_mark.name}, line {key_node.start_mark.line + 1}"
        if not isinstance(key, Hashable):
            raise ConfigError(f"{where}: a list or mapping is no key. Write a name before ':'.")
        if key in seen:
            raise ConfigError(f"{where}: key '{key}' is given twice. Keep one.")
        seen.add(key)


def _refuse_tag(loader: _Loader, node: yaml.Node) -> None:
    where = f"{node.start_mark.name}, line {node.start_mark.line + 1}"
    raise ConfigError(f"{where}: no setting is of type {node.tag}. Leave the tag out.")


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _unique_mapping)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"),
    list("-+0123456789"),
)
_TIMESTAMP = "tag:yaml.org,2002:timestamp"
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != _TIMESTAMP]
    for first, resolvers in _Loader.yaml_implicit_resolvers.items()
}
for _tag in (_TIMESTAMP, "tag:yaml.org,2002:binary", "tag:yaml.org,2002:set"):
    _Loader.add_constructor(_tag, _refuse_tag)


def read_yaml(path: Path) -> Tree:
    """Reads a YAML mapping.

    Raises:
        ConfigError: the file is missing, a folder, no YAML or no mapping, or repeats a key.
    """
    try:
        with open(path, encoding="utf-8") as file:
            tree = yaml.load(file, Loader=_Loader)  # noqa: S506 - a SafeLoader subclass
    except FileNotFoundError:
        raise ConfigError(f"{path} is missing. Restore it, or name another.") from None
    except IsADirectoryError:
        raise ConfigError(f"{path} is a folder. Name a YAML file.") from None
    # What else YAML raises: no UTF-8, numbers that are none, deep nesting.
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(
            f"{path} is not valid YAML: {error}. Mend that place; other files of params/ show how "
            "keys are written."
        ) from None
    if not isinstance(tree, dict):
        raise ConfigError(
            f"{path} must be a mapping of keys to values. Write lines of the form `key: value`."
        )
    return tree


def merge(base: Tree, changes: Tree, replace: frozenset[str] = frozenset()) -> Tree:
    """`base` with `changes` laid over it, mapping by mapping; keys in `replace` are replaced."""
    merged = dict(base)
    for key, value in changes.items():
        deep = isinstance(value, dict) and isinstance(merged.get(key), dict) and key not in replace
        merged[key] = merge(merged[key], value) if deep else value
    return merged


def check_name(name: str, kind: str, where: str) -> None:
    """Refuses a name that cannot be part of a file's name in the DAG (Snakefile).

    Raises:
        ConfigError: other letters than a to z, digits and underscores.
    """
    if not re.fullmatch(r"[a-z0-9_]+", name):
        raise ConfigError(
            f"{where}: {kind} '{name}' must be named with small letters a to z, digits and "
            "underscores alone: files are called by it."
        )
