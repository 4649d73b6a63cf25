"""A disk that is full or may not be written: one sentence, and what was whole stays whole."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

BEGIN = """
import sys
from pathlib import Path
import numpy as np
from flava.errors import run_cli
folder = Path(sys.argv[1])
"""
CHECKPOINT = """
import torch
from flava.train.checkpoint import Checkpoints
checkpoints = Checkpoints(folder / "run", "c" * 64, "d" * 64, "e" * 64, keep=2)
checkpoints.save(1, {"x": torch.zeros(100_000)})
def main():
    checkpoints.save(2, {"x": torch.zeros(600_000)})
"""
CORPUS = """
from flava.io import atomic_directory
def main():
    with atomic_directory(folder / "corpus") as directory:
        np.save(directory / "a.npy", np.zeros(600_000))
"""
TOKENIZER = """
from tokenizers import Tokenizer, models
from flava.io import atomic_path
tokenizer = Tokenizer(models.WordLevel({str(i): i for i in range(200_000)}, "0"))
def main():
    with atomic_path(folder / "tokenizer.json") as path:
        tokenizer.save(str(path))
"""
UNNAMED = """
def main():
    with open(folder / "log.csv", "a") as file:
        file.write("x" * 3_000_000)
"""
FEATURES = """
from flava.evaluate.feature_cache import FeatureCache
cache = FeatureCache(folder / "features", "model")
def main():
    print(cache._kept({"images": "a"}, 4000, lambda: np.ones((4000, 300), np.float32)).shape)
"""
RANK = """
import os
from flava.io import PROBE_BYTES
from workflow.launch.step import Step
os.environ |= {"SUBMITIT_EXECUTOR": "local", "SUBMITIT_LOCAL_JOB_ID": "7"}
places = {"GLOBALRANK": 0, "LOCALRANK": 0, "NODEID": 0, "NTASKS": 1, "NNODES": 1}
os.environ |= {f"SUBMITIT_LOCAL_{name}": str(value) for name, value in places.items()}
with open(folder / "all.bin", "wb", buffering=0) as file:
    while file.write(bytes(4096)) == 4096 and file.tell() < 2 * PROBE_BYTES:
        pass
def main():
    Step("pretrian", str(folder / "config.json"), reports=str(folder / "job"))()
"""
END = """
try:
    run_cli(main)
finally:
    print(sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()))
"""


def on_a_small_disk(root: Path, folder: Path, code: str) -> subprocess.CompletedProcess[str]:
    """What Python says on a file system of 2 MB, which this process and its children see alone."""
    mount = 'mount -t tmpfs -o size=2m none "$1" && exec "$2" -c "$3" "$1"'
    alone = ["unshare", "--map-root-user", "--mount", "sh", "-c"]
    if subprocess.run([*alone, "true"], capture_output=True).returncode:
        pytest.skip("no user namespaces: no file system can be mounted")
    command = [*alone, mount, "sh", str(folder), sys.executable, BEGIN + code + END]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    return subprocess.run(command, env=environment, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("code", "named", "left"),
    [
        (CHECKPOINT, "run/update-000000002.pt", ["update-000000001.json", "update-000000001.pt"]),
        (CORPUS, "corpus", []),
        (TOKENIZER, "tokenizer.json", []),
        (UNNAMED, "A file that is written", ["log.csv"]),
    ],
    ids=["checkpoint", "corpus", "tokenizer", "log"],
)
def test_a_full_disk_is_one_sentence(
    root: Path, tmp_path: Path, code: str, named: str, left: list[str]
) -> None:
    done = on_a_small_disk(root, tmp_path, code)
    assert done.returncode == 3, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ") and f"{named}: No space left on device. Free space" in line
    assert done.stdout.strip() == str(
        [f"run/{each}" if "update" in each else each for each in left]
    )


def test_features_that_a_full_disk_does_not_keep_serve_all_the_same(
    root: Path, tmp_path: Path
) -> None:
    done = on_a_small_disk(root, tmp_path, FEATURES)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["(4000, 300)", "[]"]
    assert done.stderr.startswith("Features are not kept: ")
    assert "No space left on device" in done.stderr


def test_a_file_system_mounted_for_reading_is_one_sentence(root: Path, tmp_path: Path) -> None:
    code = """
import subprocess
from flava.io import write_json
subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
def main():
    write_json(folder / "record.json", {})
"""
    done = on_a_small_disk(root, tmp_path, code)
    assert done.returncode == 3, done.stderr
    assert "record.json" in done.stderr and "Read-only file system. Work in a folder" in done.stderr


def test_a_rank_that_cannot_tell_how_it_ended_ends_as_it_did(root: Path, tmp_path: Path) -> None:
    """Its own error is the one that counts, not that of its report to the launcher."""
    done = on_a_small_disk(root, tmp_path, RANK)
    assert done.returncode == 2, done.stderr
    warning, error = done.stderr.splitlines()
    assert warning.startswith("warning: the launcher is not told how this rank ended (refused). ")
    assert "job_0.json: No space left on device. Free space there" in warning
    assert error.startswith("error: workflow.launch: unknown step 'pretrian'.")
