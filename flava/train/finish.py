"""The end of a run: the exported model, its check, the curves and, last of all, the record."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch
from torch import nn

from flava.errors import TrainingError
from flava.io import atomic_directory, sha256_file, write_json
from flava.jobs import RunConfig
from flava.models import Clip, Flava, load_model, save_model
from flava.records import make_record
from flava.train.curves import plot_curves
from flava.train.identity import manifests, parent_records
from flava.train.log import TrainingLog


def finish_run(
    run: RunConfig,
    model: Flava | Clip,
    log: TrainingLog,
    started: float,
    earlier_seconds: float,
    extra: dict[str, Any],
) -> None:
    """Writes model/, curves.png and record.json into the run's folder, in this order.

    Args:
        run: the resolved run.
        model: the trained model.
        log: its whole log.
        started: `time.time()` when this process began.
        earlier_seconds: training time of processes that this one continued.
        extra: further facts for the record.

    Raises:
        TrainingError: a weight is not finite, or the exported model does not read back equal.
    """
    output = Path(run.output)
    model = model.cpu()
    export_model(model, output / "model", Path(run.tokenizer_path))
    title = f"{run.study}: {run.column}, seed {run.seed}"
    plot_curves(log.rows, log.losses, title, output / "curves.png")
    last = log.rows[-1]
    facts = {
        "updates": last["update"],
        "updates_of_kind": {
            kind: sum(int(row[f"updates.{kind}"] or 0) for row in log.rows) for kind in log.kinds
        },
        "final_losses": {name: log.last_value(name) for name in log.losses},
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "model_sha256": sha256_file(output / "model" / "model.safetensors"),
        **extra,
    }
    record = make_record(
        "pretrain",
        run,
        started,
        parents=parent_records(run),
        manifests=manifests(run),
        extra=facts,
        earlier_seconds=earlier_seconds,
    )
    write_json(output / "record.json", record)


def export_model(model: Flava | Clip, directory: Path, tokenizer: Path) -> None:
    """Writes the model folder (Hugging Face layout and tokenizer.json) and reads it back."""
    for name, tensor in model.state_dict().items():
        if not tensor.isfinite().all():
            raise TrainingError(
                f"The trained weight {name} is not finite, so no model was exported. "
                "Lower the learning rate and train anew."
            )
    with atomic_directory(directory) as temporary:
        save_model(model, temporary)
        shutil.copyfile(tokenizer, temporary / "tokenizer.json")
        _check_equal(model, load_model(temporary), directory)


def _check_equal(model: nn.Module, exported: nn.Module, directory: Path) -> None:
    ours, theirs = model.state_dict(), exported.state_dict()
    different = [n for n in ours.keys() | theirs.keys() if not _same(ours.get(n), theirs.get(n))]
    if different:
        raise TrainingError(
            f"The model exported to {directory} does not read back equal: {sorted(different)[:5]}. "
            "Is the disk full or failing? The checkpoints are intact: run the same command again."
        )


def _same(a: torch.Tensor | None, b: torch.Tensor | None) -> bool:
    return a is not None and b is not None and torch.equal(a, b)
