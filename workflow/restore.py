"""Brings a study's files into a fresh clone: `python -m workflow.restore [--remote NAME]`.

Pulls what dvc.lock names, computes every file's hash anew, and asks Snakemake whether anything is
to be done. Snakemake's records come along, so that it compares contents and not modification times.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from flava.errors import ConfigError, DataError, FlavaError, run_cli
from flava.params import read_yaml

LOCK = Path("dvc.lock")
DVC = [sys.executable, "-m", "dvc"]
DIRECTORY = ".dir"  # ending of the hash of a folder's list of files
JOB = re.compile(r"^Job \d+: (.*)$", re.MULTILINE)
SHOWN = 5


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m workflow.restore", description=__doc__)
    parser.add_argument("--remote", help="name of a DVC remote; default: the default one")
    parser.add_argument("--no-pull", action="store_true", help="verify only what is there")
    arguments = parser.parse_args()
    if not LOCK.is_file():
        raise ConfigError(
            f"{LOCK} is missing: nothing was recorded to restore. `dvc repro` writes it; commit it."
        )
    if not arguments.no_pull:
        pull(arguments.remote)
    count, size = verify(LOCK, cache_folder())
    print(f"restored: {count} files, {size / 1e6:,.1f} MB, all with the hash in {LOCK}")
    jobs = planned()
    if jobs:
        raise DataError(
            f"Snakemake would run {len(jobs)} jobs on what was restored: {_some(jobs)}. {LOCK} is "
            "older than params/ or the code of this commit: `dvc repro` runs what changed."
        )
    print("snakemake: nothing to be done")


def pull(remote: str | None) -> None:
    """Fetches the files of dvc.lock and puts them in place.

    Raises:
        DataError: DVC could not; it has said why.
    """
    extra = [] if remote is None else ["--remote", remote]
    # Outputs of an interrupted run are overwritten: dvc.lock says what is to be there.
    command = [sys.executable, "-m", "dvc", "pull", "--force", *extra]
    if subprocess.run(command).returncode != 0:
        raise DataError(
            "`dvc pull` failed: see above. What is complete is kept; repeat the command."
        )


def cache_folder() -> Path:
    """Folder of DVC's cache of files by MD5."""
    done = subprocess.run([*DVC, "cache", "dir"], capture_output=True, text=True)
    if done.returncode != 0:
        raise ConfigError(f"`dvc cache dir` failed: {done.stderr.strip()}")
    return Path(done.stdout.strip()) / "files" / "md5"


def verify(lock: Path, cache: Path) -> tuple[int, int]:
    """Hashes every output that the lock file names; DVC itself trusts what it has just copied.

    Returns:
        Files and bytes.

    Raises:
        DataError: a file is missing or differs; names the first ones.
    """
    count, size, bad = 0, 0, list[str]()
    for path, expected in outputs(lock, cache):
        if not path.is_file():
            bad.append(f"{path} is missing")
        elif md5(path) != expected:
            bad.append(f"{path} differs")
        else:
            count, size = count + 1, size + path.stat().st_size
    if bad:
        raise DataError(
            f"{len(bad)} files are not those of {lock}: {_some(bad)}. The remote or the cache is "
            "damaged: delete .dvc/cache and pull again, or push anew from where the study ran."
        )
    return count, size


def outputs(lock: Path, cache: Path) -> Iterator[tuple[Path, str]]:
    """(file, MD5) of every output; folders are listed by a file of the cache.

    Raises:
        DataError: a folder's list is missing, or its own hash is wrong.
    """
    for stage in read_yaml(lock)["stages"].values():
        for out in stage.get("outs", ()):
            path, digest = Path(out["path"]), str(out["md5"])
            if digest.endswith(DIRECTORY):
                for entry in _entries(cache / digest[:2] / digest[2:], digest):
                    yield path / entry["relpath"], entry["md5"]
            else:
                yield path, digest


def _entries(path: Path, digest: str) -> list[dict[str, str]]:
    if not path.is_file() or md5(path) != digest.removesuffix(DIRECTORY):
        raise DataError(
            f"{path}, a list of files, is missing or damaged. Delete it and pull again."
        )
    found: list[dict[str, str]] = json.loads(path.read_text(encoding="utf-8"))
    return found


def md5(path: Path) -> str:
    """MD5 of a file's bytes, DVC's hash."""
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False))
    return digest.hexdigest()


def planned() -> list[str]:
    """Jobs that Snakemake would run, by their message.

    Raises:
        FlavaError: Snakemake could not plan; its own message is shown.
    """
    command = [sys.executable, "-m", "snakemake", "--dry-run", "--quiet", "host"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise FlavaError(f"snakemake --dry-run failed:\n{done.stdout}{done.stderr}")
    return JOB.findall(done.stdout + done.stderr)


def _some(items: list[str]) -> str:
    more = f", and {len(items) - SHOWN} more" if len(items) > SHOWN else ""
    return ", ".join(items[:SHOWN]) + more


if __name__ == "__main__":
    run_cli(main)
