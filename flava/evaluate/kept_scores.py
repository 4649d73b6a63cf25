"""Scores of the tasks that a job has finished, on disk until the job has written them all.

A process that goes on with the job takes them over where it would compute the same: from the same
configuration, model, tokenizer, examples and code, with the same libraries, on the same kind of
device. Others are computed anew.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import PIL
import torch

from flava.config import NonNegativeFloat, Strict
from flava.errors import FlavaError
from flava.evaluate.features import device
from flava.evaluate.scores import Score
from flava.fingerprint import fingerprint
from flava.io import read_json, sha256_file, sha256_json, write_json
from flava.jobs import EvaluateJob, parse
from flava.records import DataUse, Earlier


class Kept(Strict):
    """Content of `<job's checkpoints>/<task>.scores.json`."""

    made_of: str
    scores: list[Score]
    seconds: NonNegativeFloat
    account: dict[str, Any]


@dataclass(frozen=True)
class KeptScores:
    """The kept scores of one job.

    Attributes:
        folder: of the job's checkpoints.
        made_of: hash of all that decides the scores but a task's examples.
    """

    folder: Path
    made_of: str

    @classmethod
    def of(cls, job: EvaluateJob, weights: str) -> KeptScores:
        """Those of a job by this code; `weights`: SHA-256 of its model's file."""
        files = Path(job.model) / "config.json", job.tokenizer_path
        parts = {
            "job": job.model_dump(mode="json"),
            "files": [weights, *(sha256_file(path) for path in files)],
            "code": fingerprint("flava.evaluate.run"),
            "with": [torch.__version__, PIL.__version__, device().type],
        }
        return cls(Path(job.checkpoints), sha256_json(parts))

    def read(self, task: str, use: DataUse, earlier: Earlier) -> list[Score] | None:
        """Scores that an earlier process found on the same examples, which `earlier` is told of."""
        path = self._path(task)
        if not path.is_file():
            return None
        try:
            kept = parse(Kept, read_json(path), str(path))
        except FlavaError as error:
            print(f"warning: {task} is scored anew: {error}", file=sys.stderr)
            return None
        if kept.made_of != self.of_examples(use):
            return None
        earlier.add(kept.seconds, kept.account)
        print(f"{task}: scored by an earlier process", file=sys.stderr, flush=True)
        return kept.scores

    def write(
        self, task: str, use: DataUse, scores: list[Score], seconds: float, earlier: Earlier
    ) -> None:
        """Keeps a finished task's scores, and who worked on them for how many seconds."""
        kept = Kept(
            made_of=self.of_examples(use), scores=scores, seconds=seconds, account=earlier.account()
        )
        write_json(self._path(task), kept.model_dump(mode="json"))

    def of_examples(self, use: DataUse) -> str:
        """Hash of all that decides a task's scores."""
        return sha256_json([self.made_of, use.sha256])

    def _path(self, task: str) -> Path:
        return self.folder / f"{task}.scores.json"
