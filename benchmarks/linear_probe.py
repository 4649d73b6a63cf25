"""The whole sweep of a linear probe, ours against scikit-learn's logistic regression.

python -m benchmarks.linear_probe [--repeats 2] [--tight]

All fit every penalty that CLIP's search visits and then train + validation at the chosen one; with
--tight, scikit-learn does so a second time from float64 features, with a small tolerance and warm
starts (it works in the features' precision, and float32 keeps it from the minimum).
Features are synthetic: normal with a power-law spectrum (principal variance i is 1 / i), class
means of the same spectrum, each example normalised as a final LayerNorm does. Contestants take
turns in one process; times are minima over the rounds.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import sklearn
from scipy.special import log_softmax
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression as Reference

from benchmarks.machine import describe
from flava.config import ProbeConfig
from flava.evaluate.features import FeatureArray, device
from flava.evaluate.linear_probe import sweep
from flava.evaluate.logistic import fit
from flava.evaluate.logistic_problem import LogisticRegression, Problem
from flava.evaluate.taskdata import FloatArray, IntArray

TIGHT = 1e-14  # of scikit-learn, where it is to come as close to the minimum as it can
APART = 0.25  # of class means, in within-class deviations: about 80 % of held-out examples right


@dataclass(frozen=True)
class Data:
    """Training, validation and test features (N, D) with their labels."""

    features: list[FeatureArray] | list[FloatArray]
    labels: list[IntArray]
    n_classes: int

    @classmethod
    def make(cls, examples: int, width: int, n_classes: int, seed: int = 0) -> Data:
        """`examples` for training, a fifth of that for validation and as many to test."""
        random = np.random.default_rng(seed)
        deviation_D = np.arange(1, width + 1) ** -0.5
        basis_DD = np.linalg.qr(random.normal(size=(width, width)))[0]
        sizes = [examples, examples // 5, examples // 5]
        labels_N = random.integers(0, n_classes, sum(sizes))
        means_CD = APART * random.normal(size=(n_classes, width)) * deviation_D
        noise_ND = random.normal(size=(sum(sizes), width)) * deviation_D
        found_ND = (means_CD[labels_N] + noise_ND) @ basis_DD.T
        found_ND -= found_ND.mean(axis=1, keepdims=True)
        found_ND /= found_ND.std(axis=1, keepdims=True)
        cuts = np.cumsum(sizes)[:-1]
        features = np.split(found_ND.astype(np.float32), cuts)
        return cls(features, np.split(labels_N, cuts), n_classes)

    @property
    def both(self) -> tuple[FeatureArray, IntArray]:
        """Train + validation."""
        return np.concatenate(self.features[:2]), np.concatenate(self.labels[:2])


@dataclass
class Result:
    """What a contestant found; `fits` has weights and intercepts of each penalty."""

    seconds: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)
    penalty: float = 0.0
    accuracy: float = 0.0
    fits: dict[float, tuple[FloatArray, FloatArray]] = field(default_factory=dict)


def ours(data: Data, _: list[float], result: Result) -> None:
    """The sweep and the refit of flava.evaluate."""
    held_ND, held_N = data.features[1], data.labels[1]

    def score(model: LogisticRegression) -> float:
        models.append(model)
        return float(np.mean(model.predict(held_ND) == held_N))

    config, models = ProbeConfig(), list[LogisticRegression]()
    found = sweep(Problem.of(data.features[0], data.labels[0], data.n_classes), score, config)
    problem = Problem.of(*data.both, data.n_classes)
    final = fit(problem, found.penalty, config.max_iterations, [found.model])
    result.penalty = found.penalty
    result.accuracy = float(np.mean(final.predict(data.features[2]) == data.labels[2]))
    result.fits = {
        penalty: (model.weights_CD, model.intercept_C)
        for penalty, model in zip(found.visited, models, strict=True)
    }


def reference(data: Data, visited: list[float], result: Result) -> None:
    """scikit-learn at the penalties that ours visited, from zero each, as its users do."""
    sweep_reference(data, visited, result, lambda: Reference(max_iter=1000))


def tight_reference(data: Data, visited: list[float], result: Result) -> None:
    """The same to the minimum: float64, a small tolerance, each fit from its stronger neighbour."""
    exact = [features_ND.astype(np.float64) for features_ND in data.features]
    data = Data(exact, data.labels, data.n_classes)
    model = Reference(max_iter=100_000, tol=TIGHT, warm_start=True)
    sweep_reference(data, sorted(visited, reverse=True), result, lambda: model)


def sweep_reference(
    data: Data, visited: list[float], result: Result, make: Callable[[], Reference]
) -> None:
    """Fits every penalty, then train + validation at the best one."""
    scores = {}
    for penalty in visited:
        model = make().set_params(C=1 / penalty).fit(data.features[0], data.labels[0])
        scores[penalty] = model.score(data.features[1], data.labels[1])
        result.fits[penalty] = model.coef_.copy(), model.intercept_.copy()
    result.penalty = max(scores, key=lambda penalty: (scores[penalty], penalty))
    final = make().set_params(C=1 / result.penalty).fit(*data.both)
    result.accuracy = final.score(data.features[2], data.labels[2])


def value(data: Data, penalty: float, weights_CD: FloatArray, intercept_C: FloatArray) -> float:
    """The objective in float64."""
    labels_N, weights_CD = data.labels[0], weights_CD.astype(np.float64)
    log_p_NC = log_softmax(data.features[0] @ weights_CD.T + intercept_C, axis=1)
    loss = -log_p_NC[np.arange(len(labels_N)), labels_N].sum()
    return float(loss + penalty / 2 * np.square(weights_CD).sum())


def gaps(data: Data, result: Result, lowest: dict[float, float]) -> list[float]:
    """Relative distance of each fit from the lowest objective that is known."""
    return [
        value(data, penalty, weights_CD, intercept_C) / lowest[penalty] - 1
        for penalty, (weights_CD, intercept_C) in result.fits.items()
    ]


def timed(run: Callable[[], object], result: Result, name: str) -> None:
    """Runs a contestant and keeps its wall and processor seconds."""
    wall, processor = time.perf_counter(), time.process_time()
    run()
    result.seconds.append(time.perf_counter() - wall)
    result.processor.append(time.process_time() - processor)
    print(
        f"{name}: {result.seconds[-1]:.1f} s, processor {result.processor[-1]:.1f} s",
        file=sys.stderr,
        flush=True,
    )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Sweeps of a linear probe.")
    parser.add_argument("--examples", type=int, default=5000)
    parser.add_argument("--width", type=int, default=768)
    parser.add_argument("--classes", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--tight", action="store_true", help="scikit-learn to the minimum too")
    given = parser.parse_args()
    data = Data.make(given.examples, given.width, given.classes)
    contestants = {"ours": ours, "scikit-learn": reference}
    if given.tight:
        contestants["scikit-learn, to the minimum"] = tight_reference
    results = {name: Result() for name in contestants}
    warnings.simplefilter("ignore", ConvergenceWarning)
    for _ in range(given.repeats):
        for name, run in contestants.items():
            visited = list(results["ours"].fits)
            timed(partial(run, data, visited, results[name]), results[name], name)
    print(describe(device()))
    report(data, results)


def report(data: Data, results: dict[str, Result]) -> None:
    """One line a contestant."""
    visited = results["ours"].fits
    lowest = {
        penalty: min(value(data, penalty, *r.fits[penalty][:2]) for r in results.values())
        for penalty in visited
    }
    best = results["ours"]
    print(f"{len(visited)} penalties; scikit-learn {sklearn.__version__}")
    print("| contestant | test accuracy | lambda | largest gap | s | processor s | times ours |")
    print("|---|---|---|---|---|---|---|")
    for name, result in results.items():
        print(
            f"| {name} | {result.accuracy:.1%} | {result.penalty:.3g} | "
            f"{max(gaps(data, result, lowest)):.1e} | {min(result.seconds):.1f} | "
            f"{min(result.processor):.1f} | {min(result.seconds) / min(best.seconds):.1f} |"
        )
    print("| gap at lambda | " + " | ".join(results) + " |\n|---|" + "---|" * len(results))
    by_name = {
        name: dict(zip(result.fits, gaps(data, result, lowest), strict=True))
        for name, result in results.items()
    }
    for penalty in sorted(visited):
        cells = [f"{found[penalty]:.1e}" for found in by_name.values()]
        print(f"| {penalty:.3g} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
