"""State of a TorchScript archive, such as OpenAI's CLIP, without compiling or running its code.

The archive is a zip: `data.pkl` pickles the module tree, whose classes are TorchScript code under
`code/`, and `data/<key>` holds the tensors. Here each class becomes a passive record of attributes.
"""

from __future__ import annotations

import io
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

DTYPES = {
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "BoolStorage": torch.bool,
}


class _Module:
    """A module of the archive: attributes only."""

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.attributes = dict(state)


class _Storage(str):
    """Name of a storage type."""


def is_torchscript(path: Path) -> bool:
    """Whether the file is a TorchScript archive rather than one of `torch.save`."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def read_torchscript(path: Path) -> dict[str, Tensor]:
    """State dict of the module in the archive: parameters and buffers by their dotted names.

    Raises:
        pickle.UnpicklingError: the pickle asks for anything but modules and tensors.
        KeyError, ValueError, zipfile.BadZipFile: the archive is damaged.
    """
    with zipfile.ZipFile(path) as archive:
        root = next(name for name in archive.namelist() if name.endswith("/constants.pkl"))
        reader = _Reader(archive, root.removesuffix("constants.pkl"))
        module = reader.load()
    state: dict[str, Tensor] = {}
    _collect(module, "", state)
    return state


def _collect(module: Any, prefix: str, state: dict[str, Tensor]) -> None:
    if not isinstance(module, _Module):
        raise pickle.UnpicklingError("the archive does not hold a module")
    for name, value in module.attributes.items():
        if isinstance(value, Tensor):
            state[prefix + name] = value
        elif isinstance(value, _Module):
            _collect(value, f"{prefix}{name}.", state)


class _Reader(pickle.Unpickler):
    """Builds `_Module`s and tensors; every other global is refused."""

    def __init__(self, archive: zipfile.ZipFile, folder: str) -> None:
        super().__init__(io.BytesIO(archive.read(f"{folder}data.pkl")))
        self._archive, self._folder = archive, folder

    def find_class(self, module: str, name: str) -> Any:
        if module.split(".")[0] == "__torch__":
            return _Module
        if module == "torch" and name in DTYPES:
            return _Storage(name)
        if (module, name) not in ALLOWED:
            raise pickle.UnpicklingError(f"global {module}.{name} is not allowed")
        return ALLOWED[module, name]

    def persistent_load(self, pid: Any) -> Tensor:
        kind, storage, key, _, count = pid
        if kind != "storage" or not isinstance(storage, _Storage) or not str(key).isalnum():
            raise pickle.UnpicklingError(f"type {kind} is not a storage of the archive")
        data = bytearray(self._archive.read(f"{self._folder}data/{key}"))
        flat = torch.frombuffer(data, dtype=DTYPES[storage]) if data else torch.empty(0)
        if flat.numel() < count:
            raise ValueError(f"data/{key} is shorter than its tensor")
        return flat


def _tensor(
    storage: Tensor, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any
) -> Tensor:
    return torch.as_strided(storage, size, stride, offset).clone()


ALLOWED: dict[tuple[str, str], Callable[..., Any]] = {
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_parameter"): lambda data, *_: data,
    ("torch.jit._pickle", "restore_type_tag"): lambda value, _: value,
    ("torch.jit._pickle", "build_intlist"): list,
    ("torch.jit._pickle", "build_doublelist"): list,
    ("torch.jit._pickle", "build_boollist"): list,
    ("torch.jit._pickle", "build_tensorlist"): list,
    ("collections", "OrderedDict"): OrderedDict,
}
