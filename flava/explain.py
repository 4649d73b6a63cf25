"""Turns a pydantic error into one paragraph: file, key, what is wrong, nearest valid name."""

from __future__ import annotations

from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from flava.errors import unknown_name

SHOWN = 5


def describe(error: ValidationError, cls: type[BaseModel], where: str) -> str:
    """One paragraph that names `where`, up to 5 bad keys, what is wrong and what is allowed."""
    items = error.errors()
    told = " ".join(_sentence(dict(item), cls, where) for item in items[:SHOWN])
    left = len(items) - SHOWN
    return f"{told} And {left} more: mend these first." if left > 0 else told


def _sentence(item: dict[str, Any], cls: type[BaseModel], where: str) -> str:
    loc = tuple(item["loc"])
    key = ".".join(str(part) for part in loc) or "the file"
    if item["type"] == "extra_forbidden":
        allowed = sorted(_fields_at(cls, loc[:-1]))
        parent = ".".join(str(part) for part in loc[:-1])
        return unknown_name("key", str(loc[-1]), allowed, f"{where}: {parent}" if parent else where)
    if item["type"] == "missing":
        return f"{where}: key '{key}' is missing. Add it."
    message = str(item["msg"]).removeprefix("Value error, ")
    given = item.get("input")
    shown = f" (given: {given!r})" if isinstance(given, str | int | float | bool) else ""
    return f"{where}: key '{key}': {message}{shown}."


def _fields_at(cls: type[BaseModel], loc: tuple[Any, ...]) -> set[str]:
    """Field names of the model that `loc` leads to; empty where it leads to none."""
    annotation: Any = cls
    for part in loc:
        models = _models(annotation)
        field = next((m.model_fields[part] for m in models if part in m.model_fields), None)
        annotation = field.annotation if field else _item_type(annotation)
    return {name for model in _models(annotation) for name in model.model_fields}


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if get_origin(annotation) in (Union, UnionType):
        return [model for part in get_args(annotation) for model in _models(part)]
    return []


def _item_type(annotation: Any) -> Any:
    """Element type of a list or dict annotation, also inside Optional."""
    if get_origin(annotation) in (Union, UnionType):
        return next((_item_type(p) for p in get_args(annotation) if get_args(p)), None)
    arguments = get_args(annotation)
    return arguments[-1] if arguments else None
