"""Loads `params/*.yaml` and resolves a study into the jobs of the DAG."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from flava.bases import with_bases
from flava.config import (
    CARD,
    OBJECTIVES_OF_KIND,
    ColumnConfig,
    ContrastiveConfig,
    FinetuneConfig,
    ProbeConfig,
    ReleasedClip,
    ReleasedFlava,
    StudyConfig,
    TaskConfig,
    TaskData,
)
from flava.config.inits import Init
from flava.data.adapters import check_sources
from flava.errors import ConfigError, unknown_name
from flava.evaluate.adapters import check_adapter
from flava.jobs import EvaluateTask, ImportJob, RunConfig, parse, with_own_checkpoints
from flava.params import Tree, check_name, merge, read_yaml
from flava.seeds import seed_list
from flava.study_files import study_tree
from flava.study_sizes import check_sizes


def load_columns(path: Path) -> dict[str, ColumnConfig]:
    """All columns of `columns.yaml` with their bases resolved, in order of their number.

    Raises:
        ConfigError: an unknown base, a cycle, an unknown key, or parts that contradict.
    """
    trees, columns = read_yaml(path), {}

    def entry(name: str) -> Tree:
        if name not in trees:
            raise ConfigError(unknown_name("base column", name, list(trees), str(path)))
        if not isinstance(trees[name], dict):
            raise ConfigError(f"{path}: column '{name}' must be a mapping of keys to values.")
        return dict(trees[name])

    for name in trees:
        check_name(name, "column", str(path))
        # `data` is replaced as a whole, so that an entry shows all the data its column uses.
        tree = with_bases(name, entry, str(path), frozenset({"data"}))
        column = parse(ColumnConfig, tree, f"{path}: {name}")
        check_column(name, column, str(path))
        columns[name] = column
    return dict(sorted(columns.items(), key=lambda item: item[1].number))


def check_column(name: str, column: ColumnConfig, where: str) -> None:
    """Refuses a column whose parts contradict.

    Raises:
        ConfigError: e.g. ITM without pairs, CLIP with masked losses, a column without data.
    """
    for kind, use in column.data.items():
        for objective in use.objectives:
            if objective not in OBJECTIVES_OF_KIND[kind]:
                homes = [k for k, allowed in OBJECTIVES_OF_KIND.items() if objective in allowed]
                raise ConfigError(
                    f"{where}: {name}: objective '{objective}' needs data of kind "
                    f"{' or '.join(homes)}, but is asked for on '{kind}'. Move it or drop it."
                )
        if not use.objectives:
            raise ConfigError(f"{where}: {name}: data.{kind} has no objectives. Name one.")
    contrastive_only = {"global_contrastive"}
    used = {o for use in column.data.values() for o in use.objectives}
    if column.arch == "clip" and used - contrastive_only:
        raise ConfigError(
            f"{where}: {name}: arch 'clip' has no {', '.join(sorted(used - contrastive_only))}; "
            "it is trained with global_contrastive alone."
        )
    if column.arch != "clip_released" and not column.data:
        raise ConfigError(f"{where}: {name}: no data. Name at least one kind under 'data'.")


def unavailable(name: str, column: ColumnConfig, config: StudyConfig) -> str | None:
    """Why the study cannot run the column, or None where it can."""
    if column.arch == "clip_released" and config.released_clip is None:
        return f"column '{name}' needs 'released_clip': published weights, or a stand-in"
    if column.arch == "flava_released" and config.released_flava is None:
        return f"column '{name}' needs 'released_flava': published weights"
    if column.released:
        return None
    for _, kind in column.init:
        if kind != "none" and getattr(config.inits, kind) is None:
            return f"column '{name}' needs 'inits.{kind}': a recipe, or published weights"
    every, contrastive = config.pretrain.select_updates, "global_contrastive" in objectives(column)
    if every and contrastive and config.selection.zero_shot is None:
        return (
            f"column '{name}' is to be selected every {every} updates (pretrain.select_updates), "
            "which needs 'selection.zero_shot': a task"
        )
    return None


def objectives(column: ColumnConfig) -> set[str]:
    """All losses of a column."""
    return {objective for use in column.data.values() for objective in use.objectives}


@dataclass(frozen=True)
class Study:
    """A loaded study with its columns and tasks; `file` and `budget` are what it was chosen by."""

    config: StudyConfig
    columns: dict[str, ColumnConfig]
    tasks: dict[str, TaskConfig]
    params: Path
    file: str
    budget: str | None = None

    @property
    def runs(self) -> list[tuple[str, int]]:
        """(column, seed) of every run."""
        return [(column, seed) for column in self.config.columns for seed in self.config.seeds]

    def run_config(self, column: str, seed: int) -> RunConfig:
        """Resolves one training run.

        Raises:
            ConfigError: its parts do not fit together.
        """
        tree = self._run_tree(column, seed)
        if self.columns[column].arch == "clip_released":
            tree |= self._stand_in()
        return with_own_checkpoints(parse(RunConfig, tree, f"run {column}-s{seed}"))

    def import_job(self, column: str, seed: int) -> ImportJob | None:
        """Resolves a column that is evaluated with published weights; None for a trained one."""
        models = {
            "clip_released": self.config.released_clip,
            "flava_released": self.config.released_flava,
        }
        released, study = models.get(self.columns[column].arch), self.config.name
        if released is None or released.weights is None:
            return None
        tokenizer = self.columns[column].tokenizer
        return ImportJob(
            study=study,
            column=column,
            seed=seed,
            weights=released.weights,
            clip=released.clip if isinstance(released, ReleasedClip) else None,
            flava=released.flava if isinstance(released, ReleasedFlava) else None,
            tokenizer=tokenizer,
            tokenizer_path=f"data/{study}/tokenizers/{tokenizer}.json",
            output=f"results/{study}/runs/{column}-s{seed}",
        )

    def _stand_in(self) -> Tree:
        """What makes the stand-in for the released CLIP: a CLIP on a larger set of pairs."""
        config = self.config
        released = config.released_clip
        assert released is not None and released.pair_updates is not None
        return {
            "arch": "clip",
            "clip": config.clip.model_dump(),
            "objectives": {"pairs": ["global_contrastive"]},
            "sampling": {"pairs": 1.0},
            "corpora": {"pairs": f"data/{config.name}/large_pairs"},
            "pretrain": config.pretrain.model_dump() | {"pair_updates": released.pair_updates},
            "selection": self._selection({"global_contrastive"}),
        }

    def _selection(self, losses: set[str]) -> str | None:
        wanted = self.config.pretrain.select_updates and self.config.selection.zero_shot
        if not wanted or "global_contrastive" not in losses:
            return None
        return f"data/{self.config.name}/selection"

    def _init(self, column: ColumnConfig, seed: int) -> Tree:
        """Where the initial weights of a column's encoders come from."""
        found: Tree = {}
        for part, kind in column.init:
            if kind == "none":
                continue
            source: Init = getattr(self.config.inits, kind)
            folder = f"results/{self.config.name}/inits/{kind}-s{seed}/model"
            found[part] = {
                "kind": kind,
                "directory": folder if source.recipe else None,
                "weights": source.weights.model_dump() if source.weights else None,
            }
        return found

    def _run_tree(self, name: str, seed: int) -> Tree:
        config, column = self.config, self.columns[name]
        study = config.name
        weights = {kind: getattr(config.sampling, _corpus(kind)) for kind in column.data}
        total = sum(weights.values())
        corpora = sorted({_corpus(kind) for kind in column.data})
        if column.data and not total > 0:
            keys = ", ".join(f"sampling.{kind}" for kind in corpora)
            raise ConfigError(f"study '{study}': {keys}: 0 for all of column '{name}'. Raise one.")
        token_corpora = sorted(
            {
                _corpus(k)
                for k, use in column.data.items()
                if {"mim", "mmm_image"} & {*use.objectives}
            }
        )
        return {
            "study": study,
            "column": name,
            "seed": seed,
            "arch": column.arch,
            "flava": config.flava.model_dump() if column.arch == "flava" else None,
            "clip": config.clip.model_dump() if column.arch == "clip" else None,
            "init": self._init(column, seed),
            "selection": self._selection(objectives(column)),
            "objectives": {kind: use.objectives for kind, use in column.data.items()},
            "sampling": {kind: weight / total for kind, weight in weights.items()},
            "contrastive": ContrastiveConfig(
                gather=column.gather, ranks=config.contrastive_ranks
            ).model_dump(),
            "masking": config.masking.model_dump(),
            "pretrain": config.pretrain.model_dump(),
            "tokenizer": column.tokenizer,
            "tokenizer_path": f"data/{study}/tokenizers/{column.tokenizer}.json",
            "corpora": {corpus: f"data/{study}/{corpus}" for corpus in corpora},
            "image_tokens": {c: f"data/{study}/codebook/{c}.npy" for c in token_corpora},
            "output": f"results/{study}/runs/{name}-s{seed}",
            "checkpoints": f"checkpoints/{study}/{name}-s{seed}",
        }

    def tasks_of(self, column: str) -> dict[str, str]:
        """task -> evaluate job, for the tasks that this column's encoders allow.

        A column trained without text has no NLP or multimodal rows, one trained without images
        no vision or multimodal rows: the dashes of Table C.1.
        """
        kinds = {"pairs"} if self.columns[column].released else set(self.columns[column].data)
        domains = {
            "vision": bool(kinds & {"pairs", "images", "pair_images"}),
            "nlp": bool(kinds & {"pairs", "texts", "pair_texts"}),
            "multimodal": bool(kinds & {"pairs"}),
        }
        zero_shot = "pairs" in kinds
        return {
            task: job
            for job, tasks in self.config.evaluate_jobs.items()
            for task in tasks
            if domains[self.tasks[task].domain]
            and (zero_shot or self.tasks[task].family != "zero_shot")
        }

    def evaluate_task(self, name: str) -> EvaluateTask:
        """A task with the study's data and replaced hyper-parameters."""
        task, data = self.tasks[name], self.config.tasks[name]
        where = f"study '{self.config.name}': tasks.{name}"
        finetune, probe = task.finetune, task.probe
        if finetune:
            tree = merge(finetune.model_dump(), dict(data.finetune))
            finetune = parse(FinetuneConfig, tree, f"{where}.finetune")
        if probe:
            tree = merge(probe.model_dump(), dict(data.probe))
            probe = parse(ProbeConfig, tree, f"{where}.probe")
        return EvaluateTask(task=task, data=data, finetune=finetune, probe=probe)


def _corpus(kind: str) -> str:
    return {"pair_images": "pairs", "pair_texts": "pairs"}.get(kind, kind)


def load_tasks(path: Path) -> dict[str, TaskConfig]:
    """All tasks of `tasks.yaml`; a ConfigError if one does not say what it is (`CARD`)."""
    tasks = {
        name: parse(TaskConfig, tree, f"{path}: {name}") for name, tree in read_yaml(path).items()
    }
    for name, task in tasks.items():
        if missing := [key for key in CARD if not getattr(task, key)]:
            raise ConfigError(f"{path}: {name}: no {', '.join(missing)}. Give every task its own.")
    return tasks


def load_study(params: Path, name: str, budget: str | None = None, seeds: object = None) -> Study:
    """Loads and checks study `name` of the folder `params`.

    Args:
        params: folder of the studies, columns.yaml and tasks.yaml.
        name: of the study.
        budget: one of the study's budgets.
        seeds: how many seeds to run, 0, 1, ...; None: those that the study lists.

    Raises:
        ConfigError: names the file, the key, the nearest valid name and the allowed values.
    """
    path = params / f"{name}.yaml"
    tree = study_tree(params, name, budget)
    if seeds is not None:
        tree["seeds"] = seed_list(seeds)
    config = parse(StudyConfig, tree, str(path))
    columns, tasks = load_columns(params / "columns.yaml"), load_tasks(params / "tasks.yaml")
    study = Study(config, columns, tasks, params, name, budget)
    _check_study(study, str(path))
    return study


def _check_study(study: Study, where: str) -> None:
    """Everything that ties the three files together."""
    config = study.config
    for job in config.evaluate_jobs:
        check_name(job, "evaluate job", where)
    for column in config.columns:
        if column not in study.columns:
            raise ConfigError(unknown_name("column", column, list(study.columns), where))
        reason = unavailable(column, study.columns[column], config)
        if reason:
            raise ConfigError(f"{where}: {reason}. Add it, or take the column out of 'columns'.")
    listed = [task for tasks in config.evaluate_jobs.values() for task in tasks]
    for task in [*config.tasks, *listed]:
        if task not in study.tasks:
            raise ConfigError(unknown_name("task", task, list(study.tasks), where))
    check_sources(config, where)
    for task, data in config.tasks.items():
        check_adapter(study.tasks[task].family, data, f"{where}: tasks.{task}")
        _check_task_data(study.tasks[task], data, f"{where}: tasks.{task}")
    for task in listed:
        if task not in config.tasks:
            raise ConfigError(unknown_name("task without data", task, list(config.tasks), where))
    if len(set(listed)) != len(listed):
        raise ConfigError(f"{where}: evaluate_jobs names a task twice.")
    _check_selection(study, where)
    check_sizes(config, study.columns, where)


def _check_task_data(task: TaskConfig, data: TaskData, where: str) -> None:
    """A real set is whole and scored on its official split; what is replaced is there."""
    for key in ("finetune", "probe"):
        if getattr(data, key) and getattr(task, key) is None:
            named = ", ".join(getattr(data, key))
            raise ConfigError(
                f"{where}.{key}: {named}: the protocol of {task.title} ({task.family}) has no "
                f"'{key}' settings. Take them out."
            )
    known = task.split_counts
    if data.split is not None and known and data.split not in known:
        raise ConfigError(unknown_name("split", data.split, list(known), f"{where}.split"))
    if data.stand_in is not None:
        return
    label = "Name what it is under 'stand_in', which labels the row."
    if data.train_limit is not None or data.test_limit is not None:
        raise ConfigError(f"{where}: a part of {task.title} is not the real set. {label}")
    if data.split not in (None, "test") and not known:
        raise ConfigError(
            f"{where}: split '{data.split}' of {task.title} is not the official one. {label}"
        )


def _check_selection(study: Study, where: str) -> None:
    """Tasks that give labelled data for scores during training."""
    config = study.config
    families = {"zero_shot": "zero_shot", "images": "linear_probe", "texts": "glue"}
    for key, family in families.items():
        task = getattr(config.selection, key)
        if task is None:
            continue
        if task not in config.tasks:
            place = f"{where}: selection.{key}"
            raise ConfigError(unknown_name("task", task, list(config.tasks), place))
        if study.tasks[task].family != family:
            raise ConfigError(
                f"{where}: selection.{key}: task '{task}' is of family "
                f"'{study.tasks[task].family}', not '{family}'."
            )
