"""What a study's rows give without pretraining: how much of a score the data alone explain.

python -m flava.evaluate.baselines --study toy

Three baselines, each on the row's own examples, splits and metric:
random: the untrained model of a column, by the row's own protocol (probe, fine-tuning, retrieval).
pixels: logistic regression on the image's pixels, for rows that have images and labels.
words: logistic (STS-B: ridge) regression on a bag of word pieces, for rows that have texts.
A multimodal row on which `words` or `pixels` alone score high has a shortcut.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from sklearn.linear_model import RidgeCV

from flava.config import ProbeConfig
from flava.data.tokenizer import Tokenizer, load_tokenizer
from flava.errors import ConfigError, DataError, run_cli
from flava.evaluate.context import Context
from flava.evaluate.datasets import load_task
from flava.evaluate.digest import task_use
from flava.evaluate.features import FeatureArray, device
from flava.evaluate.finetuned_tasks import hold_out
from flava.evaluate.linear_probe import sweep
from flava.evaluate.logistic_problem import Problem
from flava.evaluate.metrics import METRICS, Predictions, decide
from flava.evaluate.run import context_of, headed, score_task
from flava.evaluate.scores import Score, score_predictions
from flava.evaluate.taskdata import IntArray, LabelledTask, SoftLabels, Split, TaskSet
from flava.io import read_json, sha256_file, sha256_json, write_json
from flava.jobs import EvaluateJob, RunConfig
from flava.models import build
from flava.records import DataUse, make_record
from flava.studies import Study, load_study

PIXEL_SIZE = 32  # side; 3,072 features
WORDS = 4000  # most frequent pieces of the training texts; a third of it for pairs of texts
HELD_OUT = 0.2
SWEEP = ProbeConfig(steps=25)
# Of so many answers, the fits of weak penalties take hours and only learn the examples by heart.
MANY_ANSWERS = 100
Describe = Callable[[Split], FeatureArray]


@dataclass(frozen=True)
class BagOfWords:
    """Which of the commonest word pieces a text has; for two texts also which both have.

    Attributes:
        kept: token id -> column.
    """

    tokenizer: Tokenizer
    kept: dict[int, int]
    pairs: bool

    @classmethod
    def of(cls, tokenizer: Tokenizer, train: Split) -> BagOfWords:
        """Takes the pieces from the training texts; more frequent ones first, ties by id."""
        assert train.texts is not None
        pairs = any(second is not None for _, second in train.texts)
        found: dict[int, int] = {}
        for text in (part for both in train.texts for part in both if part is not None):
            for piece in set(_pieces(tokenizer, text)):
                found[piece] = found.get(piece, 0) + 1
        ranked = sorted(found, key=lambda piece: (-found[piece], piece))
        limit = WORDS // 3 if pairs else WORDS
        return cls(tokenizer, {piece: i for i, piece in enumerate(ranked[:limit])}, pairs)

    def __call__(self, split: Split) -> FeatureArray:
        """Features (N, D) of a split's texts."""
        assert split.texts is not None
        first_NV = self._has([first for first, _ in split.texts])
        if not self.pairs:
            return first_NV
        second_NV = self._has([second or "" for _, second in split.texts])
        return np.concatenate([first_NV, second_NV, first_NV * second_NV], axis=1)

    def _has(self, texts: list[str]) -> FeatureArray:
        out_NV = np.zeros((len(texts), len(self.kept)), np.float32)
        for row, text in zip(out_NV, texts, strict=True):
            row[
                [self.kept[piece] for piece in _pieces(self.tokenizer, text) if piece in self.kept]
            ] = 1
        return out_NV


def _pieces(tokenizer: Tokenizer, text: str) -> list[int]:
    return tokenizer.pair(text, None, 512)


def pixels(split: Split) -> FeatureArray:
    """The pixels of each example's image at 32 x 32, in [0, 1]: (N, 3072)."""
    assert split.images is not None and split.image_N is not None
    distinct, positions = np.unique(split.image_N, return_inverse=True)
    found = split.images.pixels(distinct, PIXEL_SIZE).reshape(len(distinct), -1)
    scaled: FeatureArray = (found.astype(np.float32) / np.float32(255))[positions]
    return scaled


def regress(context: Context, data: LabelledTask, describe: Describe) -> Score:
    """Regression on the features of `describe`: logistic, its lambda by held-out examples, or for
    values ridge, its penalty by leaving one training example out.

    Where there are MANY_ANSWERS to questions, weaker penalties are tried as long as they help.
    """
    predictions: dict[str, list[Predictions]] = {name: [] for name in data.tests}
    for train in data.trains:
        fitted, held = _fitted_and_held(context, data, train)
        predict = _ridge(fitted, describe) if not data.classes else None
        predict = predict or _logistic(context, fitted, held, describe, len(data.classes))
        for name, split in data.tests.items():
            predictions[name].append(predict(split))
    return score_predictions(context, predictions, data.tests, n_train=len(fitted), details={})


def _fitted_and_held(context: Context, data: LabelledTask, train: Split) -> tuple[Split, Split]:
    if data.validation is not None:
        return train, data.validation
    keep, out = hold_out(train, HELD_OUT, context.seed)
    if not len(keep) or not len(out):
        raise DataError(f"{context.what}: {len(train)} training examples are too few.")
    return train.take(keep), train.take(out)


def _logistic(
    context: Context, train: Split, held: Split, describe: Describe, n_classes: int
) -> Callable[[Split], Predictions]:
    metric = context.task.metric
    labels_N, known_N = _hard(train)
    problem = Problem.of(describe(train)[known_N], labels_N[known_N], n_classes)
    held_ND = describe(held)
    found = sweep(
        problem,
        lambda model: METRICS[metric](decide(metric, model.logits(held_ND)), held.targets),
        SWEEP,
        until_fall=isinstance(train.targets, SoftLabels) and n_classes >= MANY_ANSWERS,
    )
    return lambda split: decide(metric, found.model.logits(describe(split)))


def _hard(split: Split) -> tuple[IntArray, IntArray]:
    """Each example's class, or its best answer, and the positions of those that have one."""
    if not isinstance(split.targets, SoftLabels):
        return split.labels(), np.arange(len(split))
    best_N = split.targets.scores_NK.argmax(axis=1)
    labels_N = split.targets.ids_NK[np.arange(len(split)), best_N]
    return labels_N, np.flatnonzero(labels_N >= 0)


def _ridge(train: Split, describe: Describe) -> Callable[[Split], Predictions]:
    model = RidgeCV(alphas=np.logspace(-3, 4, 15)).fit(describe(train), train.targets)
    return lambda split: np.asarray(model.predict(describe(split)), np.float64)


def untrained(study: Study, column: str, seed: int) -> EvaluateJob:
    """The evaluation of `column` in one job; its model is never loaded, only its settings used."""
    run = study.run_config(column, seed)
    return EvaluateJob(
        study=study.config.name, column=column, seed=seed, job="baselines", model="untrained",
        parent_record="", tokenizer_path=run.tokenizer_path,
        tasks={name: study.evaluate_task(name) for name in study.tasks_of(column)},
        bootstrap_resamples=study.config.bootstrap_resamples, checkpoints="", output="",
    )  # fmt: skip


def scores_of(
    job: EvaluateJob, name: str, study: Study, data: TaskSet
) -> Iterator[tuple[str, Score]]:
    """(baseline, score) of one task on its data."""
    spec, tokenizer = job.tasks[name], load_tokenizer(job.tokenizer_path)
    run = study.run_config(job.column, job.seed)
    torch.manual_seed(job.seed)
    config = run.flava or run.clip
    assert config is not None
    model = build(run.arch, config).eval().to(device())
    context = context_of(job, name, spec, model, tokenizer)
    with headed(job, name):
        for score in score_task(context, spec, data):
            yield "random", score
        if not isinstance(data, LabelledTask):
            return
        if data.train.images is not None:
            yield "pixels", regress(context, data, pixels)
        if data.train.texts is not None:
            yield "words", regress(context, data, BagOfWords.of(tokenizer, data.train))


def write_baselines(study: Study, column: str, seed: int, names: list[str], output: Path) -> None:
    """Evaluates the baselines of `names` (all of the column's tasks if empty) into one JSON file.

    The file is written after every task. A task that it holds already is not evaluated again if its
    settings and examples are the same.

    Raises:
        ConfigError: a task is none of the column's.
        DataError: data are missing, the study's tokenizers were not made yet, or the file is of
            another column or seed.
    """
    started = time.time()
    job, run = untrained(study, column, seed), study.run_config(column, seed)
    unknown = sorted(set(names) - set(job.tasks))
    if unknown:
        raise ConfigError(
            f"Column '{column}' of study '{job.study}' has no task '{unknown[0]}'; it has "
            f"{', '.join(sorted(job.tasks))}."
        )
    done = _written(output, column, seed)
    uses: dict[str, DataUse] = {}
    for name in names or sorted(job.tasks):
        with headed(job, name):
            data = load_task(name, job.tasks[name].task, job.tasks[name].data)
            uses[name] = task_use(data)
        made_from = _identity(job, name, uses[name], run)
        if done.get(name, {}).get("made_from") == made_from:
            print(f"{name}: already in {output}", file=sys.stderr, flush=True)
            continue
        rows: dict[str, dict[str, object]] = {}
        for baseline, score in scores_of(job, name, study, data):
            rows.setdefault(score.row, {})[baseline] = score.model_dump(mode="json")
            _tell(baseline, score)
        done[name] = {"rows": rows, "made_from": made_from}
        record = make_record("baselines", job, started, tasks=uses)
        write_json(output, {"column": column, "tasks": done, "record": record})


def _written(output: Path, column: str, seed: int) -> dict[str, dict[str, object]]:
    """Tasks that the file holds: those of one column and one seed, whose record it has."""
    if not output.exists():
        return {}
    tree = read_json(output)
    tasks = tree.get("tasks") if isinstance(tree, dict) else None
    if not isinstance(tasks, dict):
        raise DataError(f"{output} holds no baselines. Delete it, or name another --output.")
    record = tree.get("record")
    held = tree.get("column"), record.get("seed") if isinstance(record, dict) else None
    if held != (column, seed):
        raise DataError(
            f"{output} holds baselines of column {held[0]!r} and seed {held[1]}, not of "
            f"{column!r} and {seed}. Delete it, or name another --output."
        )
    return tasks


def _identity(job: EvaluateJob, name: str, use: DataUse, run: RunConfig) -> str:
    """Hash of all that a task's baselines follow from, but the code."""
    alone = job.model_copy(update={"tasks": {name: job.tasks[name]}}).model_dump(mode="json")
    models = [run.arch, *(part and part.model_dump(mode="json") for part in (run.flava, run.clip))]
    return sha256_json([alone, use.sha256, sha256_file(job.tokenizer_path), models])


def _tell(baseline: str, score: Score) -> None:
    print(
        f"{score.row}: {baseline} {score.value:.1f} (chance {score.chance:.1f}, "
        f"standard error {score.std_error:.1f})",
        file=sys.stderr,
        flush=True,
    )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Baselines of a study's rows.")
    parser.add_argument("--study", default="toy")
    parser.add_argument("--budget", help="one of the study's budgets")
    parser.add_argument("--column", default="flava_mm", help="whose untrained model is `random`")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tasks", nargs="*", default=[], help="some of the column's tasks")
    parser.add_argument("--output", type=Path, help="results/<study>/baselines-s<seed>.json")
    given = parser.parse_args()
    study = load_study(Path("params"), given.study, given.budget)
    output = given.output or Path("results") / study.config.name / f"baselines-s{given.seed}.json"
    write_baselines(study, given.column, given.seed, given.tasks, output)


if __name__ == "__main__":
    run_cli(main)
