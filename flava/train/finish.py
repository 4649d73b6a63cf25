"""The end of a run: the exported model, the curves and, last of all, the record."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from flava.errors import TrainingError
from flava.io import atomic_directory, sha256_file, write_json
from flava.records import Earlier, make_record
from flava.train.curves import plot_curves
from flava.train.log import TrainingLog
from flava.train.recipe import Recipe

WEIGHTS = "model.safetensors"


def finish_run(
    recipe: Recipe,
    log: TrainingLog,
    started: float,
    earlier: Earlier,
    extra: Mapping[str, Any],
) -> None:
    """Writes model/, curves.png and record.json into the run's folder, in this order.

    Args:
        recipe: with its modules trained.
        log: its whole log.
        started: `time.time()` when this process began.
        earlier: what processes did that this one continued.
        extra: further facts for the record.

    Raises:
        TrainingError: a weight is not finite, or the exported model does not read back equal.
    """
    output = recipe.output
    recipe.to(torch.device("cpu"))
    check_finite(recipe.model)
    with atomic_directory(output / "model") as temporary:
        recipe.export(temporary)
    plot_curves(log.rows, log.losses, recipe.title(), output / "curves.png")
    facts = {
        "updates": log.rows[-1]["update"],
        "updates_of_kind": {
            kind: sum(int(row[f"updates.{kind}"] or 0) for row in log.rows) for kind in log.kinds
        },
        "final_losses": {name: log.last_value(name) for name in log.losses},
        "parameters": sum(parameter.numel() for parameter in recipe.model.parameters()),
        "model_sha256": sha256_file(output / "model" / WEIGHTS),
        "log_sha256": sha256_file(output / "log.csv"),
        **recipe.facts(),
        **extra,
    }
    record = make_record(
        recipe.step,
        recipe.job,
        started,
        parents=recipe.parents(),
        manifests=recipe.manifests(),
        extra=facts,
        earlier=earlier,
    )
    write_json(output / "record.json", record)


def check_finite(model: nn.Module) -> None:
    """Refuses to export weights that are not numbers.

    Raises:
        TrainingError: names the first of them.
    """
    for name, tensor in model.state_dict().items():
        if not tensor.isfinite().all():
            raise TrainingError(
                f"The trained weight {name} is not finite, so no model was exported. "
                "Lower the learning rate and train anew."
            )


def check_equal(ours: Mapping[str, Tensor], read: Mapping[str, Tensor], directory: Path) -> None:
    """Compares an exported model with what reads back.

    Raises:
        TrainingError: names tensors that differ.
    """
    different = [n for n in ours.keys() | read.keys() if not _same(ours.get(n), read.get(n))]
    if different:
        raise TrainingError(
            f"The model exported to {directory} does not read back equal: {sorted(different)[:5]}. "
            "Is the disk full or failing? The checkpoints are intact: run the same command again."
        )


def _same(a: Tensor | None, b: Tensor | None) -> bool:
    return a is not None and b is not None and torch.equal(a, b)
