"""What a study leaves on disk: prepared data, checkpoints, models, features of frozen models."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from operator import add
from pathlib import Path

from flava.config import MlmInitConfig, ToyWorldConfig
from flava.cost.disk import (
    FLOAT,
    Inputs,
    codebook_weights,
    encoder_weights,
    feature_bytes,
    finetuning_bytes,
    import_bytes,
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
    disk = all_disk(plan)
    parts |= {"checkpoints, at most": disk.checkpoints, "exported models": disk.models}
    parts["features of frozen models"] = disk.features
    if disk.unknown:
        notes.append(f"features of {len(disk.unknown)} stand-in tasks of unknown size")
    width = max(map(len, parts))
    lines = ["Disk, estimated from sizes:"]
    lines += [f"  {name:<{width}}  {size_text(size)}" for name, size in parts.items()]
    lines.append(f"  {'in all':<{width}}  {size_text(sum(parts.values()))}")
    tuning = size_text(disk.finetuning)
    lines.append(f"  At most {tuning} more while all evaluations fine-tune at one time.")
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


@dataclass(frozen=True)
class Disk:
    """Bytes of one group of files.

    Attributes:
        checkpoints: at most.
        models: exported.
        features: of frozen models, kept by evaluation.
        unknown: tasks whose features have an unknown size.
        finetuning: checkpoints of evaluate jobs, at most; removed when a task has its scores.
    """

    checkpoints: int = 0
    models: int = 0
    features: int = 0
    unknown: frozenset[str] = frozenset()
    finetuning: int = 0

    def __add__(self, other: Disk) -> Disk:
        return Disk(
            self.checkpoints + other.checkpoints,
            self.models + other.models,
            self.features + other.features,
            self.unknown | other.unknown,
            self.finetuning + other.finetuning,
        )

    @property
    def bytes(self) -> int:
        """Of all files that stay and whose size is known."""
        return self.checkpoints + self.models + self.features


def disk_by_column(plan: Plan) -> dict[str, Disk]:
    """Disk of the image tokenizer, each initialisation ("init mlm") and each column, all seeds."""
    found: dict[str, Disk] = defaultdict(Disk)
    if plan.uses_codebook:
        job = plan.codebook_job()
        weights = codebook_weights(job)
        found["codebook"] += Disk(weights.checkpoints(job.codebook, False), weights.model)
    for init in plan.inits.values():
        weights, recipe = encoder_weights(init.job), init.job.recipe
        checkpoints = weights.checkpoints(recipe, isinstance(recipe, MlmInitConfig))
        found[f"init {init.kind}"] += Disk(checkpoints, weights.model)
    for model in plan.models.values():
        found[model.column] += _of_model(model)
    stand_ins = _stand_ins(plan.study.config.data.toy_world)
    for (run, _), evaluation in plan.evaluate_jobs.items():
        model = plan.models[run]
        tuning = finetuning_bytes(evaluation, parameters(model))
        found[evaluation.column] += Disk(finetuning=tuning)
        if evaluation.features is not None:
            kept, unknown = feature_bytes(evaluation, width(model), joint(model), stand_ins)
            found[evaluation.column] += Disk(features=kept, unknown=frozenset(unknown))
    return dict(found)


def _of_model(model: RunConfig | ImportJob) -> Disk:
    if isinstance(model, ImportJob):
        return Disk(models=import_bytes(model))
    weights, settings = run_weights(model), model.pretrain
    selects = model.selection is not None and settings.select_updates is not None
    return Disk(weights.checkpoints(settings, selects), weights.model)


def parameters(model: RunConfig | ImportJob) -> int:
    """Parameters of a column's model."""
    if isinstance(model, ImportJob):
        return import_bytes(model) // FLOAT
    return run_weights(model).exported


def all_disk(plan: Plan) -> Disk:
    """Of everything that is trained, imported and evaluated."""
    return reduce(add, disk_by_column(plan).values(), Disk())


def width(model: RunConfig | ImportJob) -> int:
    """Features of an image."""
    if model.flava:
        return model.flava.hidden_size
    assert model.clip is not None
    return model.clip.vision_width


def joint(model: RunConfig | ImportJob) -> int:
    """Width of the contrastive embeddings."""
    if model.flava:
        return model.flava.projection_dim
    assert model.clip is not None
    return model.clip.embed_dim


def _stand_ins(world: ToyWorldConfig | None) -> dict[str, Inputs] | None:
    """Images and texts of the toy world's tasks, by family."""
    if world is None:
        return None
    from flava.data.toy.write_vision import TEMPLATES, zero_shot_names

    shown = world.task_test // 2  # of retrieval, each with five captions
    return {
        "linear_probe": Inputs(world.task_train + world.task_test, 0),
        "retrieval": Inputs(shown, 5 * shown),
        "zero_shot": Inputs(world.task_test, len(TEMPLATES) * len(zero_shot_names())),
    }


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
