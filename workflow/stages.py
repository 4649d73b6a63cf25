"""The plan's jobs grouped into a few coarse stages: what `dvc.yaml` says of them.

Snakemake's rules and these steps name the same files; tests/workflow/test_dvc.py compares them with
what Snakemake recorded.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from workflow.modules import IMPORT_FILES, RUN_FILES

if TYPE_CHECKING:
    from workflow.plan import Plan

RULES = "workflow/rules"
METADATA = ".snakemake/metadata"


@dataclass(frozen=True)
class Step:
    """One job of the DAG: its stage, its rule and where that is, the files it reads and writes."""

    stage: str
    rules: str
    rule: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class Stage:
    """A stage of `dvc.yaml`.

    Attributes:
        targets: all that its jobs write, the command's targets: one left out would stay stale
            after a failure upstream.
        deps: what its jobs read and no job of it writes, and the files of their rules.
        outs: files and folders that hold the targets and what is written beside them.
    """

    name: str
    targets: tuple[str, ...]
    deps: tuple[str, ...]
    outs: tuple[str, ...]


def stages(plan: Plan) -> list[Stage]:
    """Stages of all that the plan's targets need, in an order in which they can run."""
    grouped: dict[str, list[Step]] = {}
    for step in needed(plan):
        grouped.setdefault(step.stage, []).append(step)
    return [_stage(name, members) for name, members in grouped.items()]


def _stage(name: str, members: list[Step]) -> Stage:
    targets = unique(path for step in members for path in step.outputs)
    read = unique(path for step in members for path in step.inputs)
    rules = sorted({f"{RULES}/{step.rules}.smk" for step in members})
    deps = [path for path in read if path not in targets]
    return Stage(name, targets, tuple(rules + deps), unique(kept_as(path) for path in targets))


def kept_as(target: str) -> str:
    """The file, or the folder where files that no rule declares lie beside it.

    Those are raw files, shards and token arrays, which a manifest describes, and a model's
    tokenizer.
    """
    path = PurePosixPath(target)
    if path.parts[0] == "data":  # data/<study>/<folder>/...: each folder is one stage's
        return "/".join(path.parts[:3])
    return str(path.parent) if path.parent.name == "model" else target


def unique(values: Iterable[str]) -> tuple[str, ...]:
    """`values` without repetition, in their order."""
    return tuple(dict.fromkeys(values))


def needed(plan: Plan) -> list[Step]:
    """Steps that the plan's targets need, in the order of `steps`."""
    every = list(steps(plan))
    producer = {path: step for step in every for path in step.outputs}
    unknown = [path for path in plan.targets() if path not in producer]
    assert not unknown, f"no step writes {unknown}: add it beside its rule"
    pending, found = plan.targets(), set[Step]()
    while pending:
        step = producer.get(pending.pop())
        if step is not None and step not in found:
            found.add(step)
            pending += step.inputs
    return [step for step in every if step in found]


def steps(plan: Plan) -> Iterator[Step]:
    """Every job that the rules can make of the plan, upstream first."""
    yield from _prepare(plan)
    yield from _inits(plan)
    yield from _columns(plan)
    yield from _evaluate(plan)
    yield from _report(plan)


def _step(
    stage: str,
    rule: str,
    own: tuple[str, str],
    inputs: Iterable[str],
    outputs: Iterable[str],
) -> Step:
    """A step of a rule ("<file>:<rule>") that reads its configuration and code (`own`) besides."""
    rules, _, name = rule.partition(":")
    return Step(stage, rules, name, unique([*inputs, *own]), tuple(outputs))


def _prepare(plan: Plan) -> Iterator[Step]:
    raw = plan.raw_inputs()
    tokenizers = [f"{plan.data}/tokenizers/{name}.json" for name in plan.tokenizers]

    def own(config: str, code: str) -> tuple[str, str]:
        return plan.config_path(config), plan.code_path(code)

    if raw:
        yield _step("prepare", "prepare:toy_world", own("toy_world", "toy_world"), [], raw)
    yield _step("prepare", "prepare:tokenizer", own("tokenizer", "tokenizer"), raw, tokenizers)
    for kind, folder in plan.corpora.items():
        reads = [*raw, *plan.prepare_job(kind).tokenizers.values()]
        writes = [f"{folder}/{name}" for name in ("manifest.json", "record.json")]
        yield _step("prepare", "prepare:prepare", own(f"prepare_{kind}", "prepare"), reads, writes)
    if plan.uses_selection:
        arrays = [*plan.selection_arrays, f"{plan.data}/selection/record.json"]
        yield _step(
            "prepare", "init:selection", own("selection", "selection"), [*raw, *tokenizers], arrays
        )
    for kind, job in plan.hashes.items():
        manifest = f"{job.corpus}/manifest.json"
        yield _step(
            "prepare", "evaluate:hash", own(f"hash_{kind}", "hash"), [manifest], [job.output]
        )
    if plan.uses_codebook:
        corpora = plan.codebook_job().corpora.values()
        manifests = [f"{folder}/manifest.json" for folder in corpora]
        writes = [*plan.tokens.values(), *plan.codebook_files]
        yield _step("codebook", "prepare:codebook", own("codebook", "codebook"), manifests, writes)


def _inits(plan: Plan) -> Iterator[Step]:
    for name, run in plan.inits.items():
        own = f"{run.job.output}/config.json", plan.code_path(f"init_{run.kind}")
        writes = [f"{run.job.output}/{file}" for file in RUN_FILES]
        yield _step(f"init-{run.kind}", "init:init", own, plan.init_inputs(name), writes)


def _columns(plan: Plan) -> Iterator[Step]:
    for run, model in plan.models.items():
        imported = run in plan.imports
        own = f"{model.output}/config.json", plan.code_path("import" if imported else "pretrain")
        reads = [model.tokenizer_path] if imported else plan.run_inputs(run)
        files, rule = (IMPORT_FILES, "import_model") if imported else (RUN_FILES, "pretrain")
        writes = [f"{model.output}/{file}" for file in files]
        yield _step(f"column-{model.column}", f"pretrain:{rule}", own, reads, writes)


def _evaluate(plan: Plan) -> Iterator[Step]:
    raw = plan.raw_inputs()
    for (run, _), job in plan.evaluate_jobs.items():
        folder = plan.models[run].output
        reads = [*raw, f"{folder}/record.json", f"{folder}/model/model.safetensors"]
        own = job.output.removesuffix(".json") + ".config.json", plan.code_path("evaluate")
        yield _step("evaluate", "evaluate:evaluate", own, reads, [job.output])
    if plan.leaks:
        own = plan.config_path("leaks"), plan.code_path("leaks")
        reads = [*raw, *(job.output for job in plan.hashes.values())]
        yield _step("evaluate", "evaluate:leaks", own, reads, [plan.leaks.output])
    own = plan.config_path("collect"), plan.code_path("collect")
    yield _step("evaluate", "evaluate:collect", own, plan.scores, [plan.collect_job().output])


def _report(plan: Plan) -> Iterator[Step]:
    config, reads = plan.config_path("report"), plan.report_inputs
    rendered = [
        (name, "notebook", [f"{plan.results}/report/{name}.html"]) for name in plan.page_names
    ]
    for name, rule, pages in [*rendered, ("column", "column_pages", plan.column_pages)]:
        inputs = [*reads, f"notebooks/{name}.py"]
        writes = [*pages, *(page.removesuffix(".html") + ".ipynb" for page in pages)]
        own = config, plan.code_path("render")
        yield _step("report", f"report:{rule}", own, inputs, writes)
    own = config, plan.code_path("directions")
    yield _step("report", "report:directions", own, reads, [plan.directions])
    own = config, plan.code_path("metrics")
    yield _step("report", "report:metrics", own, reads, plan.metrics)
    own = config, plan.code_path("figure")
    yield _step("report", "report:figure", own, reads, plan.figure)
    own, page = (config, plan.code_path("site")), f"{plan.results}/report/index.html"
    inputs = [*reads, plan.config_path("dag"), *plan.pages]
    yield _step("report", "report:site", own, inputs, [page])
