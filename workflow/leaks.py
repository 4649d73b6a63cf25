"""The search for test examples in the pretraining corpora, resolved."""

from __future__ import annotations

from collections.abc import Mapping

from flava.jobs import EvaluateTask, HashJob, LeaksJob, PrepareJob
from flava.studies import Study


def hash_jobs(study: Study, prepared: Mapping[str, PrepareJob]) -> dict[str, HashJob]:
    """Corpus -> its hashing, of all corpora that are read; none where the study has no search.

    Args:
        prepared: corpus -> its preparation.
    """
    if study.config.leaks is None:
        return {}
    return {name: _hash_job(name, job) for name, job in prepared.items()}


def _hash_job(name: str, job: PrepareJob) -> HashJob:
    # WordPiece where there is a choice: one tokenizer is enough to compare words.
    tokenizer = max(job.tokenizers, default=None)
    return HashJob(
        study=job.study,
        corpus=job.output,
        images=job.kind != "texts",
        tokenizer=tokenizer,
        tokenizer_path=None if tokenizer is None else job.tokenizers[tokenizer],
        output=f"data/{job.study}/hashes/{name}.npz",
    )


def leaks_job(study: Study, corpora: Mapping[str, HashJob]) -> LeaksJob | None:
    """The search, of all tasks that the study evaluates; None where the study has no search, or
    trains nothing and has no corpora to search in."""
    if study.config.leaks is None or not corpora:
        return None
    tasks = [task for names in study.config.evaluate_jobs.values() for task in names]
    return LeaksJob(
        study=study.config.name,
        settings=study.config.leaks,
        corpora=dict(corpora),
        tasks={task: _data_alone(study.evaluate_task(task)) for task in tasks},
        output=f"results/{study.config.name}/leaks.json",
    )


def _data_alone(spec: EvaluateTask) -> EvaluateTask:
    """Without the protocol's settings: an edit of them does not change what is scored."""
    return EvaluateTask(
        task=spec.task.model_copy(update={"finetune": None, "probe": None}),
        data=spec.data.model_copy(update={"finetune": {}, "probe": {}}),
    )
