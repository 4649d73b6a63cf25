"""Bytes by the models' own parameters: equal to those of models that are really built."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from flava.config import TaskConfig, TaskData
from flava.cost.disk import (
    FLOAT,
    PROBED,
    Inputs,
    codebook_weights,
    encoder_weights,
    feature_bytes,
    finetuning_bytes,
    run_weights,
    token_bytes,
)
from flava.jobs import EvaluateJob, EvaluateTask
from flava.models.registry import build
from workflow.plan import Plan


@pytest.fixture(scope="module")
def plan(root: Path) -> Plan:
    return Plan.load("smoke", params=str(root / "params"))


@pytest.mark.parametrize("run", ["flava_dino-s0", "clip_pmd-s0"])
def test_a_checkpoint_holds_weights_and_both_moments(plan: Plan, run: str, tmp_path: Path) -> None:
    config = plan.runs[run]
    settings = config.flava if config.arch == "flava" else config.clip
    assert settings is not None
    model = build(config.arch, settings)
    optimizer = torch.optim.AdamW(model.parameters())
    sum(parameter.sum() for parameter in model.parameters()).backward()  # type: ignore[union-attr]
    optimizer.step()
    torch.save([model.state_dict(), optimizer.state_dict()], tmp_path / "state.pt")
    written, expected = (tmp_path / "state.pt").stat().st_size, run_weights(config).checkpoint
    assert (
        expected < written < 1.2 * expected
    )  # names and shapes count little, more in small models
    assert run_weights(config).model == FLOAT * sum(p.numel() for p in model.parameters())


def test_a_teacher_has_no_moments_and_is_exported_alone(plan: Plan) -> None:
    by_kind = {init.kind: encoder_weights(init.job) for init in plan.inits.values()}
    dino, beit, mlm = by_kind["dino"], by_kind["beit"], by_kind["mlm"]
    assert dino.held == 2 * dino.trained
    assert dino.exported == beit.exported < beit.trained == beit.held
    assert mlm.exported < mlm.trained
    settings = plan.inits["mlm-s0"].job.recipe
    plain, best = mlm.checkpoints(settings, False), mlm.checkpoints(settings, True)
    assert plain == (settings.keep_checkpoints + 1) * mlm.checkpoint
    assert best - plain == (settings.keep_checkpoints + 1) * FLOAT * mlm.held


def test_tokens_take_two_bytes_until_the_codebook_is_large(plan: Plan) -> None:
    job = plan.codebook_job()
    assert codebook_weights(job).exported > 1000
    assert token_bytes(job, 10) == 10 * job.grid**2 * 2
    large = job.codebook.model_copy(update={"codebook_size": 1 << 17})
    assert token_bytes(job.model_copy(update={"codebook": large}), 10) == 10 * job.grid**2 * 4


def job_of(plan: Plan, **tasks: EvaluateTask) -> EvaluateJob:
    (first, *_) = plan.evaluate_jobs.values()
    return first.model_copy(update={"tasks": tasks})


def test_features_are_of_what_is_probed_and_searched(plan: Plan) -> None:
    known = {name: task for job in plan.evaluate_jobs.values() for name, task in job.tasks.items()}

    def real(name: str, **data: int) -> EvaluateTask:
        task: TaskConfig = known[name].task
        found: TaskData = known[name].data.model_copy(update={"stand_in": None, **data})
        return EvaluateTask(task=task, data=found)

    def size(stand_in: Inputs | None = None, **tasks: EvaluateTask) -> tuple[int, set[str]]:
        stand_ins = None if stand_in is None else dict.fromkeys(PROBED, stand_in)
        return feature_bytes(job_of(plan, **tasks), 32, 16, stand_ins)

    images = 60_000 + 10_000
    assert size(mnist=real("mnist")) == (images * 32 * FLOAT, set())
    limited = real("mnist", train_limit=500, test_limit=100)
    assert size(mnist=limited) == (600 * 32 * FLOAT, set())
    assert size(flickr30k=real("flickr30k")) == (6000 * 16 * FLOAT, set())
    prompts = 1000 * 80
    zero_shot = (50_000 + prompts) * 16 * FLOAT
    assert size(imagenet_zero_shot=real("imagenet_zero_shot")) == (zero_shot, set())
    assert size(cola=real("cola")) == (0, set())
    assert size(mnist=known["mnist"]) == (0, {"mnist"})
    assert size(Inputs(300, 9), mnist=known["mnist"]) == (309 * 32 * FLOAT, set())


def test_fine_tuning_is_kept_until_its_task_has_scores(plan: Plan) -> None:
    known = {name: task for job in plan.evaluate_jobs.values() for name, task in job.tasks.items()}
    probed = job_of(plan, mnist=known["mnist"])
    assert finetuning_bytes(probed, 1000) == 0
    tuned = job_of(plan, mnist=known["mnist"], cola=known["cola"], stsb=known["stsb"])
    assert finetuning_bytes(tuned, 1000) == 2 * 4 * FLOAT * 1000  # one task, one being written
