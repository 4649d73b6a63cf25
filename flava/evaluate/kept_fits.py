"""Fits of a search for lambda, on disk until its task's scores are kept.

A process that goes on with the job takes them over where it would compute the same, as it does with
scores (flava/evaluate/kept_scores.py), and ends with the same scores.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from flava.evaluate.finetune_state import Saving
from flava.evaluate.logistic_problem import LogisticRegression
from flava.io import atomic_path
from flava.records import Earlier


@dataclass(frozen=True)
class Fitted:
    """One penalty's fit and its validation score."""

    model: LogisticRegression
    score: float


@dataclass
class KeptFits:
    """Those of one sweep.

    Attributes:
        path: of their file; None: nothing is kept.
        made_of: hash of all that decides them.
        fits: index of the penalty in the grid -> its fit, as it was or was added.
        earlier: what processes did of this sweep before this one.
    """

    path: Path | None = None
    made_of: str = ""
    fits: dict[int, Fitted] = field(default_factory=dict)
    earlier: Earlier = field(default_factory=Earlier)
    begun: float = field(default_factory=time.monotonic)

    @classmethod
    def of(cls, saving: Saving | None, number: int) -> KeptFits:
        """Of sweep `number` of a task; `saving.earlier` is told who found what is there."""
        if saving is None:
            return cls()
        kept = cls(saving.folder / f"sweep-{number}.npz", saving.made_of)
        kept._read()
        saving.earlier.join(kept.earlier)
        return kept

    def add(self, index: int, fitted: Fitted) -> None:
        """Keeps one more fit."""
        self.fits[index] = fitted
        if self.path is None:
            return
        facts = {
            "made_of": self.made_of,
            "seconds": self.earlier.seconds + time.monotonic() - self.begun,
            "account": self.earlier.account(),
            "fits": {
                i: [each.score, each.model.iterations, each.model.converged]
                for i, each in self.fits.items()
            },
        }
        arrays: dict[str, Any] = {"facts": np.array(json.dumps(facts))}
        arrays |= {f"weights_{i}": each.model.weights_CD for i, each in self.fits.items()}
        arrays |= {f"intercept_{i}": each.model.intercept_C for i, each in self.fits.items()}
        with atomic_path(self.path) as temporary, open(temporary, "wb") as file:
            np.savez(file, **arrays)

    def _read(self) -> None:
        assert self.path is not None
        if not self.path.is_file():
            return
        try:
            with np.load(self.path, allow_pickle=False) as arrays:
                facts = json.loads(str(arrays["facts"]))
                if facts["made_of"] != self.made_of:
                    return
                found = {int(i): _fitted(arrays, i, *each) for i, each in facts["fits"].items()}
        except (OSError, ValueError, KeyError, TypeError, EOFError, BadZipFile) as error:
            text = f"warning: {self.path} is damaged ({error}): its fits are made anew"
            print(text, file=sys.stderr, flush=True)
            return
        self.fits = found
        self.earlier.add(facts["seconds"], facts["account"])
        print(f"{len(found)} fits of an earlier process", file=sys.stderr, flush=True)


def _fitted(
    arrays: Mapping[str, Any], index: str, score: float, iterations: int, converged: bool
) -> Fitted:
    weights_CD, intercept_C = arrays[f"weights_{index}"], arrays[f"intercept_{index}"]
    return Fitted(LogisticRegression(weights_CD, intercept_C, iterations, converged), score)
