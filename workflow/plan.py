"""The plan of a study: every step's resolved configuration, inputs and outputs.

The Snakefile asks this module and stays thin. Writing the plan writes small JSON files, each only
when its content changes; they are `input:` of the rules, so that one edited column re-plans only
its own chain.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from flava.errors import ConfigError, unknown_name
from flava.io import write_json
from flava.jobs import (
    CodebookJob,
    CollectJob,
    EvaluateJob,
    PrepareJob,
    ReportJob,
    RunConfig,
    TokenizerJob,
    ToyWorldJob,
)
from flava.studies import Study, load_study, unavailable
from workflow.fingerprint import fingerprint

MODULES = {
    "toy_world": "flava.data.toy.__main__",
    "tokenizer": "flava.data.tokenizer",
    "prepare": "flava.data.prepare",
    "codebook": "flava.train.codebook",
    "pretrain": "flava.train.pretrain",
    "evaluate": "flava.evaluate.run",
    "collect": "flava.evaluate.collect",
    "render": "flava.report.render",
    "site": "flava.report.site",
}

PAGES = ["table_c1"]
RUN_FILES = [
    "record.json",
    "log.csv",
    "curves.png",
    "model/config.json",
    "model/model.safetensors",
]
RESOURCES: dict[str, int | str] = {"ranks": 1, "threads": 1}


@dataclass(frozen=True)
class Plan:
    """All steps of one study."""

    study: Study

    @classmethod
    def load(cls, study: str, budget: str | None = None, params: str = "params") -> Plan:
        """Loads a study and checks all of it, before any job starts."""
        return cls(load_study(Path(params), study, budget))

    @property
    def name(self) -> str:
        """Name of the study, its budget included."""
        return self.study.config.name

    @property
    def data(self) -> str:
        """Folder of the study's data."""
        return f"data/{self.name}"

    @property
    def results(self) -> str:
        """Folder of the study's results."""
        return f"results/{self.name}"

    @cached_property
    def runs(self) -> dict[str, RunConfig]:
        """`<column>-s<seed>` -> resolved configuration."""
        return {
            f"{column}-s{seed}": self.study.run_config(column, seed)
            for column, seed in self.study.runs
        }

    @cached_property
    def uses_codebook(self) -> bool:
        """Whether any run needs image tokens."""
        return any(run.image_tokens for run in self.runs.values())

    def config_path(self, step: str) -> str:
        """Resolved configuration of a step before training."""
        return f"{self.results}/configs/{step}.json"

    def code_path(self, step: str) -> str:
        """Fingerprint of a step's source code."""
        return f"{self.results}/configs/code/{step}.json"

    def resources(self, rule: str) -> dict[str, int | str]:
        """Ranks, threads and more of a rule: from the study, never part of a run's identity."""
        known = self.study.config.resources
        for name in known:
            if name not in MODULES:
                where = f"study '{self.name}': resources"
                raise ConfigError(unknown_name("rule", name, list(MODULES), where))
        return {**RESOURCES, **known.get(rule, {})}

    def cores(self, rule: str) -> int:
        """Cores that a job of this rule keeps busy on this machine."""
        resources = self.resources(rule)
        return int(resources["ranks"]) * int(resources["threads"])

    def raw_inputs(self) -> list[str]:
        """What must be there before raw files can be read: the toy world, where it is used."""
        return [f"{self.data}/raw/manifest.json"] if self.study.config.data.toy_world else []

    def prepare_job(self, kind: str) -> PrepareJob:
        """Resolved preparation of the corpus `kind`."""
        data = self.study.config.data
        used = sorted({run.tokenizer for run in self.runs.values()})
        tokenizers = {name: f"{self.data}/tokenizers/{name}.json" for name in used}
        return PrepareJob(
            study=self.name,
            kind=kind,
            sources=list(getattr(data, kind)),
            tokenizers={} if kind == "images" else tokenizers,
            shard_bytes=data.shard_bytes,
            output=f"{self.data}/{kind}",
        )

    def tokenizer_job(self) -> TokenizerJob:
        """Resolved training or conversion of the tokenizers."""
        data = self.study.config.data
        return TokenizerJob(
            study=self.name,
            tokenizers={str(name): config for name, config in data.tokenizers.items()},
            pairs=data.pairs,
            texts=data.texts,
            output=f"{self.data}/tokenizers",
        )

    def codebook_job(self) -> CodebookJob:
        """Resolved training of the dVAE and caching of the tokens."""
        config = self.study.config
        corpora = sorted({corpus for run in self.runs.values() for corpus in run.image_tokens})
        return CodebookJob(
            study=self.name,
            seed=0,
            codebook=config.codebook,
            grid=config.flava.grid,
            crop_scale_min=config.pretrain.crop_scale_min,
            bad_image_fraction=config.pretrain.bad_image_fraction,
            corpora={corpus: f"{self.data}/{corpus}" for corpus in corpora},
            output=f"{self.data}/codebook",
        )

    def run_inputs(self, run: str) -> list[str]:
        """Files that a run reads: tokenizer, manifests and image tokens."""
        config = self.runs[run]
        manifests = [f"{folder}/manifest.json" for folder in config.corpora.values()]
        return [config.tokenizer_path, *manifests, *config.image_tokens.values()]

    @cached_property
    def evaluate_jobs(self) -> dict[tuple[str, str], EvaluateJob]:
        """(run, job) -> its resolved tasks."""
        jobs: dict[tuple[str, str], EvaluateJob] = {}
        for run, config in self.runs.items():
            grouped = defaultdict(list)
            for task, job in self.study.tasks_of(config.column).items():
                grouped[job].append(task)
            for job, tasks in grouped.items():
                jobs[run, job] = EvaluateJob(
                    study=self.name,
                    column=config.column,
                    seed=config.seed,
                    job=job,
                    model=f"{config.output}/model",
                    parent_record=f"{config.output}/record.json",
                    tokenizer_path=config.tokenizer_path,
                    tasks={task: self.study.evaluate_task(task) for task in tasks},
                    bootstrap_resamples=self.study.config.bootstrap_resamples,
                    output=f"{config.output}/evaluate/{job}.json",
                )
        return jobs

    @property
    def scores(self) -> list[str]:
        """Outputs of all evaluate jobs."""
        return [job.output for job in self.evaluate_jobs.values()]

    @property
    def run_files(self) -> list[str]:
        """What a run leaves in its folder."""
        return RUN_FILES

    @property
    def tokenizers(self) -> list[str]:
        """Names of the study's tokenizers."""
        return [str(name) for name in self.study.config.data.tokenizers]

    @property
    def published(self) -> list[str]:
        """The paper's tables."""
        return sorted(str(path) for path in (self.study.params / "paper").glob("*.csv"))

    @property
    def pages(self) -> list[str]:
        """Rendered notebooks."""
        return [f"{self.results}/report/{page}.html" for page in PAGES]

    @property
    def report_inputs(self) -> list[str]:
        """What the pages of the report read."""
        files = [f"{self.results}/results.parquet", *self.published, *self.scores]
        for config in self.runs.values():
            files += [
                f"{config.output}/{name}" for name in ("config.json", "record.json", "log.csv")
            ]
            files += [f"{folder}/manifest.json" for folder in config.corpora.values()]
        return list(dict.fromkeys([*files, "flava/report/style.css"]))

    def targets(self) -> list[str]:
        """Every kept file; a file left out here would stay stale after a failure upstream."""
        kept = [f"{self.data}/tokenizers/{name}.json" for name in self.tokenizers]
        for config in self.runs.values():
            kept += [f"{folder}/manifest.json" for folder in config.corpora.values()]
            kept += config.image_tokens.values()
            kept += [f"{config.output}/{name}" for name in RUN_FILES]
        if self.uses_codebook:
            kept.append(f"{self.data}/codebook/record.json")
        kept += [*self.raw_inputs(), *self.scores, self.collect_job().output, *self.pages]
        kept += [page.removesuffix(".html") + ".ipynb" for page in self.pages]
        kept.append(f"{self.results}/report/index.html")
        return list(dict.fromkeys(kept))

    def collect_job(self) -> CollectJob:
        """Resolved collection of all scores."""
        return CollectJob(
            study=self.name, scores=self.scores, output=f"{self.results}/results.parquet"
        )

    def report_job(self) -> ReportJob:
        """Resolved report."""
        config = self.study.config
        ran = set(config.columns)
        return ReportJob(
            study=self.name,
            title=config.title,
            scale=config.scale,
            columns={c: self.study.columns[c].number for c in self.study.columns if c in ran},
            titles={name: column.title for name, column in self.study.columns.items()},
            seeds=config.seeds,
            not_run={
                name: unavailable(name, column) or f"not among the columns of study '{self.name}'"
                for name, column in self.study.columns.items()
                if name not in ran
            },
            results=f"{self.results}/results.parquet",
            runs={run: config.output for run, config in self.runs.items()},
            published="params/paper",
            output=f"{self.results}/report",
        )

    def configs(self) -> dict[str, Any]:
        """Path -> plain data of every resolved configuration and code fingerprint."""
        data = self.study.config.data
        files: dict[str, Any] = {self.code_path(s): fingerprint(m) for s, m in MODULES.items()}
        if data.toy_world:
            files[self.config_path("toy_world")] = ToyWorldJob(
                study=self.name, toy_world=data.toy_world, output=f"{self.data}/raw"
            ).model_dump()
        files[self.config_path("tokenizer")] = self.tokenizer_job().model_dump()
        for kind in ("pairs", "images", "texts"):
            files[self.config_path(f"prepare_{kind}")] = self.prepare_job(kind).model_dump()
        if self.uses_codebook:
            files[self.config_path("codebook")] = self.codebook_job().model_dump()
        for config in self.runs.values():
            files[f"{config.output}/config.json"] = config.model_dump()
        for job in self.evaluate_jobs.values():
            path = job.output.removesuffix(".json") + ".config.json"
            files[path] = job.model_dump()
        files[self.config_path("collect")] = self.collect_job().model_dump()
        files[self.config_path("report")] = self.report_job().model_dump()
        return files

    def write(self) -> None:
        """Writes every configuration whose content changed."""
        for path, value in self.configs().items():
            write_json(path, value)
