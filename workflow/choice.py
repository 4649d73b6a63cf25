"""Which study runs: `params.yaml`, or the command line of one Snakemake call."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, PositiveInt

from flava.config import Strict
from flava.errors import ConfigError, unknown_name
from flava.io import atomic_path
from flava.jobs import parse
from flava.params import read_yaml

FILE = Path("params.yaml")
# Of Snakemake's configuration, not of the choice.
OTHER_KEYS = ("budget_gpu_hours", "cluster", "study_shown")
TEXT = """\
# What `snakemake` and `dvc repro` run; `--config study=...` overrides it for one snakemake call.
# Written with dvc.yaml by `python -m workflow.pipeline STUDY` (docs/dvc.md).
study: {study}
budget: {budget}
seeds: {seeds}
release: {release}
"""


class Choice(Strict):
    """The study that `snakemake` and `dvc repro` run."""

    study: str = Field(description="a file of params/")
    budget: str | None = Field(None, description="one of the study's budgets")
    seeds: PositiveInt | None = Field(None, description="how many; none: those the study lists")
    release: bool = Field(False, description="pages refuse results of no single commit")

    @property
    def name(self) -> str:
        """Of the study with its budget: its folder of `results/`."""
        return f"{self.study}-{self.budget}" if self.budget else self.study


def read_choice(path: Path = FILE) -> Choice:
    """The choice in `params.yaml`.

    Raises:
        ConfigError: the file is missing or malformed, a key is unknown or has a bad value.
    """
    return parse(Choice, read_yaml(path), str(path))


def write_choice(choice: Choice, path: Path = FILE) -> None:
    """Writes `params.yaml`, with its comments."""
    values = {key: json.dumps(value) for key, value in choice.model_dump().items()}
    with atomic_path(path) as temporary:
        temporary.write_text(TEXT.format(**values | {"study": choice.study}), encoding="utf-8")


def chosen(config: Mapping[str, Any], path: Path = FILE) -> dict[str, Any]:
    """Arguments of `Plan.load`.

    Args:
        config: what `--config` gives. With a study given there, nothing is taken from the file: its
            other keys belong to its own study.
        path: of the file with the choice.

    Raises:
        ConfigError: an unknown key; or as `read_choice`, where the file is needed.
    """
    known = [*Choice.model_fields, *OTHER_KEYS]
    for key in config:
        if key not in known:
            raise ConfigError(unknown_name("key", key, known, "--config"))
    file = {} if "study" in config else read_choice(path).model_dump()
    return {**file, **{key: config[key] for key in Choice.model_fields if key in config}}
