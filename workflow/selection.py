"""The labelled arrays that score models during training, resolved."""

from __future__ import annotations

from collections.abc import Sequence

from flava.jobs import SelectionJob
from flava.studies import Study


def selection_job(study: Study, tokenizers: Sequence[str]) -> SelectionJob:
    """The step that writes them, for the tasks that the study names under `selection`."""
    config, name = study.config, study.config.name
    wanted = config.selection.model_dump(include={"zero_shot", "images", "texts"})
    names = {part: task for part, task in wanted.items() if task is not None}
    tasks = {part: study.evaluate_task(task) for part, task in names.items()}
    lengths = {"wordpiece": config.flava.max_text_length, "bpe": config.clip.context_length}
    return SelectionJob(
        study=name,
        zero_shot=tasks.get("zero_shot"),
        images=tasks.get("images"),
        texts=tasks.get("texts"),
        names=names,
        tokenizers={each: f"data/{name}/tokenizers/{each}.json" for each in tokenizers},
        max_text_length={each: lengths[each] for each in tokenizers},
        image_size=config.flava.image_size,
        limit=config.selection.limit,
        output=f"data/{name}/selection",
    )


def selection_arrays(job: SelectionJob) -> list[str]:
    """Files of the step that training reads."""
    names: list[str] = []
    if job.zero_shot:
        names += ["zero_shot_pixels", "zero_shot_labels"]
        names += [f"prompts_{tokenizer}" for tokenizer in job.tokenizers]
    for half in ("train", "test"):
        if job.images:
            names += [f"images_{half}_pixels", f"images_{half}_labels"]
        if job.texts:
            names += [f"texts_{half}_labels"]
            names += [f"texts_{half}_{tokenizer}" for tokenizer in job.tokenizers]
    return [f"{job.output}/{name}.npy" for name in names]
