"""The smoke study cut down to one column, which trains on two nodes."""

from __future__ import annotations

from pathlib import Path

import yaml

from flava.params import read_yaml
from tests.slurm.campaign import change

COLUMN = "flava_no_init"


def one_column(folder: Path) -> None:
    """Changes the study and the profile of a project's copy: 2 nodes with 2 ranks each."""
    path = folder / "params/smoke.yaml"
    study = read_yaml(path)
    study |= {"columns": [COLUMN], "evaluate_jobs": {"vision": ["mnist"]}}
    study |= {"selection": {}, "leaks": None, "contrastive_ranks": 4}
    study["tasks"] = {"mnist": study["tasks"]["mnist"]}
    study["pretrain"] |= {"select_updates": None, "pair_updates": 16}
    path.write_text(yaml.safe_dump(study))
    rules = {"pretrain": {"columns": {COLUMN: {"nodes": 2, "ranks": 4}}}}
    change(folder / "slurm/cluster.yaml", {"rules": rules, "poll_seconds": 1.0})
