"""What a run reads, and the hashes that tie its checkpoints to it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flava.errors import DataError
from flava.io import sha256_file
from flava.records import load_record


def file_hashes(paths: list[Path]) -> dict[str, str]:
    """SHA-256 of small files: manifests and tokenizers.

    Raises:
        DataError: one of them is missing.
    """
    return {str(path): _hash(path) for path in paths}


def token_hashes(image_tokens: Mapping[str, str]) -> dict[str, str]:
    """SHA-256 of token arrays, and of the published encoder that made them, if one did.

    They can be tens of GB, so it is taken from the codebook's record, written after them.

    Raises:
        DataError: the record is missing or malformed.
    """
    hashes = {}
    for corpus, path in image_tokens.items():
        record = Path(path).with_name("record.json")
        hashes[f"image_tokens.{corpus}"] = str(_recorded(record, "tokens_sha256", corpus))
        if "published" in load_record(record).extra:
            hashes["image_tokens.published"] = str(_recorded(record, "published", "sha256"))
    return hashes


def model_hashes(records: list[Path]) -> dict[str, str]:
    """SHA-256 of the models that these records are about.

    Raises:
        DataError: a record is missing or malformed.
    """
    return {str(path): str(_recorded(path, "model_sha256")) for path in records}


def manifests(corpora: Mapping[str, str]) -> list[Path]:
    """Manifests of prepared corpora."""
    return [Path(folder) / "manifest.json" for folder in corpora.values()]


def token_records(image_tokens: Mapping[str, str]) -> list[Path]:
    """Records of the step that made the image tokens."""
    return sorted({Path(path).with_name("record.json") for path in image_tokens.values()})


def selection_records(selection: str | None) -> list[Path]:
    """Record of the selection set in this folder; none without one."""
    return [] if selection is None else [Path(selection) / "record.json"]


def selection_hashes(selection: str | None) -> dict[str, Any]:
    """SHA-256 of the arrays of the selection set in this folder; none without one.

    Raises:
        DataError: the record is missing or malformed.
    """
    return {str(path): _recorded(path, "arrays_sha256") for path in selection_records(selection)}


def _recorded(path: Path, *keys: str) -> Any:
    """What a step's record says under `keys` of its `extra`."""
    value: Any = load_record(path).extra
    for key in keys:
        if not isinstance(value, Mapping) or key not in value:
            raise DataError(
                f"{path} has no extra.{'.'.join(keys)}, a hash of what its step left. "
                "Run that step again."
            )
        value = value[key]
    return value


def _hash(path: Path) -> str:
    try:
        return sha256_file(path)
    except FileNotFoundError:
        raise DataError(f"{path} is missing. Run the step that makes it first.") from None
