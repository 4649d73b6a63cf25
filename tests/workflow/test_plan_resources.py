"""Resources beside the plan: they change no configuration, and bad ones are refused with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from flava.errors import ConfigError
from flava.params import Tree
from workflow.launching import Launching
from workflow.plan import Plan
from workflow.resources import resolve


def test_resources_are_not_part_of_any_configuration(in_copy: Path) -> None:
    before = Plan.load("smoke").configs()
    study = Path("params/smoke.yaml")
    study.write_text(study.read_text() + "\nresources: {pretrain: {ranks: 2, threads: 1}}\n")
    plan = Plan.load("smoke")
    assert Launching.load(plan, None).threads("pretrain") == 2
    assert plan.configs() == before


def test_sharding_is_a_resource_and_checked(in_copy: Path) -> None:
    before, study = Plan.load("smoke").configs(), Path("params/smoke.yaml")
    text = study.read_text()
    study.write_text(text + "\nresources: {pretrain: {ranks: 2, sharding: fsdp}}\n")
    plan = Plan.load("smoke")
    settings = Launching.load(plan, None).settings
    assert resolve("pretrain", None, settings).sharding == "fsdp" and plan.configs() == before
    assert resolve("codebook", None, settings).sharding == "none"
    study.write_text(text + "\nresources: {pretrain: {sharding: fsdp2}}\n")
    with pytest.raises(ConfigError, match=r"pretrain.sharding': Input should be 'none' or 'fsdp'"):
        Launching.load(Plan.load("smoke"), None)


@pytest.mark.parametrize(
    ("resources", "message"),
    [
        ("{pretran: {ranks: 2}}", r"unknown rule 'pretran'. Did you mean 'pretrain'\?"),
        ("{pretrain: {rank: 2}}", r"unknown key 'rank'. Did you mean 'ranks'\?"),
        (
            "{pretrain: {columns: {flava_n_init: {ranks: 2}}}}",
            r"unknown column 'flava_n_init'. Did you mean 'flava_no_init'\?",
        ),
        ("{pretrain: {time: 24:00}}", r"needs quotes in YAML: '24:00'"),
        ("{pretrain: {time: a day}}", r"'a day' is not a time limit"),
    ],
)
def test_bad_resources_are_refused(in_copy: Path, resources: str, message: str) -> None:
    study = Path("params/smoke.yaml")
    study.write_text(study.read_text() + f"\nresources: {resources}\n")
    with pytest.raises(ConfigError, match=message):
        Launching.load(Plan.load("smoke"), None)


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"pretrain": {"nodes": 6}},
         "'pretrain' of column 'mim' on 48 ranks: batch_size 8192 cannot be split over 48 ranks"),
        ({"pretrain": {"columns": {"flava_c": {"nodes": 16}}}},
         "'pretrain' of column 'flava_c' on 128 ranks: contrastive_ranks is 64, not a multiple"),
        ({"init_dino": {"nodes": 3}}, "'init_dino' on 24 ranks: batch_size 1024 cannot be split"),
        ({"codebook": {"nodes": 16}}, "'codebook' on 128 ranks: batch_size 64 cannot be split"),
    ],
)  # fmt: skip
def test_ranks_that_cannot_share_a_batch_are_refused_before_any_job(
    in_copy: Path, rules: Tree, message: str
) -> None:
    plan = Plan.load("paper")
    cluster: Tree = {"kind": "slurm", "defaults": {"nodes": 8, "gpus_per_node": 8}}
    Launching.load(plan, cluster)
    with pytest.raises(ConfigError, match=f"cluster.yaml: {message}"):
        Launching.load(plan, cluster | {"rules": rules})
