"""One link of the chain at a time: a file and the hash that something recorded of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from flava.checkout import git_state, has_commit
from flava.errors import DataError
from flava.io import read_json, sha256_file, sha256_json
from flava.records import Record
from workflow.modules import MODULES

WEIGHTS = "model/model.safetensors"


@dataclass(frozen=True)
class Link:
    """A file that a record or manifest names.

    Attributes:
        what: its part in the chain, e.g. "model".
        sha256: the recorded hash.
        problem: why the link is broken, a sentence; None where it holds.
    """

    what: str
    path: str
    sha256: str
    problem: str | None


@dataclass
class Files:
    """Hashes of files, each taken once."""

    _known: dict[Path, str | None] = field(default_factory=dict)

    def sha256(self, path: Path | str) -> str | None:
        """SHA-256 of a file; None where it is missing."""
        key = Path(path)
        if key not in self._known:
            self._known[key] = sha256_file(key) if key.is_file() else None
        return self._known[key]

    def link(self, what: str, path: Path | str, recorded: str, by: str) -> Link:
        """The link to a file whose hash `by` recorded."""
        found = self.sha256(path)
        return Link(what, str(path), recorded, _problem(str(path), found, recorded, by))


@dataclass
class Commits:
    """Which commits this checkout has, each asked for once."""

    _known: dict[str, bool] = field(default_factory=dict)

    def known(self, commit: str) -> bool:
        """Whether the commit is here; True where there is no git checkout to ask."""
        if commit not in self._known:
            self._known[commit] = git_state()[0] == "unknown" or has_commit(commit)
        return self._known[commit]


def json_link(what: str, path: Path | str, recorded: str, by: str) -> Link:
    """The link to a configuration whose content's hash `by` recorded."""
    found = None
    if Path(path).is_file():
        try:
            found = sha256_json(read_json(path))
        except DataError as error:
            return Link(what, str(path), recorded, str(error))
    return Link(what, str(path), recorded, _problem(str(path), found, recorded, by))


def _problem(path: str, found: str | None, recorded: str, by: str) -> str | None:
    if found is None:
        return f"{path} is missing; {by} names it."
    if found != recorded:
        return f"{path} is not the one that {by} names: sha256 {found[:12]}, not {recorded[:12]}."
    return None


def config_of(path: Path, step: str) -> Path:
    """Resolved configuration of the step that wrote the record in `path`."""
    if step == "evaluate":
        return path.with_name(f"{path.stem}.config.json")
    if step in ("leaks", "directions"):
        name = "report" if step == "directions" else step
        return path.parent / "configs" / f"{name}.json"
    if step in ("codebook", "selection", "prepare"):
        folder, study = path.parent.name, path.parent.parent.name
        name = f"prepare_{folder}" if step == "prepare" else step
        return Path("results", study, "configs", f"{name}.json")
    return path.with_name("config.json")


def command_of(record: Record, config: Path) -> str:
    """As recorded; else that of the step's own module, which does the same on one rank."""
    if record.command is not None:
        return record.command
    module = MODULES.get(record.step)
    return f"python -m {module} --config {config} (not recorded)" if module else "unknown"


def output_links(files: Files, path: Path, record: Record) -> list[Link]:
    """What the step left, as far as its record has hashes: weights, log, tokens, arrays."""
    folder, by = path.parent, str(path)
    named: dict[str, tuple[str, str]] = {}
    if record.step != "evaluate" and "model_sha256" in record.extra:
        named[WEIGHTS] = ("model", str(record.extra["model_sha256"]))
    if "log_sha256" in record.extra:
        named["log.csv"] = ("log", str(record.extra["log_sha256"]))
    if "manifest_sha256" in record.extra:
        named["manifest.json"] = ("manifest", str(record.extra["manifest_sha256"]))
    for key, what in (("tokens_sha256", "image tokens"), ("arrays_sha256", "array")):
        hashes = record.extra.get(key, {})
        named |= {f"{name}.npy": (what, str(sha256)) for name, sha256 in hashes.items()}
    return [files.link(what, folder / name, sha256, by) for name, (what, sha256) in named.items()]


def manifest_links(files: Files, path: Path, deep: bool) -> list[Link]:
    """Files of a prepared corpus: there and of the manifest's size; `deep`: hashed too.

    The tokenizers that it was prepared with are hashed always.

    Raises:
        DataError: the manifest is damaged.
    """
    value = read_json(path)
    listed = value.get("files", {}) if isinstance(value, dict) else {}
    links = []
    for name, about in sorted(listed.items()):
        file, recorded = path.parent / name, str(about["sha256"])
        size = file.stat().st_size if file.is_file() else None
        problem = None
        if size is None:
            problem = f"{file} is missing; {path} names it."
        elif size != about["bytes"]:
            problem = f"{file} has {size:,} bytes, not the {about['bytes']:,} of {path}."
        elif deep:
            problem = files.link("file", file, recorded, str(path)).problem
        links.append(Link("file", str(file), recorded, problem))
    folder = path.parent.parent / "tokenizers"
    return links + [
        files.link("tokenizer", folder / f"{name}.json", str(sha256), str(path))
        for name, sha256 in sorted(value.get("tokenizers", {}).items())
    ]
