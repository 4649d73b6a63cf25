"""What a run reads, and the hashes that tie its checkpoints to it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from flava.errors import DataError
from flava.io import sha256_file, sha256_json
from flava.jobs import RunConfig
from flava.records import load_record


def config_sha256(run: RunConfig) -> str:
    """Hash of the resolved configuration."""
    return sha256_json(run.model_dump(mode="json"))


def data_sha256(run: RunConfig) -> str:
    """Hash over the manifests, the tokenizer and the image tokens that the run reads.

    Token arrays can be tens of GB, so their hash is taken from the codebook's record, which was
    written after them.

    Raises:
        DataError: one of the files is missing or malformed.
    """
    hashes: dict[str, Any] = {str(path): _hash(path) for path in manifests(run)}
    hashes["tokenizer"] = _hash(Path(run.tokenizer_path))
    for kind, path in run.image_tokens.items():
        record = load_record(Path(path).with_name("record.json"))
        hashes[f"image_tokens.{kind}"] = record.extra["tokens_sha256"][kind]
    return sha256_json(hashes)


def manifests(run: RunConfig) -> list[Path]:
    """Manifests of the corpora in use."""
    return [Path(folder) / "manifest.json" for folder in run.corpora.values()]


def parent_records(run: RunConfig) -> list[Path]:
    """Records of the steps whose outputs the run reads."""
    return sorted({Path(path).with_name("record.json") for path in run.image_tokens.values()})


def _hash(path: Path) -> str:
    try:
        return sha256_file(path)
    except FileNotFoundError:
        raise DataError(f"{path} is missing. Run the step that makes it first.") from None
