"""The plan of a study: every step's resolved configuration, inputs and outputs.

The Snakefile asks this module and stays thin. Writing the plan writes small JSON files, each only
when its content changes; they are `input:` of the rules, so that one edited column re-plans only
its own chain.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from flava.fingerprint import fingerprint
from flava.jobs import (
    CodebookJob,
    CollectJob,
    EvaluateJob,
    HashJob,
    ImportJob,
    LeaksJob,
    PrepareJob,
    ReportJob,
    RunConfig,
    SelectionJob,
    TokenizerJob,
    ToyWorldJob,
)
from flava.studies import Study, load_study
from workflow.codebook import codebook_files, codebook_job
from workflow.configs import write_configs
from workflow.encoders import EncoderRun, encoder_runs
from workflow.evaluation import evaluate_jobs
from workflow.graph import graph
from workflow.leaks import hash_jobs, leaks_job
from workflow.modules import IMPORT_FILES, MODULES, RUN_FILES
from workflow.reporting import (
    check_claims,
    figure_files,
    metric_files,
    release_mode,
    report_inputs,
    report_job,
    report_settings,
    settings_path,
)
from workflow.selection import selection_arrays, selection_job

LARGE_PAIRS = "large_pairs"  # of the CLIP that stands in for the released one
PAGES = (
    *(f"table_{number}" for number in range(1, 6)),
    *("table_a1", "table_a2", "table_c1", "table_d1", "figure_4"),
    *("directions", "audit", "training_curves"),
)


@dataclass(frozen=True)
class Plan:
    """All steps of one study.

    Attributes:
        release: whether pages refuse results that no single commit can make again.
        run_files: what training leaves in its folder.
        import_files: what an import leaves in its folder.
        page_names: notebooks that give one page each.
    """

    study: Study
    release: bool = False
    run_files: ClassVar[list[str]] = RUN_FILES
    import_files: ClassVar[list[str]] = IMPORT_FILES
    page_names: ClassVar[tuple[str, ...]] = PAGES

    @classmethod
    def load(
        cls,
        study: str,
        budget: str | None = None,
        params: str = "params",
        seeds: object = None,
        release: object = None,
    ) -> Plan:
        """Loads a study and checks all of it, before any job starts.

        Args:
            seeds: as `load_study`.
            release: as `release_mode`.
        """
        loaded = load_study(Path(params), study, budget, seeds)
        check_claims(loaded)
        return cls(loaded, release_mode(release))

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
    def imports(self) -> dict[str, ImportJob]:
        """`<column>-s<seed>` -> resolved import of a published model."""
        found = {run: self.study.import_job(*run) for run in self.study.runs}
        return {f"{column}-s{seed}": job for (column, seed), job in found.items() if job}

    @cached_property
    def runs(self) -> dict[str, RunConfig]:
        """`<column>-s<seed>` -> resolved configuration, of all that are trained."""
        return {
            f"{column}-s{seed}": self.study.run_config(column, seed)
            for column, seed in self.study.runs
            if f"{column}-s{seed}" not in self.imports
        }

    @cached_property
    def models(self) -> dict[str, RunConfig | ImportJob]:
        """All that is evaluated, trained or imported, in the order of the study."""
        names = [f"{column}-s{seed}" for column, seed in self.study.runs]
        return {name: self.runs.get(name) or self.imports[name] for name in names}

    @cached_property
    def inits(self) -> dict[str, EncoderRun]:
        """`<init>-s<seed>` -> resolved pretraining of an encoder that some run starts from."""
        return encoder_runs(self.study, self.runs)

    @cached_property
    def tokens(self) -> dict[str, str]:
        """Corpus -> array of image tokens that any run or init reads."""
        found = [run.image_tokens for run in self.runs.values()]
        found += [init.image_tokens for init in self.inits.values()]
        return {corpus: path for each in found for corpus, path in sorted(each.items())}

    @cached_property
    def uses_codebook(self) -> bool:
        """Whether any run needs image tokens."""
        return bool(self.tokens)

    @cached_property
    def uses_selection(self) -> bool:
        """Whether any run or init reads the selection set."""
        jobs = [*self.runs.values(), *(init.job for init in self.inits.values())]
        return any(job.selection for job in jobs)

    def config_path(self, step: str) -> str:
        """Resolved configuration of a step before training."""
        return f"{self.results}/configs/{step}.json"

    def code_path(self, step: str) -> str:
        """Fingerprint of a step's source code."""
        return f"{self.results}/configs/code/{step}.json"

    def raw_inputs(self) -> list[str]:
        """What must be there before raw files can be read: the toy world, where it is used."""
        return [f"{self.data}/raw/manifest.json"] if self.study.config.data.toy_world else []

    def prepare_job(self, kind: str) -> PrepareJob:
        """Resolved preparation of the corpus `kind`."""
        data = self.study.config.data
        large = kind == LARGE_PAIRS
        used = sorted(
            {
                run.tokenizer
                for run in self.runs.values()
                if large == (f"{self.data}/{LARGE_PAIRS}" in run.corpora.values())
            }
            | ({"wordpiece"} if kind == "texts" else set())
        )
        tokenizers = {name: f"{self.data}/tokenizers/{name}.json" for name in used}
        released = self.study.config.released_clip
        sources = (released.pairs if released else []) if large else getattr(data, kind)
        return PrepareJob(
            study=self.name,
            kind="pairs" if large else kind,
            sources=list(sources),
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
        """Resolved image tokenizer, trained or published, and caching of its tokens."""
        return codebook_job(self.study, self.tokens)

    @cached_property
    def selection_job(self) -> SelectionJob:
        """Resolved arrays for scores during training."""
        return selection_job(self.study, self.tokenizers)

    @property
    def selection_arrays(self) -> list[str]:
        """Files that the selection step writes and training reads."""
        return selection_arrays(self.selection_job)

    def run_inputs(self, run: str) -> list[str]:
        """Files that a run reads: tokenizer, manifests and image tokens."""
        config = self.runs[run]
        manifests = [f"{folder}/manifest.json" for folder in config.corpora.values()]
        sources = [config.init.image, config.init.text]
        inits = [f"{s.directory}/model.safetensors" for s in sources if s and s.directory]
        selection = self.selection_arrays if config.selection else []
        tokens = config.image_tokens.values()
        return [config.tokenizer_path, *manifests, *tokens, *inits, *selection]

    def init_inputs(self, init: str) -> list[str]:
        """Files that the pretraining of an encoder reads."""
        run = self.inits[init]
        selection = self.selection_arrays if run.job.selection else []
        return [*run.inputs, *selection]

    @cached_property
    def evaluate_jobs(self) -> dict[tuple[str, str], EvaluateJob]:
        """(run, job) -> its resolved tasks."""
        return evaluate_jobs(self.study, self.models)

    @property
    def scores(self) -> list[str]:
        """Outputs of all evaluate jobs."""
        return [job.output for job in self.evaluate_jobs.values()]

    @property
    def codebook_files(self) -> list[str]:
        """What the image tokenizer leaves, its tokens apart."""
        return codebook_files(self.study) if self.tokens else []

    @property
    def corpora(self) -> dict[str, str]:
        """Corpus -> prepared folder, of all that is read; none where nothing is trained."""
        if not self.runs:
            return {}
        kinds = ["pairs", "images", "texts"]
        if any(f"{self.data}/{LARGE_PAIRS}" in r.corpora.values() for r in self.runs.values()):
            kinds.append(LARGE_PAIRS)
        return {kind: f"{self.data}/{kind}" for kind in kinds}

    @cached_property
    def hashes(self) -> dict[str, HashJob]:
        """Corpus -> its hashing for the leak check; none where the study has no check."""
        return hash_jobs(self.study, {kind: self.prepare_job(kind) for kind in self.corpora})

    @cached_property
    def leaks(self) -> LeaksJob | None:
        """The leak check, where the study has one."""
        return leaks_job(self.study, self.hashes)

    @property
    def tokenizers(self) -> list[str]:
        """Names of the study's tokenizers."""
        return [str(name) for name in self.study.config.data.tokenizers]

    @property
    def published(self) -> list[str]:
        """The paper's tables and claims."""
        folder = self.study.params / "paper"
        return sorted(str(path) for end in ("csv", "yaml") for path in folder.glob(f"*.{end}"))

    @property
    def directions(self) -> str:
        """Which of the paper's directions hold."""
        return f"{self.results}/directions.json"

    @property
    def column_pages(self) -> list[str]:
        """A page of each column, all of one notebook."""
        return [f"{self.results}/report/column_{name}.html" for name in self.study.config.columns]

    @property
    def metrics(self) -> list[str]:
        """Averages of each column, as small files."""
        return metric_files(self.study)

    @property
    def figure(self) -> list[str]:
        """Figure 4 as files."""
        return figure_files(self.study)

    @property
    def pages(self) -> list[str]:
        """Rendered notebooks: the tables, the figure, the checks, the columns."""
        pages = [f"{self.results}/report/{name}.html" for name in self.page_names]
        return pages + self.column_pages

    @property
    def report_inputs(self) -> list[str]:
        """What the pages of the report read."""
        return report_inputs(self)

    @property
    def earlier(self) -> dict[str, str]:
        """Training that runs start from -> its record."""
        found = {"image tokenizer": f"{self.data}/codebook/record.json"}
        inits = {f"init {name}": f"{i.job.output}/record.json" for name, i in self.inits.items()}
        return (found if self.uses_codebook else {}) | inits

    def targets(self) -> list[str]:
        """Every kept file; a file left out here would stay stale after a failure upstream."""
        kept = [f"{self.data}/tokenizers/{name}.json" for name in self.tokenizers]
        for config in self.runs.values():
            kept += [f"{folder}/manifest.json" for folder in config.corpora.values()]
            kept += [f"{config.output}/{name}" for name in RUN_FILES]
        for job in self.imports.values():
            kept += [f"{job.output}/{name}" for name in IMPORT_FILES]
        for init in self.inits.values():
            kept += init.inputs
            kept += [f"{init.job.output}/{name}" for name in RUN_FILES]
        kept += self.tokens.values()
        kept += [f"{folder}/record.json" for folder in self.corpora.values()]
        kept += [*self.earlier.values(), *self.codebook_files]
        if self.uses_selection:
            kept += [*self.selection_arrays, f"{self.data}/selection/record.json"]
        kept += [*self.raw_inputs(), *self.scores, self.collect_job().output, self.directions]
        kept += [job.output for job in (*self.hashes.values(), self.leaks) if job]
        kept += [*self.metrics, *self.figure, *self.pages, f"{self.results}/report/index.html"]
        kept += [page.removesuffix(".html") + ".ipynb" for page in self.pages]
        return list(dict.fromkeys(kept))

    def collect_job(self) -> CollectJob:
        """Resolved collection of all scores."""
        return CollectJob(
            study=self.name, scores=self.scores, output=f"{self.results}/results.parquet"
        )

    def report_job(self) -> ReportJob:
        """Resolved report."""
        runs = {run: config.output for run, config in self.models.items()}
        leaks = self.leaks.output if self.leaks else None
        imports, release = list(self.imports), self.release
        return report_job(self.study, runs, imports, self.earlier, leaks, release)

    def configs(self) -> dict[str, Any]:
        """Path -> plain data of every resolved configuration and code fingerprint."""
        data = self.study.config.data
        files: dict[str, Any] = {self.code_path(s): fingerprint(m) for s, m in MODULES.items()}
        if data.toy_world:
            files[self.config_path("toy_world")] = ToyWorldJob(
                study=self.name, toy_world=data.toy_world, output=f"{self.data}/raw"
            ).model_dump()
        files[self.config_path("tokenizer")] = self.tokenizer_job().model_dump()
        for kind in self.corpora:
            files[self.config_path(f"prepare_{kind}")] = self.prepare_job(kind).model_dump()
        if self.uses_codebook:
            files[self.config_path("codebook")] = self.codebook_job().model_dump()
        if self.uses_selection:
            files[self.config_path("selection")] = self.selection_job.model_dump()
        for kind, job in self.hashes.items():
            files[self.config_path(f"hash_{kind}")] = job.model_dump()
        if self.leaks:
            files[self.config_path("leaks")] = self.leaks.model_dump()
        for init in self.inits.values():
            files[f"{init.job.output}/config.json"] = init.job.model_dump()
        for config in self.models.values():
            files[f"{config.output}/config.json"] = config.model_dump()
        for evaluation in self.evaluate_jobs.values():
            path = evaluation.output.removesuffix(".json") + ".config.json"
            files[path] = evaluation.model_dump()
        files[self.config_path("collect")] = self.collect_job().model_dump()
        files[self.config_path("report")] = self.report_job().model_dump()
        files[self.config_path("dag")] = graph(self).model_dump()
        files[settings_path(self.study)] = report_settings(self.study).model_dump(mode="json")
        return files

    def write(self) -> None:
        """Writes every configuration whose content changed.

        Raises:
            BusyError: another Snakemake runs the study with other settings.
        """
        write_configs(self.name, self.configs())
