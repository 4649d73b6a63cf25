"""Evaluates one model on the tasks of one job.

python -m flava.evaluate.run --config results/<study>/runs/<run>/evaluate/<job>.config.json
"""

from __future__ import annotations

import gc
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

from flava.config import Strict, TaskConfig
from flava.data.commands import config_argument
from flava.data.tokenizer import Tokenizer, load_tokenizer
from flava.errors import CheckpointError, ConfigError, FlavaError, TrainingError, run_cli
from flava.evaluate import finetuned_tasks, retrieval, vision, zero_shot
from flava.evaluate.context import Context, task_called
from flava.evaluate.datasets import load_task
from flava.evaluate.digest import task_use
from flava.evaluate.feature_cache import NO_CACHE, FeatureCache
from flava.evaluate.features import device
from flava.evaluate.finetune_state import Saving
from flava.evaluate.kept_scores import KeptScores
from flava.evaluate.score_file import KEY, scores_sha256
from flava.evaluate.scores import Score
from flava.evaluate.taskdata import LabelledTask, RetrievalTask, TaskSet, ZeroShotTask
from flava.io import sha256_file, sha256_json, write_json
from flava.jobs import EvaluateJob, EvaluateTask, load_job
from flava.models import Clip, Flava, load_model
from flava.models.backbone import Backbone
from flava.records import DataUse, Earlier, make_record

SettingsT = TypeVar("SettingsT", bound=Strict)


def main() -> None:
    """Command line."""
    evaluate(str(config_argument(__doc__)))


def evaluate(config_path: str) -> None:
    """Runs the job of a resolved configuration file: what the launcher starts."""
    gc.freeze()  # what is imported stays: the collections after the tasks need not look through it
    run(load_job(EvaluateJob, config_path))


def run(job: EvaluateJob) -> None:
    """Evaluates all tasks of the job and writes {"scores": [...], "record": {...}}.

    The file is written once, when every task has its scores. What is kept on the way is removed: a
    task's fine-tuning or fits when its scores are kept, and these when all are written.

    Raises:
        FlavaError: a task failed; the message begins with its name.
    """
    started = time.time()
    model = load_backbone(Path(job.model))
    tokenizer = load_tokenizer(job.tokenizer_path)
    _check_vocabulary(model, tokenizer, job)
    cache = FeatureCache.of(job.features, Path(job.model))
    weights = sha256_file(Path(job.model) / "model.safetensors")
    scores: list[Score] = []
    earlier, kept = Earlier(), KeptScores.of(job, weights)
    seconds: dict[str, float] = {}
    tasks: dict[str, DataUse] = {}
    for name, spec in sorted(job.tasks.items()):
        begun, before = time.monotonic(), Earlier()  # work on this task alone: each keeps its own
        found, tasks[name] = evaluate_task(
            job, name, spec, model, tokenizer, cache, weights, before, kept
        )
        scores += found
        seconds[name] = round(time.monotonic() - begun + before.seconds, 3)
        kept.write(name, tasks[name], found, seconds[name], before)
        shutil.rmtree(saving_folder(job, name), ignore_errors=True)
        earlier.join(before)
        print(f"{name}: {seconds[name]:.1f} s", file=sys.stderr, flush=True)
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
    identity = {"study": job.study, "column": job.column, "seed": job.seed, "job": job.job}
    content = {**identity, "scores": [score.model_dump(mode="json") for score in scores]}
    facts = {"task_seconds": seconds, "model_sha256": weights, KEY: scores_sha256(content)}
    record = make_record(
        "evaluate", job, started, [job.parent_record], extra=facts, earlier=earlier, tasks=tasks
    )
    write_json(job.output, {**content, "record": record})
    shutil.rmtree(job.checkpoints, ignore_errors=True)


def evaluate_task(
    job: EvaluateJob,
    name: str,
    spec: EvaluateTask,
    model: Backbone,
    tokenizer: Tokenizer,
    cache: FeatureCache,
    weights: str,
    earlier: Earlier,
    kept: KeptScores,
) -> tuple[list[Score], DataUse]:
    """Scores of one task, and the hash of its examples.

    Args:
        weights: SHA-256 of the model's file.
        earlier: is told what processes did that this one continues.
        kept: has the scores if one of them finished the task.

    Raises:
        FlavaError: of the kind that occurred, its message headed by the task's name.
    """
    context = context_of(job, name, spec, model, tokenizer, cache)
    with headed(job, name):
        data = load_task(name, spec.task, spec.data)
        use = task_use(data)
        if (found := kept.read(name, use, earlier)) is not None:
            return found, use
        settings = sha256_json(job.model_dump(mode="json"))
        read = sha256_json([weights, use.sha256])
        folder = saving_folder(job, name)
        saving = Saving(folder, settings, read, kept.of_examples(use), earlier)
        return score_task(replace(context, saving=saving), spec, data), use


def saving_folder(job: EvaluateJob, task: str) -> Path:
    """Where an unfinished task's fine-tuning or fits are."""
    return Path(job.checkpoints) / task


def context_of(
    job: EvaluateJob,
    name: str,
    spec: EvaluateTask,
    model: Backbone,
    tokenizer: Tokenizer,
    cache: FeatureCache = NO_CACHE,
) -> Context:
    """What the protocols need for one task of the job."""
    return Context(
        name=name,
        task=spec.task,
        model=model,
        tokenizer=tokenizer,
        seed=job.seed,
        resamples=job.bootstrap_resamples,
        stand_in=spec.data.stand_in,
        cache=cache,
    )


@contextmanager
def headed(job: EvaluateJob, name: str) -> Iterator[None]:
    """Heads the message of an error inside with the run and the task.

    Raises:
        FlavaError: of the kind that occurred.
        TrainingError: the GPU is full.
    """
    spec = job.tasks[name]
    task = task_called(name)
    heading = f"{job.column}-s{job.seed}, {task}"
    try:
        yield
    except FlavaError as error:
        # A protocol's own message begins with its task, which the heading names.
        message = str(error).removeprefix(task).lstrip(",: ")
        raise type(error)(f"{heading}: {message}") from error
    except torch.OutOfMemoryError as error:
        raise TrainingError(
            f"{heading}: the GPU is full. {_for_more_room(name, spec)} {str(error).splitlines()[0]}"
        ) from error


def _for_more_room(name: str, spec: EvaluateTask) -> str:
    if spec.finetune is None:
        return "Use one with more memory, or one that nothing else uses."
    return (
        f"Raise tasks.{name}.finetune.accumulate (now {spec.finetune.accumulate}): more "
        "micro-batches of fewer examples, the same gradient."
    )


def score_task(context: Context, spec: EvaluateTask, data: TaskSet) -> list[Score]:
    """Scores of one task on its data, by the protocol of its family.

    Raises:
        ConfigError: the family's settings are missing, or its adapter gives other data.
        FlavaError: as the protocol.
    """
    match spec.task.family, data:
        case "linear_probe", LabelledTask():
            return vision.evaluate(context, data, _needed(spec.probe, "probe", spec.task))
        case (("glue" | "multimodal"), LabelledTask()):
            config = _needed(spec.finetune, "finetune", spec.task)
            return finetuned_tasks.evaluate(context, data, config)
        case "retrieval", RetrievalTask():
            return retrieval.evaluate(context, data)
        case "zero_shot", ZeroShotTask():
            return zero_shot.evaluate(context, data)
    raise ConfigError(f"family '{spec.task.family}' cannot use adapter '{spec.data.adapter}'.")


def _needed(value: SettingsT | None, key: str, task: TaskConfig) -> SettingsT:
    if value is None:
        raise ConfigError(f"family '{task.family}' needs settings under '{key}' in tasks.yaml.")
    return value


def _check_vocabulary(model: Backbone, tokenizer: Tokenizer, job: EvaluateJob) -> None:
    assert isinstance(model, Flava | Clip)
    known = model.config.vocab_size
    if tokenizer.vocab_size > known:
        raise ConfigError(
            f"The tokenizer {job.tokenizer_path} has {tokenizer.vocab_size} entries, the model "
            f"only {known}. Use the tokenizer that the model was trained with."
        )


def load_backbone(directory: Path) -> Backbone:
    """The exported model, frozen for inference, on the device that evaluation runs on.

    Raises:
        CheckpointError: the export is missing, damaged or no model that has features.
    """
    model = load_model(directory)
    if not isinstance(model, Backbone):
        raise CheckpointError(f"{directory}: {type(model).__name__} gives no features to evaluate.")
    assert isinstance(model, nn.Module)
    model.eval().to(device())
    return model


if __name__ == "__main__":
    run_cli(main)
