"""What a study leaves, compared bit for bit with what it leaves undisturbed."""

from __future__ import annotations

from pathlib import Path

from flava.io import read_json, sha256_file, sha256_json

FOLDERS = ("data/smoke", "results/smoke")


def results(project: Path) -> dict[str, str]:
    """Path -> SHA-256 of all weights, cached image tokens and prepared shards; of scores, the
    hash of the values, since the record beside them has times and job ids."""
    found = {}
    for folder in FOLDERS:
        for path in sorted((project / folder).rglob("*")):
            name = str(path.relative_to(project))
            if path.suffix in (".safetensors", ".npy", ".tar"):
                found[name] = sha256_file(path)
            elif path.parent.name == "evaluate" and is_scores(path.name):
                found[name] = sha256_json({**read_json(path), "record": None})
    return found


def is_scores(name: str) -> bool:
    """Whether a file beside the configurations of evaluate jobs has their scores."""
    return name.endswith(".json") and not name.endswith((".config.json", ".job.json"))


def kind(name: str) -> str:
    """What a path is, for a summary."""
    if name.endswith("model.safetensors"):
        return "weights"
    return "scores" if name.endswith(".json") else "prepared data"


def losses(found: dict[str, str], wanted: dict[str, str]) -> list[str]:
    """One line for each result that is absent, differs, or should not be there."""
    absent = [f"{name} is absent" for name in wanted if name not in found]
    other = [f"{name} differs" for name, value in wanted.items() if found.get(name, value) != value]
    extra = [f"{name} is not of the undisturbed study" for name in found if name not in wanted]
    return absent + other + extra
