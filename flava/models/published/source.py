"""Where published weights lie: a file, a model folder, or the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import huggingface_hub
from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, LocalEntryNotFoundError

from flava.config import WeightsConfig
from flava.config.inits import HUB_SOURCE
from flava.data.paths import expand
from flava.errors import CheckpointError, DataError
from flava.io import read_json, sha256_file

# In the order of preference: safetensors cannot hold code.
FILES = (
    "model.safetensors",
    "open_clip_model.safetensors",
    "pytorch_model.bin",
    "open_clip_pytorch_model.bin",
)


class Located(NamedTuple):
    """A weights file and the JSON files beside it, where there are any.

    `revision` is the commit of the hub's repository, None for a local file.
    """

    file: Path
    sha256: str
    revision: str | None
    config: dict[str, Any] | None
    preprocessor: dict[str, Any] | None


def locate(weights: WeightsConfig) -> Located:
    """Finds the weights file, downloading it for a hub name, and checks its hash.

    Raises:
        CheckpointError: nothing is there, the hub cannot be reached, or the hash differs.
    """
    match = HUB_SOURCE.fullmatch(weights.source)
    file = _from_hub(weights.source, **match.groupdict()) if match else _local(weights.source)
    return _located(file, weights.sha256, _commit(file) if match else None)


def locate_folder(folder: str, sha256: str | None) -> Located:
    """Finds the weights file of a model folder on this machine, and checks its hash.

    Raises:
        CheckpointError: the folder is missing or has none, or the hash differs.
        DataError: an environment variable of its path is not set.
    """
    path = expand(folder)
    if not path.is_dir():
        raise CheckpointError(
            f"{path} is no folder. Set `path` to the folder of the published weights; nothing is "
            "downloaded."
        )
    return _located(_in_folder(path), sha256, None)


def _located(file: Path, expected: str | None, revision: str | None) -> Located:
    sha256 = sha256_file(file)
    if expected not in (None, sha256):
        raise CheckpointError(
            f"{file} has SHA-256 {sha256}, but the study asks for {expected}. The download "
            "is damaged or it is another file: fetch it again, or correct `sha256`."
        )
    beside = [_beside(file, name) for name in ("config.json", "preprocessor_config.json")]
    return Located(file, sha256, revision, *beside)


def local_sha256(weights: WeightsConfig) -> str | None:
    """SHA-256 of the weights file; None for a hub name and where no such file is (any more)."""
    if HUB_SOURCE.fullmatch(weights.source):
        return None
    try:
        return sha256_file(_local(weights.source))
    except CheckpointError:
        return None


def _local(source: str) -> Path:
    path = expand(source)
    if path.is_file():
        return path
    if not path.is_dir():
        raise CheckpointError(
            f"{path} is missing. Set `source` to a weights file, a model folder or "
            "hub:<owner>/<name>."
        )
    return _in_folder(path, " Set `source` to the file if it has another name.")


def _in_folder(path: Path, hint: str = "") -> Path:
    for name in FILES:
        if (path / name).is_file():
            return path / name
    raise CheckpointError(
        f"{path} has no weights file: looked for {', '.join(FILES)}. Weights in several shards "
        "are not read: save them as one file.{hint}"
    )


def _beside(file: Path, name: str) -> dict[str, Any] | None:
    path = file.with_name(name)
    if not path.is_file():
        return None
    try:
        values = read_json(path)
    except DataError as error:
        raise CheckpointError(str(error)) from None
    if not isinstance(values, dict):
        raise CheckpointError(f"{path} holds no JSON object. Fetch the model folder again.")
    return values


def _from_hub(source: str, repository: str, file: str | None, revision: str | None) -> Path:
    """The local cache is asked first, so that machines without network work once it is filled."""
    for name in FILES if file is None else (file,):
        for offline in (True, False):
            found = _download(source, repository, name, revision, offline)
            if found is None:
                continue
            for beside in ("config.json", "preprocessor_config.json"):
                _download(source, repository, str(Path(name).with_name(beside)), revision, offline)
            return found
    raise CheckpointError(
        f"'{source}': the hub's repository has no {file or ' or '.join(FILES)}. "
        "Name the file: hub:<owner>/<name>/<file>."
    )


def _commit(cached: Path) -> str:
    """The hub's cache is .../snapshots/<commit>/<file>."""
    parts = cached.parts
    return parts[parts.index("snapshots") + 1]


def _download(
    source: str, repository: str, name: str, revision: str | None, offline: bool
) -> Path | None:
    """The cached file; None if the repository, or offline the cache, does not have it."""
    try:
        return Path(
            huggingface_hub.hf_hub_download(
                repository, name, revision=revision, local_files_only=offline
            )
        )
    except LocalEntryNotFoundError:
        if offline:
            return None
    except EntryNotFoundError:
        return None
    except HfHubHTTPError as error:
        raise CheckpointError(
            f"'{source}' cannot be had from the hub ({error}). Check the name and revision; a "
            "gated repository needs `hf auth login` first."
        ) from None
    except OSError:
        pass
    raise CheckpointError(
        f"'{source}' is not in the local cache and the hub cannot be reached. Where there is "
        f"network, run `hf download {repository} --local-dir <folder>`, copy the folder here and "
        "set `source` to it."
    )
