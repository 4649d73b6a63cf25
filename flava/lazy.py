"""Functions named as `module:function`, whose modules are imported when they are needed.

Registries name them so: planning checks names without importing torch. `flava/fingerprint.py`
follows such a name as it does an import.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any


def function(name: str) -> Any:
    """The function that `name`, a `module:function` of this package, stands for."""
    module, _, attribute = name.partition(":")
    return getattr(import_module(module), attribute)
