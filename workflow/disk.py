"""What a study leaves on disk: prepared data, checkpoints, models, features of frozen models."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from flava.config import MlmInitConfig
from flava.cost.disk import (
    codebook_weights,
    encoder_weights,
    feature_bytes,
    run_weights,
    token_bytes,
)
from flava.io import read_json
from flava.jobs import ImportJob, RunConfig
from workflow.assumptions import Assumptions, corpus_images
from workflow.plan import Plan

UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


def disk_lines(plan: Plan, assumed: Assumptions) -> list[str]:
    """One line a kind of file, and the sum.

    Raises:
        DataError: a manifest is damaged.
    """
    data, notes = prepared_bytes(plan, assumed)
    parts = {"prepared data": data, "image tokens": tokens(plan)}
    checkpoints, models = training_bytes(plan)
    parts |= {"checkpoints, at most": checkpoints, "exported models": models}
    features, unknown = all_features(plan)
    parts["features of frozen models"] = features
    if unknown:
        notes.append(f"features of {unknown} stand-in tasks of unknown size")
    width = max(map(len, parts))
    lines = ["Disk, estimated from sizes:"]
    lines += [f"  {name:<{width}}  {size_text(size)}" for name, size in parts.items()]
    lines.append(f"  {'in all':<{width}}  {size_text(sum(parts.values()))}")
    lines.append("  Not counted: raw data, logs, pages, hashes" + "".join(f"; {n}" for n in notes))
    lines[-1] += "."
    return lines


def prepared_bytes(plan: Plan, assumed: Assumptions) -> tuple[int, list[str]]:
    """(bytes, what is left out) of the prepared corpora; from a manifest where there is one."""
    total, left_out = 0, []
    for kind, folder in plan.corpora.items():
        size = _manifest_bytes(f"{folder}/manifest.json")
        images = None if kind == "texts" else corpus_images(plan, kind)
        if size is not None:
            total += size
        elif images is not None and not plan.study.config.data.toy_world:
            total += int(images * assumed.image_bytes)
        else:
            left_out.append(f"{kind}, which are not prepared yet")
    return total, left_out


def tokens(plan: Plan) -> int:
    """Bytes of the image tokens of all corpora whose size is known."""
    if not plan.uses_codebook:
        return 0
    job = plan.codebook_job()
    return token_bytes(job, sum(corpus_images(plan, corpus) or 0 for corpus in plan.tokens))


def training_bytes(plan: Plan) -> tuple[int, int]:
    """(checkpoints at most, exported models) of everything that is trained or imported."""
    checkpoints = models = 0
    for run in plan.runs.values():
        weights, settings = run_weights(run), run.pretrain
        selects = run.selection is not None and settings.select_updates is not None
        checkpoints += weights.checkpoints(settings, selects)
        models += weights.model
    for init in plan.inits.values():
        weights, recipe = encoder_weights(init.job), init.job.recipe
        checkpoints += weights.checkpoints(recipe, isinstance(recipe, MlmInitConfig))
        models += weights.model
    if plan.uses_codebook:
        job = plan.codebook_job()
        weights = codebook_weights(job)
        checkpoints += weights.checkpoints(job.codebook, False)
        models += weights.model
    return checkpoints, models


def all_features(plan: Plan) -> tuple[int, int]:
    """(bytes, tasks of unknown size) of the features that evaluation keeps."""
    world = plan.study.config.data.toy_world
    images = world.task_train + world.task_test if world else None
    total = 0
    unknown: set[str] = set()
    for (run, _), job in plan.evaluate_jobs.items():
        if job.features is None:
            continue
        found, left_out = feature_bytes(job, width(plan.models[run]), images)
        total += found
        unknown |= left_out
    return total, len(unknown)


def width(model: RunConfig | ImportJob) -> int:
    """Features of an image."""
    if isinstance(model, RunConfig) and model.flava:
        return model.flava.hidden_size
    assert model.clip is not None
    return model.clip.vision_width


def size_text(size: float) -> str:
    """Bytes with a unit, powers of 1,000."""
    for unit in UNITS:
        if size < 1000 or unit == UNITS[-1]:
            return f"{size:.0f} {unit}" if unit == "B" or size >= 100 else f"{size:.2g} {unit}"
        size /= 1000
    raise AssertionError


def _manifest_bytes(path: str) -> int | None:
    if not Path(path).is_file():
        return None
    value = read_json(path)
    size = value.get("bytes") if isinstance(value, Mapping) else None
    return size if isinstance(size, int) else None
