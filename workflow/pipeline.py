"""Writes `dvc.yaml`: `python -m workflow.pipeline [STUDY]`.

The file has the stages of the study that params.yaml chooses; a STUDY given here is written into
params.yaml first. `--check`, the command of the first stage, writes the resolved configurations,
which the other stages depend on, and refuses a dvc.yaml of another study or of an older one.
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePath
from typing import Any

import yaml

from flava.errors import ConfigError, run_cli
from flava.io import atomic_path
from flava.seeds import seed_list
from flava.study_files import study_names
from workflow.choice import FILE as CHOICE
from workflow.choice import Choice, read_choice, write_choice
from workflow.plan import Plan
from workflow.stages import METADATA, Stage, stages, unique

FILE = Path("dvc.yaml")
COMMAND = "python -m workflow.pipeline"
HEADER = f"""\
# Stages of study '{{study}}', written by `{COMMAND}`.
# Edit params/, not this file: docs/dvc.md.
"""
AVERAGES = ("macro", "vision", "nlp", "multimodal")
Tree = dict[str, Any]


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__)
    parser.add_argument("study", nargs="?", help="a file of params/; default: as params.yaml says")
    parser.add_argument("--budget", help="one of the study's budgets")
    parser.add_argument("--seeds", help="how many seeds")
    parser.add_argument("--check", action="store_true", help="do not write dvc.yaml: compare it")
    arguments = parser.parse_args()
    if arguments.study is None:
        if arguments.budget is not None or arguments.seeds is not None:
            raise ConfigError("--budget and --seeds need the name of a study before them.")
        choice = read_choice()
    else:
        seeds = None if arguments.seeds is None else len(seed_list(arguments.seeds))
        release = CHOICE.is_file() and read_choice().release
        choice = Choice(
            study=arguments.study, budget=arguments.budget, seeds=seeds, release=release
        )
    if arguments.check:
        plan = Plan.load(**choice.model_dump())
        plan.write()
        check(choice, plan)
        return
    # Stages are the same in release mode, which asks for a committed dvc.yaml.
    plan = Plan.load(choice.study, choice.budget, seeds=choice.seeds)
    with atomic_path(FILE) as temporary:
        temporary.write_text(render(choice, plan), encoding="utf-8")
    if arguments.study is not None:
        write_choice(choice)


def check(choice: Choice, plan: Plan, path: Path = FILE) -> None:
    """Compares `dvc.yaml` with the plan.

    Raises:
        ConfigError: it is missing or has other stages, files or plots.
    """
    if not path.is_file() or path.read_text(encoding="utf-8") != render(choice, plan):
        raise ConfigError(
            f"{path} does not have the stages of study '{plan.name}' as params/ and the code now "
            f"describe it. Write it anew with `{COMMAND}`, then repeat the command."
        )


def render(choice: Choice, plan: Plan) -> str:
    """Text of `dvc.yaml`."""
    body = yaml.safe_dump(
        pipeline(choice, plan), sort_keys=False, width=100, default_flow_style=None
    )
    return HEADER.format(study=plan.name) + body


def pipeline(choice: Choice, plan: Plan) -> Tree:
    """`dvc.yaml` as plain data: stages in the order in which they can run, and plots."""
    middle = stages(plan)
    found = {"resolve": _resolve(choice, plan)}
    found |= {stage.name: _stage(stage, plan) for stage in middle}
    found["seal"] = _seal(plan, middle)
    return {"stages": found, "plots": plots(plan)}


def _resolve(choice: Choice, plan: Plan) -> Tree:
    """The stage that turns params/ and code into what the others depend on, by content.

    Its parameters are whole files: a list of keys would miss one that is added.
    """
    names = [*study_names(plan.study.params, choice.study), "columns", "tasks"]
    files = [f"{plan.study.params}/{name}.yaml" for name in names]
    return {
        "cmd": f"{COMMAND} --check",
        "deps": ["Snakefile", "flava", f"{plan.study.params}/paper", "workflow"],
        "params": [{path: None} for path in (str(CHOICE), *files)],
        "outs": _outs(plan.configs()),
    }


def _stage(stage: Stage, plan: Plan) -> Tree:
    metrics = {path for path in plan.metrics if PurePath(path).stem in plan.study.config.columns}
    found: Tree = {"cmd": shlex.join(["snakemake", *stage.targets]), "deps": list(stage.deps)}
    found["outs"] = _outs(path for path in stage.outs if path not in metrics)
    shown = _outs(path for path in stage.outs if path in metrics)
    return found | ({"metrics": shown} if shown else {})


def _seal(plan: Plan, middle: Sequence[Stage]) -> Tree:
    """The stage that keeps Snakemake's records, without which a clone would run jobs again."""
    outs = unique(path for stage in middle for path in stage.outs)
    folders = {f"{path}/": path for path in outs}
    read = unique(path for stage in middle for path in stage.deps)
    whole = {
        path: next((f for inside, f in folders.items() if path.startswith(inside)), path)
        for path in read
    }
    deps = unique(["Snakefile", *whole.values(), *outs])
    return {"cmd": "snakemake", "deps": list(deps), "outs": _outs([METADATA])}


def _outs(paths: Iterable[str]) -> list[Tree]:
    """Kept before a stage runs: Snakemake decides what has to be made again."""
    return [{path: {"persist": True}} for path in paths]


def plots(plan: Plan) -> list[Tree | str]:
    """Averages as bars, losses as lines, and each training's own picture."""
    table = next(path for path in plan.metrics if path.endswith(".csv"))
    bars = [
        {f"{key} average": {"template": "bar_horizontal", "x": key, "y": {table: "column"}}}
        for key in AVERAGES
    ]
    folders = [run.output for run in plan.runs.values()]
    losses = {f"{folder}/log.csv": "loss" for folder in folders}
    pictures = [f"{folder}/curves.png" for folder in folders]
    lines: list[Tree] = [{"loss": {"x": "update", "y": losses}}] if losses else []
    return [*bars, *lines, *pictures]


if __name__ == "__main__":
    run_cli(main)
