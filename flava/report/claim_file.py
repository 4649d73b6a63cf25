"""The file of the paper's claims, and of pairs of one's own: `params/paper/directions.yaml`."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from flava.config import ClaimConfig
from flava.errors import ConfigError, unknown_name
from flava.jobs import parse
from flava.params import read_yaml

FILE = "directions.yaml"


def load_claims(
    folder: Path | str, columns: Collection[str] | None = None
) -> dict[str, ClaimConfig]:
    """Reads the claims of the folder of the paper's tables.

    Args:
        columns: that exist, in any study; None: names were checked when the plan was made.

    Raises:
        ConfigError: the file is missing or malformed, or names a column that does not exist.
    """
    path = Path(folder) / FILE
    claims = {
        key: parse(ClaimConfig, tree, f"{path}: {key}") for key, tree in read_yaml(path).items()
    }
    for key, claim in claims.items():
        for name in (name for pair in claim.pairs for name in pair):
            if columns is not None and name not in columns:
                raise ConfigError(unknown_name("column", name, list(columns), f"{path}: {key}"))
    return claims
