"""The evaluation of a study's models, resolved."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from flava.jobs import EvaluateJob, ImportJob, RunConfig, with_own_checkpoints
from flava.studies import Study


def evaluate_jobs(
    study: Study, models: Mapping[str, RunConfig | ImportJob]
) -> dict[tuple[str, str], EvaluateJob]:
    """(run, job) -> its resolved tasks, of all models; they share a cache of frozen features."""
    jobs: dict[tuple[str, str], EvaluateJob] = {}
    for run, config in models.items():
        grouped = defaultdict(list)
        for task, job in study.tasks_of(config.column).items():
            grouped[job].append(task)
        for job, tasks in grouped.items():
            evaluate = EvaluateJob(
                study=study.config.name,
                column=config.column,
                seed=config.seed,
                job=job,
                model=f"{config.output}/model",
                parent_record=f"{config.output}/record.json",
                tokenizer_path=config.tokenizer_path,
                tasks={task: study.evaluate_task(task) for task in tasks},
                bootstrap_resamples=study.config.bootstrap_resamples,
                features=f"cache/{study.config.name}/features",
                checkpoints=f"checkpoints/{study.config.name}/evaluate/{run}.{job}",
                output=f"{config.output}/evaluate/{job}.json",
            )
            jobs[run, job] = with_own_checkpoints(evaluate)
    return jobs
